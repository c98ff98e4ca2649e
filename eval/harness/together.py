"""Several runs on one page: models beside each other on each benchmark, never different benchmarks in one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.harness import plots
from eval.harness.report import as_csv, cell
from eval.harness.store import replace_bytes
from eval.harness.summary import BOTH, read_summary
from eval.results import markdown_table

PAGE, TABLE, IMAGES = "runs.md", "runs.csv", "plots"


def write_together(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write a page, a table and pictures over several runs; gives their paths."""
    summaries = [(folder.name, read_summary(folder)) for folder in folders]
    lines, pictures = ["# Runs", ""], []
    for test in sorted({_test(s) for _, s in summaries}):
        own = [(name, s) for name, s in summaries if _test(s) == test]
        lines += [f"## {test[0]} {test[1]}, {test[2]}", "", f"Items `{test[3]}`.", "", *_table(own), ""]
        picture = out / IMAGES / f"{test[0]}-{test[2]}-{test[3]}.png"
        if groups := _bars(own):
            plots.bars(f"{test[0]} {test[2]}, heard", groups, picture)
            pictures.append(picture)
            lines += [f"![{test[0]}]({IMAGES}/{picture.name})", ""]
    replace_bytes(out / PAGE, ["\n".join(lines).encode("utf-8", "backslashreplace")])
    replace_bytes(out / TABLE, [as_csv([s for _, s in summaries]).encode("utf-8", "backslashreplace")])
    return [out / PAGE, out / TABLE, *pictures]


def _test(summary: Mapping[str, Any]) -> tuple[str, str, str, str]:
    bench = summary["run"]["bench"]
    limit = summary["run"]["limit"]
    part = "" if limit is None else f" (first {limit})"
    return bench["bench"], bench["version"], bench["split"] + part, summary["run"]["bench_hash"]


def _measures(summary: Mapping[str, Any], condition: str) -> list[tuple[str, Mapping[str, Any]]]:
    kinds = summary["conditions"].get(condition, {"kinds": {}})["kinds"]
    return [(kind, m) for kind, own in kinds.items() for m in own["measures"] if m["key"] in (*BOTH, "chance")]


def _table(own: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A row for each run, a column for each condition, kind and rule."""
    conditions = list(dict.fromkeys(c for _, s in own for c in s["conditions"]))
    told = [(c, kind, m["key"]) for c in conditions for _, s in own for kind, m in _measures(s, c)]
    columns = list(dict.fromkeys(told))
    rows = []
    for name, summary in own:
        found = {(c, kind, m["key"]): cell(m) for c in conditions for kind, m in _measures(summary, c)}
        complete = "" if summary["complete"] else "incomplete"
        rows.append([name, summary["run"]["model"], *(found.get(c, "") for c in columns), complete])
    return markdown_table(("run", "model", *(f"{k}, {key} ({c})" for c, k, key in columns), ""), rows)


def _bars(own: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, list[plots.Bar]]:
    groups: dict[str, list[plots.Bar]] = {}
    for name, summary in own:
        for kind, measure in _measures(summary, "heard"):
            if measure["key"] in BOTH and measure["unit"] == "%":
                groups.setdefault(measure["key"], []).append((f"{name}: {kind}", measure))
    return groups
