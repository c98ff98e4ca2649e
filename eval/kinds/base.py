"""What a kind of task brings: reading an answer, scoring it, adding scores up, and answers that need no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from eval.harness.answers import Answered, Judged, Scored
from eval.harness.items import Item
from eval.kinds.wording import Phrases
from eval.metrics import Estimate


@dataclass(frozen=True)
class LabelSet:
    """A closed set of labels, each with its other wordings."""

    name: str
    labels: Mapping[str, tuple[str, ...]]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """In the order of every vector over the labels."""
        return tuple(self.labels)

    @cached_property
    def phrases(self) -> Phrases:
        """Each label's wordings, its name with blanks for underscores among them."""
        return Phrases.of([(name.replace("_", " "), *other) for name, other in self.labels.items()])


@dataclass(frozen=True)
class Surroundings:
    """What reading and scoring may look up beside the item: nothing here changes while a run is scored."""

    label_sets: Mapping[str, LabelSet] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """An item with what became of it."""

    item: Item
    answered: Answered | None
    """None: there is no answer; it counts as wrong."""
    scored: Scored


@dataclass(frozen=True)
class Measure:
    """One figure over many items."""

    key: str
    """`official`, `robust`, or a name of the kind's own."""
    label: str
    estimate: Estimate
    unit: str = "%"
    note: str = ""
    better: int = 1
    """-1 where less is better."""


@dataclass(frozen=True)
class Table:
    """A further table of the report, such as a confusion matrix."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@runtime_checkable
class Headed(Protocol):
    """A kind whose two rules cost less than all of its measures: categories and baselines ask for them alone."""

    def headline(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        """What `measures` has under `official` and `robust`."""


class Kind(Protocol):
    """One kind of task. Everything is a pure function of its arguments: no randomness, no model, any order of rows."""

    name: str

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        """Read one answer and score it by both rules."""

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        """Figures over all rows; `official` and `robust` always among them where the kind has them."""

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        """Further tables; may be empty."""

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        """Answers that need no model, by name (`first`, `echo`, `majority` ...), scored beside the model's."""
