"""A benchmark's own scoring rule: what it says about one answer, and about all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.harness.answers import Judged
from eval.harness.items import Item
from eval.kinds.base import Measure, Row, Surroundings


@dataclass(frozen=True)
class Verdict:
    """What a rule says about one answer."""

    value: float
    """0 to 1."""
    counted: bool = True
    """False: the published script leaves this row out of its denominator. We count it as wrong."""
    read: str = ""
    """What the rule took the answer for."""


@dataclass(frozen=True)
class Official:
    """One rule, re-implemented from its description; pure, like the kinds."""

    name: str
    about: str
    """The rule in a sentence, with its known defects."""
    one: Callable[[Item, str | None, Sequence[Judged], Surroundings], Verdict | None] | None = None
    """About one answer (None: there is none); None where only all answers together have a score."""
    together: Callable[[Sequence[Row], Surroundings], list[Measure]] | None = None
    """Figures that are not the mean of single ones."""
    beside: tuple[str, ...] = ()
    """Other rules that choices are scored by too, each as a figure of its own."""
