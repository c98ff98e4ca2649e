"""A run's report for people (`report.md`, pictures) and for tables (`report.csv`), from its summary alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.harness import plots
from eval.harness.plots import interval, scale_of
from eval.harness.store import replace_bytes
from eval.harness.summary import BOTH, read_summary
from eval.results import between, markdown_table, shown

REPORT, TABLE, PLOTS = "report.md", "report.csv", "plots"
MOST_ROWS = 60
"""Of a table in the report; the CSV and the summary hold all."""
CSV_HEADER = (
    "bench", "version", "split", "model", "condition", "kind", "tag", "tag_value", "measure", "label", "unit",
    "value", "low", "high", "source_low", "source_high", "items", "sources",
)  # fmt: skip
Summary = Mapping[str, Any]


def write_report(folder: Path) -> list[Path]:
    """Write a run's report, its table and its pictures; gives their paths."""
    summary = read_summary(folder)
    pictures = draw(summary, folder / PLOTS)
    replace_bytes(folder / REPORT, [markdown(summary, pictures).encode("utf-8", "backslashreplace")])
    replace_bytes(folder / TABLE, [as_csv([summary]).encode("utf-8", "backslashreplace")])
    return [folder / REPORT, folder / TABLE, *(folder / PLOTS / name for name, _ in pictures)]


def as_csv(summaries: Sequence[Summary]) -> str:
    """All figures of some runs, one a row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for summary in summaries:
        run = summary["run"]
        first = [run["bench"]["bench"], run["bench"]["version"], run["bench"]["split"], run["model"]]
        for where, measure in figures(summary):
            values = [measure[k] for k in ("key", "label", "unit", "value", "low", "high")]
            more = [measure[k] for k in ("source_low", "source_high", "items", "sources")]
            writer.writerow([*first, *where, *values, *more])
    return out.getvalue()


def figures(summary: Summary) -> Iterator[tuple[tuple[str, str, str, str], Mapping[str, Any]]]:
    """Every measure with its condition (or baseline), kind, tag and value."""
    for condition, own in summary["conditions"].items():
        for kind, found in own["kinds"].items():
            yield from (((condition, kind, "", ""), m) for m in found["measures"])
            for tag, values in found["tags"].items():
                yield from (((condition, kind, tag, value), m) for value, ms in values.items() for m in ms)
        for name, rate in own["rates"].items():
            yield (condition, "", "", ""), {"key": f"rate:{name}", "label": name, "unit": "%", **rate}
    for kind, baselines in summary["baselines"].items():
        for name, measures in baselines.items():
            yield from (((f"baseline:{name}", kind, "", ""), m) for m in measures)


def markdown(summary: Summary, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The report.

    Args:
        pictures: file name and caption of each.
    """
    run = summary["run"]
    bench, lines = run["bench"], [f"# {run['model']} on {run['bench']['bench']}", ""]
    lines += [
        f"{bench['bench']} {bench['version']}, split {bench['split']}, {bench['items']} items (hash "
        f"`{run['bench_hash']}`); data: {bench['licence']}, {bench['source']}.",
        "",
        *_warnings(summary),
    ]
    for kind in _kinds(summary):
        lines += [f"## {kind.capitalize()}", "", *_main_table(summary, kind), "", *_tag_tables(summary, kind)]
        lines += _kind_tables(summary, kind)
    lines += ["## How answers ended", "", *_rates_table(summary), ""]
    lines += [line for name, caption in pictures for line in (f"![{caption}]({PLOTS}/{name})", "")]
    lines += ["## How it was made", "", *_facts(summary)]
    return "\n".join(lines).rstrip() + "\n"


def _warnings(summary: Summary) -> list[str]:
    run, said = summary["run"], []
    if run["limit"] is not None:
        said.append(f"**Only the first {run['limit']} items were asked: a quick look, not the benchmark's score.**")
    for what, text in (
        ("unjudged", "answers wait for a judge (`alm eval judge`), and their kind has no figures yet"),
        ("missing", "items have no answer; they count as wrong (`alm eval run` with the same options asks them)"),
    ):
        said += [f"**Incomplete: {count} {text} ({name}).**" for name, count in summary[what].items()]
    if lost := sum(one["count"] for one in run["bench"]["lost"]):
        reasons = "; ".join(f"{one['count']}: {one['reason']}" for one in run["bench"]["lost"])
        said.append(f"**{lost} items of the official set are not in it ({reasons}).**")
    return [line for text in said for line in (text, "")]


def _kinds(summary: Summary) -> list[str]:
    return sorted({kind for own in summary["conditions"].values() for kind in own["kinds"]})


