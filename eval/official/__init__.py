"""The benchmarks' own scoring rules by name; `Item.official` names one."""

from __future__ import annotations

from eval.official import air, nearest, words, wordsets
from eval.official.base import Official, Verdict

__all__ = ["OFFICIAL", "Official", "Verdict"]

_RULES: tuple[Official, ...] = (
    wordsets.MMAU,
    wordsets.MMAR,
    nearest.PRO,
    air.FOUNDATION,
    nearest.LTU,
    *words.RULES,
)

OFFICIAL: dict[str, Official] = {rule.name: rule for rule in _RULES}
