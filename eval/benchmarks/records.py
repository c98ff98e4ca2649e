"""What a benchmark is to the harness, and what its reader yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING

from eval.harness.items import Item, Lost
from eval.kinds.base import LabelSet

if TYPE_CHECKING:
    from eval.benchmarks.download import Download


@dataclass(frozen=True)
class Unusable:
    """Official rows that no answer can be scored against, such as one with an empty key: left out, and said so."""

    reason: str
    count: int = 1


Piece = Item | LabelSet | Lost | Unusable
"""`Lost` is what the download lacks; it makes `prepare` refuse, `Unusable` does not."""

Reader = Callable[["Download", str], Iterator[Piece]]
"""Reads one split of an official download; recordings are named, not looked at."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of the field, or one task of it that is scored apart."""

    name: str
    title: str
    version: str
    licence: str
    source: str
    """Where the official data are."""
    how_to_get: str
    """What to download, and how the folder must look."""
    measures: str
    kinds: tuple[str, ...]
    official: tuple[str, ...]
    """Rules that its items name in `Item.official`."""
    splits: Mapping[str, int | None]
    """Items of each split as its authors give it, the usual split first; None: no number that could be checked."""
    prompts: Mapping[str, Template]
    read: Reader = field(repr=False)
    note: str = ""
    """What a reader of a score must know, such as where ours differs from the published procedure."""

    @property
    def module(self) -> str:
        """Where it is read."""
        return self.read.__module__

    @property
    def split(self) -> str:
        """The usual split."""
        return next(iter(self.splits))