def _of_kind(condition: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A kind's part of a condition; empty where the condition has none of it."""
    nothing: dict[str, Any] = {"measures": [], "tables": [], "tags": {}}
    return condition["kinds"].get(kind, nothing)  # type: ignore[no-any-return]


def _main_table(summary: Summary, kind: str) -> list[str]:
    """One row a measure, one column a condition; baselines below with what they have."""
    conditions = summary["conditions"]
    columns = [{m["key"]: m for m in _of_kind(own, kind)["measures"]} for own in conditions.values()]
    keys = list(dict.fromkeys(key for own in columns for key in own))
    rows = []
    for key in keys:
        known = next(own[key] for own in columns if key in own)
        note = known["note"] + (" (less is better)" if known["better"] < 0 else "")
        rows.append([f"{known['label']} ({key})", *(cell(own.get(key)) for own in columns), note.strip()])
    for name, measures in summary["baselines"].get(kind, {}).items():
        found = ", ".join(f"{m['key']} {shown(m['value'], m['unit'])}" for m in measures)
        rows.append([f"baseline `{name}`", found, *("" for _ in columns[1:]), "needs no model"])
    return markdown_table(("", *conditions, "note"), rows)


def cell(measure: Mapping[str, Any] | None) -> str:
    """Value and interval of a measure; empty where there is none."""
    if measure is None or measure["value"] is None:
        return ""
    low, high = interval(measure)
    spread = "" if low is None or high is None else f" [{between(low, high, measure['unit'])}]"
    return shown(measure["value"], measure["unit"]) + spread


def _tag_tables(summary: Summary, kind: str) -> list[str]:
    name, own = next(iter(summary["conditions"].items()))
    lines = []
    for tag, values in _of_kind(own, kind)["tags"].items():
        keys = list(dict.fromkeys(m["key"] for measures in values.values() for m in measures))
        rows = []
        for value, measures in list(values.items())[:MOST_ROWS]:
            found = {m["key"]: m for m in measures}
            count = max((m["items"] for m in measures), default=0)
            rows.append([value, str(count), *(cell(found.get(k)) for k in keys)])
        lines += [f"**By {tag}** ({name})", "", *markdown_table((tag, "items", *keys), rows), ""]
    return lines


def _kind_tables(summary: Summary, kind: str) -> list[str]:
    """Of the first condition; the summary has the others'."""
    name, own = next(iter(summary["conditions"].items()))
    lines = []
    for table in _of_kind(own, kind)["tables"]:
        body = markdown_table(table["header"], [[_plain(v) for v in row] for row in table["rows"][:MOST_ROWS]])
        left = len(table["rows"]) - MOST_ROWS
        more = ["", f"... and {left} more rows in `summary.json`"] if left > 0 else []
        lines += [f"<details><summary>{table['title']} ({name})</summary>", "", *body, *more, "", "</details>", ""]
    return lines


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _rates_table(summary: Summary) -> list[str]:
    conditions = summary["conditions"]
    names = list(dict.fromkeys(name for own in conditions.values() for name in own["rates"]))
    if not names:
        return ["Every answer could be read."]
    rows = [[name, *(_rate(own["rates"].get(name)) for own in conditions.values())] for name in names]
    return markdown_table(("of all items", *conditions), rows)


def _rate(found: Mapping[str, Any] | None) -> str:
    return cell({"unit": "%", **found}) if found else "0"


def _facts(summary: Summary) -> list[str]:
    run = summary["run"]
    rows = [("command", f"`{run['command']}`" if run["command"] else "")]
    rows += [(k, str(v)) for k, v in run["identity"].items()] + [(k, str(v)) for k, v in run["asking"].items()]
    rows += [(k, v) for k, v in run["versions"].items()] + [("commit", run["commit"])]
    for name, own in summary["conditions"].items():
        rows.append((f"{name}: audio given", f"{own['audio_seconds']:.0f} s"))
        rows.append((f"{name}: from question to answer", f"{own['seconds']:.1f} s in the median, waiting included"))
        if (found := own["calibration"]) is not None:
            rows.append((f"{name}: calibration error", shown(found["error"])))
    return markdown_table(("what", "value"), [r for r in rows if r[1]])


def draw(summary: Summary, folder: Path) -> list[tuple[str, str]]:
    """Draw what there is to draw; gives file names and captions."""
    made: list[tuple[str, str]] = []
    for kind in _kinds(summary):
        made += _drawn_conditions(summary, kind, folder)
        name, own = next(iter(summary["conditions"].items()))
        made += _drawn_tags(kind, name, _of_kind(own, kind), folder)
        for table in _of_kind(own, kind)["tables"]:
            file = f"{kind}.{_slug(table['title'])}.png"
            if plots.confusion(f"{table['title']} ({name})", table, folder / file):
                made.append((file, f"{table['title']}, {name}"))
    for name, own in summary["conditions"].items():
        if own["calibration"] is not None:
            plots.reliability(f"Calibration ({name})", own["calibration"], folder / f"{name}.calibration.png")
            made.append((f"{name}.calibration.png", f"Calibration, {name}"))
    return made


def _drawn_conditions(summary: Summary, kind: str, folder: Path) -> list[tuple[str, str]]:
    """Conditions and baselines beside each other by the two rules."""
    groups: dict[str, list[plots.Bar]] = {}
    for name, own in summary["conditions"].items():
        for measure in _of_kind(own, kind)["measures"]:
            if measure["key"] in BOTH:
                groups.setdefault(measure["key"], []).append((name, measure))
    for name, measures in summary["baselines"].get(kind, {}).items():
        for measure in measures:
            groups.setdefault(measure["key"], []).append((f"baseline {name}", measure))
    groups = {key: bars for key, bars in groups.items() if key in BOTH}
    if not groups:
        return []
    plots.bars(f"{summary['run']['model']}: {kind}, with controls", groups, folder / f"{kind}.png")
    return [(f"{kind}.png", f"{kind}, with controls")]


def _drawn_tags(kind: str, name: str, own: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    made = []
    for tag, values in own["tags"].items():
        groups: dict[str, list[plots.Bar]] = {}
        for value, measures in values.items():
            for measure in measures:
                groups.setdefault(measure["key"], []).append((value, measure))
        file = f"{kind}.{_slug(tag)}.png"
        plots.bars(f"{kind} by {tag} ({name})", groups, folder / file)
        made.append((file, f"{kind} by {tag}"))
        shares = {key: bars for key, bars in groups.items() if all(scale_of(m) == 100.0 for _, m in bars)}
        if shares and plots.wheel(f"{kind} by {tag}", shares, folder / f"{kind}.{_slug(tag)}.wheel.png"):
            made.append((f"{kind}.{_slug(tag)}.wheel.png", f"{kind} by {tag}, as a wheel"))
    return made


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "table"
