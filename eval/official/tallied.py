"""Official rules whose score is of all answers together: each answer gives counts, which are added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eval.harness.items import Item
from eval.official.base import Official


@dataclass(frozen=True)
class Ruled:
    """What a benchmark's own rule makes of one answer."""

    value: float | None = None
    """0 to 1; None where the rule speaks about all answers together alone."""
    counted: bool = True
    """False: the published script leaves the row out, or stops at it."""
    parts: Mapping[str, float] = field(default_factory=dict)


def nothing(item: Item, text: str | None) -> Ruled:
    """No rule for single answers."""
    return Ruled(counted=text is not None)


@dataclass(frozen=True)
class Tallied(Official):
    """A rule with counts; `together` finds them as parts with `official_` before their names."""

    tally: Callable[[Item, str | None], Ruled] = nothing
