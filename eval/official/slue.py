"""SLUE: named entities, where they are said, and where an answer is said. Its toolkit scores taggers, not answers, so
answers are read by our readers; the counting is the toolkit's."""

from __future__ import annotations

from collections.abc import Sequence

from eval.harness.items import Item, StructuredWant
from eval.kinds.base import Measure, Row, Surroundings
from eval.official.base import Official
from eval.official.blab import tally_measures
from eval.official.tallied import Ruled, Tallied
from eval.scorers.entities import entity_tally, label_tally, read_entities
from eval.scorers.spans import Tally, frame_tally, read_spans, wanted_spans
from eval.scorers.totals import TALLY, Totals, f1

FRAME_SECONDS = 0.01


def _entities(item: Item, text: str | None) -> Ruled:
    """Multisets of tag and phrase, letter by letter; the label figure leaves the phrase out."""
    assert isinstance(item.want, StructuredWant)
    gold = [(str(tag), str(phrase)) for tag, phrase in item.want.answer]
    said = read_entities(text or "").value or []
    parts = entity_tally(gold, said).parts() | label_tally(gold, said).parts("label_")
    return Ruled(counted=text is not None, parts=parts)


def _entity_measures(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    totals = Totals(rows, [f"official_label_{n}" for n in TALLY])
    label = Measure("official_label", "benchmark's label F1", totals.estimate(f1("official_label_")))
    return [*tally_measures("entity")(rows, around), label]


def frames_tally(want: StructuredWant, text: str) -> Tally:
    """10 ms frames, edges rounded down."""
    gold = [(_frame(a), _frame(b)) for a, b in wanted_spans(want)]
    said = [(_frame(a), _frame(b)) for a, b in read_spans(text).value or []]
    return frame_tally(gold, said)


def _frame(seconds: float) -> int:
    return int(float(seconds) / FRAME_SECONDS)


def _spans(item: Item, text: str | None) -> Ruled:
    assert isinstance(item.want, StructuredWant)
    return Ruled(counted=text is not None, parts=frames_tally(item.want, text or "").parts())


RULES: tuple[Official, ...] = (
    Tallied(
        "slue-ner",
        "Micro F1 over tags with phrases as multisets, letter by letter.",
        together=_entity_measures,
        tally=_entities,
    ),
    Tallied(
        "slue-nel",
        "F1 over 10 ms frames, edges rounded down, whatever the entity.",
        together=tally_measures("frame"),
        tally=_spans,
    ),
    Tallied(
        "slue-sqa",
        "F1 over 10 ms frames of the stretch that answers, edges rounded down.",
        together=tally_measures("frame"),
        tally=_spans,
    ),
)
