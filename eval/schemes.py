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
from eval.tokens import HEARD

RESULT = "tokens"
COLUMNS = ("choice", "choice_alone", "presence", "order", "count")
PAIRED = "choice"
"""The figure by which adapters are compared item by item."""


@dataclass(frozen=True)
class Run:
    """What `python -m eval tokens` found of one adapter."""

    name: str
    folder: Path
    result: dict[str, Any]

    def figure(self, key: str) -> dict[str, Any] | None:
        return next((f for f in self.result["figures"] if f["key"] == key), None)

    @property
    def fusion(self) -> str:
        """Scheme and first layer, as the result's model says them."""
        parts = self.result.get("model", {}).get("fusion", [])
        return ", ".join(f"{p['scheme']} at {p['start_layer']}" for p in parts) or "?"


def read_run(folder: Path) -> Run:
    """The result in a folder; the run is called as the folder above it if the folder is called `results`.

    Raises:
        RecordError: there is none.
    """
    place = folder / f"{RESULT}.json"
    if not place.is_file():
        raise RecordError(
            f"{folder}: no {place.name}; `python -m eval {RESULT} --adapter DIR --out {folder.name}` writes it"
        )
    name = folder.resolve().parent.name if folder.name == "results" else folder.name
    return Run(name, folder, json.loads(place.read_text(encoding="utf-8")))


def cell(figure: dict[str, Any] | None) -> str:
    """Value and interval."""
    if figure is None:
        return ""
    return f"{shown(figure['value'], figure['unit'])} ({between(figure['low'], figure['high'], figure['unit'])})"


def right_by_id(run: Run) -> dict[str, tuple[bool, str]]:
    """Whether each question of the compared figure is right, and its source."""
    rows = (r for r in read_items(run.folder, RESULT) if r["set"] == PAIRED)
    return {r["id"]: (r["chosen"][HEARD] == r["gold"], r["source"]) for r in rows}


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
        figure = run.figure(PAIRED)
        return float(figure["value"]) if figure else -1.0

    ranked = sorted(runs, key=lambda r: -value(r))
    present = [c for c in COLUMNS if any(r.figure(c) for r in ranked)]
    header = [
        "adapter",
        "fusion",
        *(_label(ranked, k) for k in present),
        f"difference to the best in {_label(ranked, PAIRED)}, points",
        "p",
    ]
    rows = []
    for run in ranked:
        compared = ("", "") if run is ranked[0] or value(run) < 0 else comparison(run, ranked[0])
        rows.append([run.name, run.fusion, *(cell(run.figure(c)) for c in present), *compared])
    return markdown_table(header, rows)


def _label(runs: Sequence[Run], key: str) -> str:
    return next((str(f["label"]) for r in runs if (f := r.figure(key))), key)


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
