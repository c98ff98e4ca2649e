"""What a task is, and what its maker is given and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator

from data_prep.makers.names import Names
from data_prep.makers.plan import TaskPlan
from data_prep.makers.survey import Survey, heard, label_key
from data_prep.makers.wording import Wording
from data_prep.samples import Sample

ANSWERS = "answers"
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
LETTERS = "ABCDEFGH"
CHOICE_STYLES = {"text": 0.45, "lettered": 0.35, "letter": 0.2}
"""Layouts of listed options and their shares."""
WITHIN = 0.25
"""Share of choices whose options are part of the question's sentence, as people ask."""

T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """One question with its answer; `meta` says how to score it."""

    question: str
    answer: str
    meta: dict[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    """The recordings in the order of the question; empty: the one sample that was asked about."""
    then: tuple[Turn, ...] = ()
    """What is asked next on the same recordings."""
    task: str = ""
    """Name of the task, in dialogues."""


@dataclass(frozen=True)
class Making:
    """One row in the making: its chance, and all that a maker may look at besides the sample."""

    rng: Generator
    split: str
    plan: TaskPlan
    survey: Survey
    names: Names
    book: Mapping[str, Wording]

    def ask(self, name: str, **words: str) -> str:
        """A phrasing of a question for the split."""
        return self.book[name].ask(self.rng, self.split, words)

    def say(self, name: str, form: str = ANSWERS, **words: str) -> str:
        """A phrasing of an answer."""
        return self.book[name].say(self.rng, self.split, form, words)

    def one(self, items: Sequence[T]) -> T:
        """Any of `items`."""
        return items[int(self.rng.integers(len(items)))]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different ones of `items`, in random order."""
        return [items[int(k)] for k in self.rng.permutation(len(items))[:count]]

    def between(self, bounds: tuple[int, int]) -> int:
        """A whole number from the least to the most."""
        return int(self.rng.integers(bounds[0], bounds[1] + 1))

    def coin(self, chance: float = 0.5) -> bool:
        """True as often as `chance`."""
        return bool(self.rng.random() < chance)

    def weighted(self, counts: Mapping[str, float]) -> str:
        """A key, as often as its value says."""
        names = sorted(counts)
        weights = np.array([counts[name] for name in names], dtype=float)
        return names[int(self.rng.choice(len(names), p=weights / weights.sum()))]

    def surely(self, sample: Sample) -> bool:
        """Whether what the sample does not name is absent."""
        return sample.complete or self.plan.trust_missing

    def askable(self, sample: Sample) -> list[str]:
        """Labels of the sample that train has."""
        key = label_key(sample)
        return [label for label in heard(sample) if self.survey.known(key, label)]


Maker = Callable[[Making, Sample], Turn | None]
"""Gives None when its question does not fit the sample."""


@dataclass(frozen=True)
class Task:
    """One kind of question."""

    name: str
    family: str
    about: str
    """One line for the list of tasks."""
    fits: Callable[[Sample], bool]
    """Whether it is worth calling the maker, by the fields that the sample has."""
    make: Maker
    share: float = 1.0
    """Weight among the tasks when the number of rows is given."""
    by: str = ""
    """The field whose rare values get more rows by `TaskPlan.balance`."""
    pools: tuple[str, ...] = ()
    """Names of its pools of phrasings; empty: its own name."""
    kind: str = "question-answer"
    """What Qwen-Audio's tags call it: transcribe, translate, caption, analysis or question-answer."""
    times: bool = False
    """Whether its answers have times."""
    several: bool = False
    """Whether it asks about several recordings."""


def options_text(making: Making, options: Sequence[str], right: str) -> tuple[str, str, str]:
    """The options as a question lists them, the answer to give, and the name of the layout.

    The answer is the option's text, a letter only where the question asks for it.
    """
    style = making.weighted(CHOICE_STYLES)
    if style == "text":
        return " Options: " + "; ".join(options) + ".", right, style
    mark = making.one(("{}) ", "{}. ", "({}) "))
    listed = "".join(f"\n{mark.format(key)}{text}" for key, text in zip(LETTERS, options, strict=False))
    if style == "letter":
        return listed + "\nAnswer with the letter only.", LETTERS[list(options).index(right)], style
    return listed, right, style


def options_within(question: str, options: Sequence[str]) -> str:
    """The options in the question's sentence.

    >>> options_within("Which of these is it?", ["rain", "a cat", "a bell"])
    'Which of these is it: rain, a cat or a bell?'
    """
    return f"{question[:-1]}: {', '.join(options[:-1])} or {options[-1]}{question[-1]}"


def choose(making: Making, pool: str, right: str, others: Sequence[str], **more: Any) -> Turn:
    """A question with options in random order."""
    options = making.some([right, *others], len(others) + 1)
    if len(options) > 1 and making.coin(WITHIN):
        question, reply, style = options_within(making.ask(pool, options=""), options), right, "within"
    else:
        listed, reply, style = options_text(making, options, right)
        question = making.ask(pool, options=listed)
    meta = {"answer": right, "options": options, "correct": options.index(right), "style": style}
    return Turn(question, reply, meta | more)
