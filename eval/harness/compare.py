"""Two runs on the same items: paired tests, since what is hard for one is hard for the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alm.errors import ConfigError, RecordError
from eval.harness import plots
from eval.harness.answers import Scored
from eval.harness.items import Item
from eval.harness.runs import Run
from eval.harness.store import records, replace_bytes
from eval.harness.summary import BOTH
from eval.metrics import Estimate, mcnemar, mean
from eval.results import between, finite, markdown_table


@dataclass(frozen=True)
class Difference:
    """First minus second by one rule over the items that both rules speak about."""

    rule: str
    kind: str
    first: float
    second: float
    estimate: Estimate
    """Of the difference, by item and by source."""
    only_first: int | None
    """Right only in the first run; None where answers are not simply right or wrong."""
    only_second: int | None
    mcnemar: float | None
    """Exact two-sided p-value."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule, "kind": self.kind, "first": self.first, "second": self.second,
            "difference": self.estimate.to_dict(), "only_first": self.only_first,
            "only_second": self.only_second, "mcnemar_p": self.mcnemar,
        }  # fmt: skip


def compare(first: Run, second: Run, condition_name: str = "heard") -> list[Difference]:
    """Paired differences by kind of task and rule.

    Raises:
        ConfigError: the runs are about different items.
        RecordError: a run was not scored under the condition.
    """
    if first.card.bench_hash != second.card.bench_hash or first.card.limit != second.card.limit:
        raise ConfigError(
            f"{first.folder} and {second.folder}: runs on different items ({first.card.bench.bench} "
            f"{first.card.bench_hash}, {second.card.bench.bench} {second.card.bench_hash}, limits {first.card.limit} "
            f"and {second.card.limit}); only runs on the same ones can be paired"
        )
    one, two = scored(first, condition_name), scored(second, condition_name)
    items = sorted((i for i in first.prepared.items if i.id in one and i.id in two), key=lambda i: i.id)
    kinds = sorted({i.want.kind for i in items})
    found = [
        _difference(rule, kind, [i for i in items if i.want.kind == kind], one, two) for kind in kinds for rule in BOTH
    ]
    return [d for d in found if d is not None]


def scored(run: Run, condition_name: str) -> dict[str, Scored]:
    """Scores of a run by item.

    Raises:
        RecordError: there are none under this condition.
    """
    place = run.place("score", condition_name)
    found = {s.id: s for s in records(place, Scored)}
    if not found:
        raise RecordError(f"{place}: no scores; make them with `alm eval score {run.folder}`")
    return found


def _difference(
    rule: str, kind: str, items: Sequence[Item], one: Mapping[str, Scored], two: Mapping[str, Scored]
) -> Difference | None:
    pairs = [
        (float(a), float(b), i.cluster)
        for i in items
        if (a := getattr(one[i.id], rule)) is not None and (b := getattr(two[i.id], rule)) is not None
    ]
    if not pairs:
        return None
    firsts, seconds, clusters = (list(column) for column in zip(*pairs, strict=True))
    binary = all(value in (0.0, 1.0) for value in (*firsts, *seconds))
    right = [bool(v) for v in firsts], [bool(v) for v in seconds]
    return Difference(
        rule,
        kind,
        sum(firsts) / len(firsts),
        sum(seconds) / len(seconds),
        mean([a - b for a, b, _ in pairs], clusters),
        sum(a and not b for a, b in zip(*right, strict=True)) if binary else None,
        sum(b and not a for a, b in zip(*right, strict=True)) if binary else None,
        mcnemar(*right) if binary else None,
    )


def write_comparison(first: Run, second: Run, condition_name: str, out: Path) -> list[Path]:
    """Write `compare.md`, `compare.json` and a picture; gives their paths."""
    found = compare(first, second, condition_name)
    title = f"{first.card.model} minus {second.card.model} on {first.card.bench.bench} ({condition_name})"
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "compare.md", out / "compare.json", out / "compare.png"]
    rows = [(f"{d.kind}, {d.rule}", {"unit": "%", **d.estimate.to_dict()}) for d in found]
    if rows:
        plots.differences(title, [(n, finite(m)) for n, m in rows], paths[2])
    document = {
        "first": first.card.model, "second": second.card.model, "condition": condition_name,
        "bench": first.card.bench.bench, "bench_hash": first.card.bench_hash,
        "differences": [d.to_dict() for d in found],
    }  # fmt: skip
    replace_bytes(paths[0], [_page(title, first, second, found).encode()])
    replace_bytes(paths[1], [(json.dumps(finite(document), indent=1) + "\n").encode()])
    return paths if rows else paths[:2]


def _page(title: str, first: Run, second: Run, found: Sequence[Difference]) -> str:
    rows = []
    for d in found:
        e = d.estimate
        right = "" if d.mcnemar is None else f"{d.only_first} / {d.only_second}"
        p = "" if d.mcnemar is None else f"{d.mcnemar:.4f}"
        spreads = between(e.low, e.high), between(e.source_low, e.source_high)
        points = (f"{100 * v:.1f}" for v in (d.first, d.second, e.value))
        rows.append((f"{d.kind}, {d.rule}", *points, *spreads, right, p))
    header = ("", "first", "second", "difference", "95 % by item", "95 % by source", "only first / only second right",
              "McNemar p")  # fmt: skip
    return "\n".join([
        f"# {title}", "",
        f"First: {first.card.model} ({first.folder.name}); second: {second.card.model} ({second.folder.name}). Points; "
        "intervals of the paired difference by bootstrap, over items and over whole sources.", "",
        *markdown_table(header, rows), "", "![Differences](compare.png)", "",
    ])  # fmt: skip
