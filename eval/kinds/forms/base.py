"""What a form of structured answer brings: how it is read, how one is compared, what all together are scored by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eval.harness.items import StructuredWant
from eval.kinds.base import Measure, Row, Table


@dataclass(frozen=True)
class Taken:
    """What was read out of an answer."""

    value: Any
    """None: nothing."""
    rule: str


@dataclass(frozen=True)
class Marks:
    """How near an answer is."""

    robust: float
    """0 to 1."""
    parts: dict[str, float] = field(default_factory=dict)


class Form(Protocol):
    """One shape of answer; pure."""

    def read(self, want: StructuredWant, text: str) -> Taken:
        """The answer in the form's own shape."""

    def mark(self, want: StructuredWant, value: Any) -> Marks:
        """Compare; a value of None (no answer, none that can be read) is wrong."""

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """`robust` and the form's further figures."""

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        """Further tables; may be empty."""

    def baselines(self, want: StructuredWant) -> dict[str, str]:
        """Answers that need no model."""


def want_of(row: Row) -> StructuredWant:
    assert isinstance(row.item.want, StructuredWant), row.item.want.kind
    return row.item.want
