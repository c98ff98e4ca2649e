"""LTU-AS's age of a speaker: the first number, a range as its middle; answers without digits are dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eval.harness.items import Item, StructuredWant
from eval.kinds.base import Measure, Row, Surroundings
from eval.official.tallied import Ruled, Tallied
from eval.scorers.totals import Totals, ratio


def first_age(text: str) -> float | None:
    """
    >>> first_age("about 30-40 years"), first_age("in the 30s"), first_age("aged 25, perhaps 30")
    (35.0, None, 25.0)
    """
    found = re.search(r"\b(\d{1,15})(?:-(\d{1,15}))?\b", text)
    if not found:
        return None
    return (float(found[1]) + float(found[2] or found[1])) / 2


def _tally(item: Item, text: str | None) -> Ruled:
    assert isinstance(item.want, StructuredWant)
    said = first_age(text or "")
    if said is None:
        return Ruled(counted=False)
    return Ruled(parts={"absolute": abs(said - float(item.want.answer)), "read": 1.0})


def _together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    totals = Totals(rows, ("official_absolute", "official_read"))
    count = int(totals["official_read"])
    note = f"over the {count} of {len(rows)} answers with digits; the published table calls it mse"
    value = totals.estimate(ratio("official_absolute", "official_read"), count)
    return [Measure("official", "benchmark's mean absolute error", value, "years", note, -1)]


RULE = Tallied(
    "ltu-age",
    'The first number, a range as its middle; answers without one ("in the 30s") are dropped.',
    together=_together,
    tally=_tally,
)
