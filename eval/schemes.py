"""Several adapters side by side: a table out of the result folders that earlier calls wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from eval.metrics import mcnemar, paired_difference
from eval.results import between, markdown_table, read_items, shown

COLUMNS = (
    ("choice", "heard_likelihood"),
    ("choice", "heard_said"),
    ("choice", "evidence_likelihood"),
    ("open", "heard_top1"),
    ("order", "heard_likelihood"),
    ("count", "heard_likelihood"),
    ("presence", "heard_likelihood"),
)
PAIRED = ("choice", "heard_likelihood")
"""The figure by which adapters are compared item by item."""


@dataclass(frozen=True)
class Run:
    """The results of one adapter."""

    name: str
    folder: Path
    results: dict[str, dict[str, Any]]

    def figure(self, result: str, key: str) -> dict[str, Any] | None:
        figures = self.results.get(result, {}).get("figures", [])
        return next((f for f in figures if f["key"] == key), None)

    @property
    def fusion(self) -> str:
        """Scheme and first layer, as the results' model says them."""
        model: dict[str, Any] = next((r["model"] for r in self.results.values() if "model" in r), {})
        parts = model.get("fusion", [])
        return ", ".join(f"{p['scheme']} at {p['start_layer']}" for p in parts) or "?"


def read_run(folder: Path) -> Run:
    """All results in a folder.

    Raises:
        RecordError: there are none.
    """
    results = {}
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if "figures" in document:
            results[document["name"]] = document
    if not results:
        raise RecordError(f"{folder}: no results; `python -m eval choice --adapter DIR --out {folder.name}` writes one")
    return Run(folder.name, folder, results)


def cell(figure: dict[str, Any] | None) -> str:
    """Value and interval."""
    if figure is None:
        return ""
    return f"{shown(figure['value'], figure['unit'])} ({between(figure['low'], figure['high'], figure['unit'])})"


def right_by_id(run: Run) -> dict[str, tuple[bool, str]]:
    """Whether each question of the compared figure is right, and its source."""
    rows = read_items(run.folder, PAIRED[0])
    return {r["id"]: (r["chosen"][PAIRED[1]] == r["gold"], r["source"]) for r in rows}


def comparison(first: Run, second: Run) -> tuple[str, str]:
    """Difference in points with interval over sources, and McNemar's p, on the questions that both answered."""
    a, b = right_by_id(first), right_by_id(second)
    both = sorted(set(a) & set(b))
    ours, theirs = [a[i][0] for i in both], [b[i][0] for i in both]
    difference = paired_difference(ours, theirs, [a[i][1] for i in both])
    return f"{100 * difference.value:+.1f} ({between(difference.low, difference.high)})", f"{mcnemar(ours, theirs):.2g}"


def table(runs: Sequence[Run]) -> list[str]:
    """Markdown lines: one row an adapter, best first by the compared figure, differences to the best."""

    def value(run: Run) -> float:
        figure = run.figure(*PAIRED)
        return float(figure["value"]) if figure else -1.0

    ranked = sorted(runs, key=lambda r: -value(r))
    present = [c for c in COLUMNS if any(r.figure(*c) for r in ranked)]
    header = [
        "adapter",
        "fusion",
        *(f"{r}: {_label(ranked, r, k)}" for r, k in present),
        "difference to the best, points",
        "p",
    ]
    rows = []
    for run in ranked:
        compared = ("", "") if run is ranked[0] or value(run) < 0 else comparison(run, ranked[0])
        rows.append([run.name, run.fusion, *(cell(run.figure(*c)) for c in present), *compared])
    return markdown_table(header, rows)


def _label(runs: Sequence[Run], result: str, key: str) -> str:
    return next(str(f["label"]) for r in runs if (f := r.figure(result, key)))


def page(runs: Sequence[Run]) -> str:
    """The whole fragment."""
    return "\n".join(
        [
            "## Fusion schemes side by side", "",
            "Same data, same seed, same questions. 95 % intervals (Wilson); differences are paired by question, with",
            "McNemar's exact p.", "",
            *table(runs), "",
        ]
    )  # fmt: skip
