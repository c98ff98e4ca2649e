"""CompA: every recording prefers its own caption, every caption its own recording, and both."""

from __future__ import annotations

from collections.abc import Sequence

from eval.harness.items import PairWant
from eval.kinds.base import Measure, Row, Surroundings
from eval.official.base import Official


def together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    from eval.kinds.matrix import matrix_measures

    cells = [(r, r.item.want.cell) for r in rows if isinstance(r.item.want, PairWant)]
    return matrix_measures(cells, "official")


_ABOUT = (
    "Group, text and audio score over pairs of recordings with their captions; a tie loses. The published script uses "
    "cosines of a two-tower model, here the numbers are log-likelihoods of captions, or choices."
)
RULE = Official("compa", _ABOUT, together=together)
