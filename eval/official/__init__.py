"""The benchmarks' own scoring rules by name; `Item.official` names one."""

from __future__ import annotations

from eval.official import (
    air,
    blab,
    captions,
    compa,
    dcase,
    ltu_age,
    macro,
    nearest,
    opened,
    slue,
    teleantifraud,
    transcripts,
    words,
    wordsets,
)
from eval.official.base import Official, Verdict

__all__ = ["OFFICIAL", "Official", "Verdict"]

_STRUCTURED = (*blab.RULES, *slue.RULES, *dcase.RULES, *teleantifraud.RULES, ltu_age.RULE)
_RULES: tuple[Official, ...] = (
    wordsets.MMAU,
    wordsets.MMAR,
    nearest.PRO,
    air.FOUNDATION,
    nearest.LTU,
    *words.RULES,
    *transcripts.RULES,
    compa.RULE,
    *macro.RULES,
    *_STRUCTURED,
    *captions.RULES,
    *opened.RULES,
)

OFFICIAL: dict[str, Official] = {rule.name: rule for rule in _RULES}
