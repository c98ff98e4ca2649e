"""Which answer is taken for which: a full matrix where the kind reads single labels or places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from eval.harness.items import ChoiceWant, LabelWant
from eval.kinds.base import Row, Table

NONE = "(none)"
MOST = 60
"""More classes than that are no picture."""


def confusion_tables(rows: Sequence[Row]) -> list[Table]:
    """For choices by letter, and for each label set with one right label an item."""
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for row in rows:
        if (found := _pair(row)) is not None:
            counts.setdefault(found[0], Counter())[found[1:]] += 1
    tables = (_table(name, own) for name, own in sorted(counts.items()))
    return [t for t in tables if 2 <= len(t.rows) <= MOST]


def _pair(row: Row) -> tuple[str, str, str] | None:
    """What is compared, what is right, and what was read."""
    want, value = row.item.want, row.scored.value
    if isinstance(want, ChoiceWant):
        return "places", chr(ord("A") + want.answer), chr(ord("A") + value) if isinstance(value, int) else NONE
    if isinstance(want, LabelWant) and not want.multi and isinstance(value, dict):
        said = value.get("said") or []
        return want.label_set, want.labels[0], said[0] if len(said) == 1 else NONE
    return None


def _table(name: str, counts: Counter[tuple[str, str]]) -> Table:
    names = sorted({n for pair in counts for n in pair} - {NONE})
    columns = [*names, NONE]
    rows = tuple((gold, *(counts[gold, said] for said in columns)) for gold in names)
    return Table(f"Confusions of {name}", ("right / said", *columns), rows)
