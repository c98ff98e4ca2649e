"""AudioCaps and Clotho: CIDEr-D of the whole answers, by tokens of a regular expression instead of Java's tokeniser."""

from __future__ import annotations

from collections.abc import Sequence

from eval.kinds.base import Measure, Row, Surroundings
from eval.official.base import Official


def _together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    from eval.kinds.caption import cider_measures

    return cider_measures(rows, "official", "benchmark's CIDEr-D, whole answer")


_ABOUT = (
    "CIDEr-D over all clips, of whole answers; by tokens of a regular expression where the field takes Java's, so that "
    "hyphens and brackets may count otherwise. SPICE, and with it SPIDEr, needs Java and is not here."
)
RULES = tuple(Official(name, _ABOUT, together=_together) for name in ("audiocaps", "clotho"))
