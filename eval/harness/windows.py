"""Some of a stream at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def windows(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Tuples of so many values each, the last one perhaps of fewer; nothing is read ahead.

    >>> list(windows("abcde", 2))
    [('a', 'b'), ('c', 'd'), ('e',)]
    """
    left = iter(values)
    while some := tuple(islice(left, size)):
        yield some
