"""The benchmarks' own scoring rules by name; `Item.official` names one."""

from __future__ import annotations

from eval.official import air, blab, dcase, ltu_age, slue, teleantifraud, wordsets
from eval.official.base import Official, Verdict

__all__ = ["OFFICIAL", "Official", "Verdict"]

_STRUCTURED = (*blab.RULES, *slue.RULES, *dcase.RULES, *teleantifraud.RULES, ltu_age.RULE)
_RULES: tuple[Official, ...] = (wordsets.MMAU, wordsets.MMAR, air.FOUNDATION, *_STRUCTURED)

OFFICIAL: dict[str, Official] = {rule.name: rule for rule in _RULES}
