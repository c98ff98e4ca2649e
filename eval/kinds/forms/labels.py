"""Answers to several questions in one object, each out of a closed list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eval.harness.items import StructuredWant
from eval.kinds.base import Measure, Row, Table
from eval.kinds.forms.base import Marks, Taken, want_of
from eval.metrics import mean
from eval.scorers.from_json import json_in
from eval.scorers.totals import Array, Totals, over
from eval.text import yes_or_no

UNKNOWN = "(none)"
TRUE, FALSE = ("true", "yes", "是"), ("false", "no", "否", "不是")


class Labels:
    """`answer` and `options.labels` have the same keys; a label must be named exactly, or be the only one held.

    Of two labels the first is what true or yes means.
    """

    def read(self, want: StructuredWant, text: str) -> Taken:
        parsed = json_in(text)
        record = _record(parsed.value)
        found = {key: _label(want, key, record.get(key.lower()), text) for key in want.answer}
        if all(v is None for v in found.values()):
            return Taken(None, "none")
        return Taken(found, parsed.rule if record else "text")

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        said = value or {}
        right = [float(said.get(key) == gold) for key, gold in named(want).items()]
        parts = {}
        for key, gold in named(want).items():
            other = said.get(key)
            parts[f"{key}:{gold}:" + ("hits" if other == gold else "missed")] = 1.0
            if other is not None and other != gold:
                parts[f"{key}:{other}:extra"] = 1.0
        return Marks(sum(right) / len(right), parts)

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        sources = [r.item.cluster for r in rows]
        found = [Measure("robust", "right labels", mean([r.scored.robust or 0.0 for r in rows], sources))]
        return [*found, *(m for key in _keys(rows) for m in _by_key(rows, key))]

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        return [_confusions(rows, key) for key in _keys(rows)]

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        firsts = {k: v[0] for k, v in want.options.get("labels", {}).items() if v}
        return {"first": str(firsts).replace("'", '"')} if firsts else {}


def named(want: StructuredWant) -> dict[str, str]:
    """Wanted labels as text; true and false as such."""
    return {k: _truth(v) if isinstance(v, bool) else str(v) for k, v in want.answer.items()}


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _record(value: Any) -> dict[str, Any]:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return {str(k).strip().lower(): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _label(want: StructuredWant, key: str, value: Any, text: str) -> str | None:
    """One label: what the object says under the key, else what the whole text names."""
    allowed = [str(v) for v in want.options.get("labels", {}).get(key, ())] or sorted({*named(want).values()})
    if isinstance(value, str) and len(allowed) == 2 and value.strip().lower() in TRUE + FALSE:
        value = value.strip().lower() in TRUE
    if isinstance(value, bool):
        value = allowed[not value] if len(allowed) == 2 and allowed != ["false", "true"] else _truth(value)
    said = str(value) if isinstance(value, str | int | float) else ("" if value is not None else text)
    if {v.lower() for v in allowed} == {"true", "false"}:
        return _true_or_false(said, alone=value is not None)
    plain = said.strip().lower()
    exact = [v for v in allowed if v.lower() == plain]
    held = exact or [v for v in allowed if v.lower() in plain]
    held = [v for v in held if not any(v != o and v.lower() in o.lower() for o in held)]
    return held[0] if len(held) == 1 else None


def _true_or_false(said: str, alone: bool) -> str | None:
    plain = said.strip().strip(".!。！").lower()
    if plain in TRUE or plain in FALSE:
        return _truth(plain in TRUE)
    found = None if alone else yes_or_no(said)
    return None if found is None else _truth(found)


def _keys(rows: Sequence[Row]) -> list[str]:
    return sorted({k for r in rows for k in named(want_of(r))})


def _by_key(rows: Sequence[Row], key: str) -> list[Measure]:
    """Accuracy, and F1 over the labels that are wanted somewhere: an unread answer is a miss, not a class."""
    labels = sorted({named(want_of(r))[key] for r in rows if key in named(want_of(r))})
    totals = Totals(rows, [f"{key}:{n}:{p}" for n in labels for p in ("hits", "extra", "missed")])

    def parts(sums: Mapping[str, Array], name: str) -> tuple[Array, Array, Array]:
        return sums[f"{key}:{name}:hits"], sums[f"{key}:{name}:extra"], sums[f"{key}:{name}:missed"]

    def f1s(sums: Mapping[str, Array]) -> list[Array]:
        return [over(2 * h, 2 * h + e + m, 0.0) for h, e, m in (parts(sums, n) for n in labels)]

    def weights(sums: Mapping[str, Array]) -> list[Array]:
        return [h + m for h, _, m in (parts(sums, n) for n in labels)]

    def accuracy(sums: Mapping[str, Array]) -> Array:
        hits = sum((parts(sums, n)[0] for n in labels), start=0 * sums[totals.names[0]])
        return over(hits, sum(weights(sums), start=0 * hits), 0.0)

    def macro(sums: Mapping[str, Array]) -> Array:
        return sum(f1s(sums), start=0 * sums[totals.names[0]]) / len(labels)

    def weighted(sums: Mapping[str, Array]) -> Array:
        pairs = zip(f1s(sums), weights(sums), strict=True)
        top = sum((f * w for f, w in pairs), start=0 * sums[totals.names[0]])
        return over(top, sum(weights(sums), start=0 * top), 0.0)

    return [
        Measure(f"{key}:accuracy", f"{key}: accuracy", totals.estimate(accuracy)),
        Measure(f"{key}:macro_f1", f"{key}: macro F1", totals.estimate(macro)),
        Measure(f"{key}:weighted_f1", f"{key}: weighted F1", totals.estimate(weighted)),
    ]


def _confusions(rows: Sequence[Row], key: str) -> Table:
    pairs = Counter((named(want_of(r)).get(key, UNKNOWN), (r.scored.value or {}).get(key) or UNKNOWN) for r in rows)
    gold, said = sorted({g for g, _ in pairs}), sorted({s for _, s in pairs})
    return Table(f"Confusions: {key}", ("wanted", *said), tuple((g, *(pairs[g, s] for s in said)) for g in gold))
