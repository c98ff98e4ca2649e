"""What the comparisons share: a line of the table, and our score of one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.harness.answers import Answered, Judged
from eval.harness.items import Item, Message, Want
from eval.kinds import KINDS
from eval.kinds.base import Row, Surroundings


@dataclass(frozen=True)
class Agreement:
    """One line of the table."""

    what: str
    rows: int
    same: int
    """Rows on which both say the same."""
    official: float
    ours: float
    note: str = ""


NOWHERE = Surroundings()


def item_of(want: Want, official: str, number: int, group: str = "") -> Item:
    return Item(
        id=str(number), messages=(Message(role="user", content="Which?"),), want=want, official=official, group=group
    )


def row_of(item: Item, said: str | None, around: Surroundings = NOWHERE, judged: Sequence[Judged] = ()) -> Row:
    answered = None if said is None else Answered(id=item.id, key="", text=said)
    return Row(item, answered, KINDS[item.want.kind].score(item, answered, judged, around))


def figure(rows: Sequence[Row], key: str, around: Surroundings = NOWHERE) -> float:
    measures = KINDS[rows[0].item.want.kind].measures(rows, around)
    return next(m.estimate.value for m in measures if m.key == key)


def paired(what: str, pairs: Sequence[tuple[bool, bool]], note: str = "") -> Agreement:
    share = 100 / len(pairs)
    official, ours = (share * sum(p[k] for p in pairs) for k in (0, 1))
    return Agreement(what, len(pairs), sum(a == b for a, b in pairs), official, ours, note)
