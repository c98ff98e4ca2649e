"""Stretches of time, and words with their times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.harness.items import StructuredWant
from eval.kinds.base import Measure, Row, Table
from eval.kinds.forms.base import Marks, Taken
from eval.metrics import mean
from eval.scorers.spans import Tally, read_spans, span_tally, wanted_spans
from eval.scorers.totals import TALLY, Totals, f1, over, precision, recall
from eval.scorers.words import read_words, wanted_words, word_tally

FRAME_SECONDS = 0.01
WORD_SECONDS = 0.2


def tally_measures(rows: Sequence[Row], what: str) -> list[Measure]:
    """F1 over all answers, precision, recall, and the mean of the answers' own F1."""
    totals, sources = Totals(rows, TALLY), [r.item.cluster for r in rows]
    own = mean([r.scored.robust or 0.0 for r in rows], sources)
    return [
        Measure("robust", f"{what} F1", totals.estimate(f1())),
        Measure("precision", f"{what} precision", totals.estimate(precision())),
        Measure("recall", f"{what} recall", totals.estimate(recall())),
        Measure("item_mean", f"{what} F1, mean of items", own),
    ]


def marked(tally: Tally, value: Any) -> Marks:
    """The answer's own F1; what cannot be read found nothing, not even that there is nothing."""
    return Marks(0.0 if value is None else tally.f1, tally.parts())


class Spans:
    """Frames of 10 ms that are covered (`options.frame_seconds`), whatever the spans are called."""

    def read(self, want: StructuredWant, text: str) -> Taken:
        found = read_spans(text)
        return Taken(None if found.value is None else [list(s) for s in found.value], found.rule)

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        gold = wanted_spans(want)
        said = [(float(a), float(b)) for a, b in value or ()]
        return marked(span_tally(gold, said, float(want.options.get("frame_seconds", FRAME_SECONDS))), value)

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        iou = Totals(rows, TALLY).estimate(
            lambda s: over(s["hits"], s["hits"] + s["extra"] + s["missed"], 1.0)
        )
        return [*tally_measures(rows, "frame"), Measure("iou", "overlap (IoU)", iou)]

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        return []

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        seconds = want.options.get("seconds")
        found = {"none": "[]"}
        if seconds:
            found["everything"] = f'[{{"start": 0, "end": {float(seconds)}}}]'
        return found


class Words:
    """Words of the right text, both ends within the tolerance (0.2 s)."""

    def read(self, want: StructuredWant, text: str) -> Taken:
        found = read_words(text)
        return Taken(None if found.value is None else [list(w) for w in found.value], found.rule)

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        tolerance = WORD_SECONDS if want.tolerance is None else want.tolerance
        return marked(word_tally(wanted_words(want), [(w, a, b) for w, a, b in value or ()], tolerance), value)

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        return tally_measures(rows, "word")

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        return []

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        return {"none": "[]"}
