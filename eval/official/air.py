"""AIR-Bench foundation: the first character, else the last but one."""

from __future__ import annotations

from collections.abc import Sequence

from eval.harness.answers import Judged
from eval.harness.items import ChoiceWant, Item
from eval.kinds.base import Surroundings
from eval.official.base import Official, Verdict

LETTERS = "ABCD"


def first_character(said: str) -> str | None:
    """The letter that the rule takes an answer for; None: the published script drops the row.

    >>> first_character("Because"), first_character("The answer is A."), first_character("a dog")
    ('B', 'A', None)
    """
    text = said.strip().replace("\n", "")
    if not text or text == "None":
        return None
    if text[0] in LETTERS:
        return text[0]
    return text[-2] if len(text) > 1 and text[-2] in LETTERS else None


def _one(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    if not isinstance(item.want, ChoiceWant):
        return None
    choices = item.want.choices[: len(LETTERS)]
    letter = first_character(text or "")
    if letter is None or item.want.answer >= len(choices):
        return Verdict(0.0, counted=False)
    wanted = LETTERS[choices.index(choices[item.want.answer])]
    return Verdict(float(letter == wanted), read=letter)


FOUNDATION = Official(
    "air-foundation",
    'The first character if it is A, B, C or D ("Because" is B), else the last but one; other rows leave the '
    "published script's denominator.",
    _one,
)
