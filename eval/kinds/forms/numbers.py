"""A number, a time or a range of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.harness.items import StructuredWant
from eval.kinds.base import Measure, Row, Table
from eval.kinds.forms.base import Marks, Taken
from eval.metrics import mean, share
from eval.scorers.quantities import SECONDS, number_in, range_in, seconds_in
from eval.scorers.totals import Totals, ratio

PARTS = ("read", "exact", "absolute", "signed")


class Number:
    """Right where the number is within the tolerance; `unit` says what a bare number means.

    A unit of time makes it a time: the wanted answer is in seconds, and the answer may be a clock. Another unit names
    what is counted ("speakers|people"): numbers before these words come first.
    """

    def read(self, want: StructuredWant, text: str) -> Taken:
        if want.unit in SECONDS:
            found = seconds_in(text, bare_seconds(want))
        else:
            found = number_in(text, want.unit.lower().split("|") if want.unit else ())
        if found.value is None and want.options.get("range") == "middle" and (span := _range(want, text)):
            return Taken(sum(span) / 2, "middle of a range")
        return Taken(found.value, found.rule)

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        low, high = bounds(want)
        if value is None:
            return Marks(0.0, {"read": 0.0})
        off = value - min(max(value, low), high)
        parts = {"read": 1.0, "exact": float(off == 0), "absolute": abs(off), "signed": off}
        return Marks(float(abs(off) <= (want.tolerance or 0.0) + 1e-9), parts)

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        totals, sources = Totals(rows, PARTS), [r.item.cluster for r in rows]
        count = int(totals["read"])
        note = f"over the {count} of {len(rows)} answers that were read"
        exact = [bool(r.scored.parts.get("exact")) for r in rows]
        right = [bool(r.scored.robust) for r in rows]
        unit = _unit(rows)
        return [
            Measure("robust", f"within the tolerance ({_tolerance(rows, unit)})", share(right, sources)),
            Measure("exact", "exactly", share(exact, sources)),
            Measure("mae", "mean absolute error", totals.estimate(ratio("absolute", "read"), count), unit, note, -1),
            Measure("bias", "mean error", totals.estimate(ratio("signed", "read"), count), unit, note, 0),
        ]

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        errors = sorted(r.scored.parts["absolute"] for r in rows if "absolute" in r.scored.parts)
        if not errors:
            return []
        shares = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        found = tuple((f"{s:.0%}", float(np.quantile(errors, s, method="lower"))) for s in shares)
        return [Table("Absolute errors of the answers that were read", ("share of them", "at most"), found)]

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        return {"one": "1"}


class Range(Number):
    """The same, where an answer may be a range ("2 or 3"): right where all of it lies within what is wanted."""

    def read(self, want: StructuredWant, text: str) -> Taken:
        span = _range(want, text)
        if span is None:
            return Taken(None, "none")
        return Taken(list(span), "range" if span[0] < span[1] else "only")

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        if value is None:
            return super().mark(want, None)
        ends = [super(Range, self).mark(want, v) for v in value]
        worst = max(ends, key=lambda m: m.parts["absolute"])
        middle = super().mark(want, sum(value) / 2)
        return Marks(min(m.robust for m in ends), {**worst.parts, "signed": middle.parts["signed"]})


def bounds(want: StructuredWant) -> tuple[float, float]:
    """The wanted number as a range of no width, or the wanted range."""
    if isinstance(want.answer, list | tuple):
        low, high = want.answer
        return float(low), float(high)
    return float(want.answer), float(want.answer)


def bare_seconds(want: StructuredWant) -> float:
    """What a number without a unit means: `options.asked_unit` where the question names another unit than the key's."""
    return SECONDS[str(want.options.get("asked_unit", want.unit))]


def _range(want: StructuredWant, text: str) -> tuple[float, float] | None:
    if want.unit in SECONDS:
        return range_in(text, bare_seconds=bare_seconds(want))
    return range_in(text, want.unit.lower().split("|") if want.unit else ())


def _unit(rows: Sequence[Row]) -> str:
    units = {r.item.want.unit for r in rows if isinstance(r.item.want, StructuredWant)}
    return "s" if units and units <= SECONDS.keys() else ""


def _tolerance(rows: Sequence[Row], unit: str) -> str:
    wants = [r.item.want for r in rows]
    found = sorted({w.tolerance or 0.0 for w in wants if isinstance(w, StructuredWant)})
    if len(found) > 2:
        return f"{found[0]:g} to {found[-1]:g} {unit}".strip()
    return f"{' and '.join(f'{t:g}' for t in found)} {unit}".strip()


def tolerance_curve(rows: Sequence[Row], tolerances: Sequence[float]) -> list[tuple[float, float]]:
    """Share of answers within each tolerance; those that were not read are within none."""
    errors = [r.scored.parts.get("absolute", np.inf) for r in rows]
    return [(t, float(mean([float(e <= t) for e in errors], range(len(errors))).value)) for t in tolerances]
