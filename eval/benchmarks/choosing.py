"""Choices and their key, as official rows give them."""

from __future__ import annotations

from collections.abc import Sequence

from eval.harness.items import ChoiceWant


def choice_want(choices: Sequence[str], answer: str) -> ChoiceWant | None:
    """The choice that the key names, by its text; None where fewer than two choices or no such one.

    >>> choice_want(["Dog", "Owl"], "owl ").answer
    1
    """
    same = [i for i, text in enumerate(choices) if text == answer] or [
        i for i, text in enumerate(choices) if answer and text.strip().casefold() == answer.strip().casefold()
    ]
    if len(choices) < 2 or not same:
        return None
    return ChoiceWant(choices=tuple(choices), answer=same[0])
