"""Figures of all answers together: parts of single answers added up, with intervals over items and over sources.

Rows are put in order first, so that their order changes no digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eval.metrics import RESAMPLES, Estimate

if TYPE_CHECKING:
    from eval.kinds.base import Row

Array = NDArray[np.float64]
Figure = Callable[[Mapping[str, Array]], Array]
"""From sums of parts, arrays of any length, to a figure of each place."""


class Totals:
    """Sums of the rows' parts, as they are and as drawn anew."""

    def __init__(self, rows: Sequence[Row], names: Sequence[str]) -> None:
        """
        Args:
            names: parts that the figures need; a row without one has 0 of it.
        """
        self.rows = sorted(rows, key=lambda r: r.item.id)
        self.names = list(names)
        self.table = np.array([[r.scored.parts.get(n, 0.0) for n in names] for r in self.rows], dtype=np.float64)
        self.table = self.table.reshape(len(self.rows), len(names))

    def __getitem__(self, name: str) -> float:
        return float(self.table[:, self.names.index(name)].sum())

    def estimate(self, figure: Figure, items: int | None = None) -> Estimate:
        """A figure with both intervals; `items` is how many answers it is about."""
        value = float(figure(self._named(self.table.sum(axis=0)[None]))[0]) if len(self.rows) else 0.0
        count = len(self.rows) if items is None else items
        low, high = self._interval(figure, self._by_item)
        source_low, source_high = self._interval(figure, self._by_source)
        return Estimate(value, low, high, count, source_low, source_high, len(set(self._sources)))

    def _named(self, sums: Array) -> dict[str, Array]:
        return {name: sums[:, place] for place, name in enumerate(self.names)}

    def _interval(self, figure: Figure, drawn: Array | None) -> tuple[float, float]:
        if drawn is None:
            return -math.inf, math.inf
        values = figure(self._named(drawn))
        return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))

    @cached_property
    def _sources(self) -> list[Hashable]:
        return [r.item.cluster for r in self.rows]

    @cached_property
    def _by_item(self) -> Array | None:
        return _drawn(self.table)

    @cached_property
    def _by_source(self) -> Array | None:
        names, place = np.unique(np.array(self._sources, dtype=object).astype(str), return_inverse=True)
        if len(names) == len(self.rows):
            return self._by_item
        sums = np.zeros((len(names), len(self.names)))
        np.add.at(sums, place, self.table)
        return _drawn(sums)


def _drawn(table: Array, resamples: int = RESAMPLES, seed: int = 0) -> Array | None:
    """Sums of as many rows drawn with replacement, `[resamples, parts]`; None where there are fewer than two."""
    if len(table) < 2:
        return None
    generator = np.random.default_rng(seed)
    found = np.empty((resamples, table.shape[1]))
    for place in range(resamples):
        found[place] = np.bincount(generator.integers(len(table), size=len(table)), minlength=len(table)) @ table
    return found


def ratio(top: str, bottom: str, empty: float = 0.0) -> Figure:
    """One part over another."""
    return lambda sums: over(sums[top], sums[bottom], empty)


def f1(name: str = "") -> Figure:
    """2 hits / (2 hits + extra + missed); 1 where there is nothing to find and nothing was said."""
    return lambda s: over(
        2 * s[f"{name}hits"], 2 * s[f"{name}hits"] + s[f"{name}extra"] + s[f"{name}missed"], 1.0
    )


def precision(name: str = "") -> Figure:
    return lambda s: over(s[f"{name}hits"], s[f"{name}hits"] + s[f"{name}extra"], 0.0)


def recall(name: str = "") -> Figure:
    return lambda s: over(s[f"{name}hits"], s[f"{name}hits"] + s[f"{name}missed"], 0.0)


def over(top: Array, bottom: Array, empty: float) -> Array:
    """top / bottom, `empty` where the bottom is nothing."""
    found = np.full(np.shape(bottom), empty, dtype=np.float64)
    np.divide(top, bottom, out=found, where=bottom > 0)
    return found


TALLY = ("hits", "extra", "missed")
