"""The word-set rule of MMAU, which MMAR shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from eval.harness.answers import Judged
from eval.harness.items import ChoiceWant, Item
from eval.kinds.base import Surroundings
from eval.official.base import Official, Verdict

_WORDS = re.compile(r"\w+")


def word_set_match(answer: str, said: str, choices: Sequence[str]) -> bool:
    """Every word of the answer is said, and no word that only other choices have.

    >>> word_set_match("Owl", "the owl", ["Dog", "Owl"]), word_set_match("Owl", "owl, not dog", ["Dog", "Owl"])
    (True, False)
    """
    wanted, found = _set(answer), _set(said)
    others = frozenset[str]().union(*(_set(c) for c in choices)) - wanted
    return bool(found) and wanted <= found and not found & others


@lru_cache(maxsize=4096)
def _set(text: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(text.lower()))


def _one(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    if not isinstance(item.want, ChoiceWant):
        return None
    if text is None:
        return Verdict(0.0, counted=False)
    return Verdict(float(word_set_match(item.want.choices[item.want.answer], text, item.want.choices)))


_ABOUT = (
    "All words of the right choice occur, and no word that only wrong choices have. Refuses bare letters; a function "
    "word of a wrong choice is enough to fail; rows without a prediction leave the published script's denominator."
)
MMAU = Official("mmau", _ABOUT, _one)
MMAR = Official("mmar", _ABOUT, _one)
