"""Named entities: tags with their phrases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from eval.harness.items import StructuredWant
from eval.kinds.base import Measure, Row, Table
from eval.kinds.forms.base import Marks, Taken, want_of
from eval.kinds.forms.spans import marked, tally_measures
from eval.scorers.entities import Entity, entity_tally, label_tally, plain, read_entities
from eval.scorers.totals import TALLY, Totals, f1


class Entities:
    """Right where tag and phrase are, without case and punctuation; label F1 takes the tags alone."""

    def read(self, want: StructuredWant, text: str) -> Taken:
        found = read_entities(text)
        return Taken(None if found.value is None else [list(e) for e in found.value], found.rule)

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        gold, said = plain(pairs(want.answer)), plain(pairs(value or ()))
        found = marked(entity_tally(gold, said), value)
        return Marks(found.robust, {**found.parts, **label_tally(gold, said).parts("label_")})

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        totals = Totals(rows, [f"label_{n}" for n in TALLY])
        return [*tally_measures(rows, "entity"), Measure("label", "label F1", totals.estimate(f1("label_")))]

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        gold, said, hits = Counter[str](), Counter[str](), Counter[str]()
        for row in rows:
            ours, theirs = plain(pairs(want_of(row).answer)), plain(pairs(row.scored.value or ()))
            gold.update(t for t, _ in ours)
            said.update(t for t, _ in theirs)
            hits.update(t for t, _ in (Counter(ours) & Counter(theirs)).elements())
        tags = sorted(gold | said)
        found = tuple((t, gold[t], said[t], 2 * hits[t] / (gold[t] + said[t])) for t in tags)
        return [Table("By tag", ("tag", "there", "said", "F1"), found)] if found else []

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        return {"none": "[]"}


def pairs(value: Sequence[Any]) -> list[Entity]:
    return [(str(tag), str(phrase)) for tag, phrase in value]
