"""Rules of closed sets that are means over labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eval.kinds.base import Measure, Row, Surroundings
from eval.official.base import Official


def _f1(average: str) -> Callable[[Sequence[Row], Surroundings], list[Measure]]:
    def together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        from eval.kinds.label import want_of
        from eval.kinds.label_measures import f1

        gold: Any = [want_of(r.item).labels for r in rows]
        said = [r.scored.value["said"] for r in rows]
        estimate = f1(gold, said, [r.item.cluster for r in rows], average)
        return [Measure("official", f"{average} F1", estimate)]

    return together


RULES = (
    Official(
        "slue-sentiment",
        "Macro F1 over the three sentiments. The toolkit classifies by a head and always says one; what an answer says "
        "is read by our rule, and an unread one is a miss.",
        together=_f1("macro"),
    ),
    Official(
        "slue-dialogue-acts",
        "Macro F1 over the acts that occur, several to an utterance; answers are read by our rule.",
        together=_f1("macro"),
    ),
)
