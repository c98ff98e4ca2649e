"""Shares with their uncertainty: Wilson intervals, bootstrap over sources, paired tests. All intervals are 95 %."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
RESAMPLES = 2000
MANY_SOURCES = 1_000
"""From so many sources on, the mean is normal for all purposes, and no draws are made."""


@dataclass(frozen=True)
class Estimate:
    """A mean over items with two intervals: one treats items as independent, one resamples whole sources."""

    value: float
    low: float
    high: float
    items: int
    source_low: float
    source_high: float
    sources: int

    def to_dict(self) -> dict[str, Any]:
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}


def wilson(right: float, total: int) -> tuple[float, float]:
    """Wilson score interval of a share.

    >>> tuple(round(x, 4) for x in wilson(8, 10))
    (0.4902, 0.9433)
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = right / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def cluster_bootstrap(
    values: Sequence[float],
    sources: Sequence[Hashable],
    weights: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the (weighted) mean when whole sources are drawn with replacement; for many sources the
    normal interval from the variance between sources, which it then equals.

    Items of one package resemble each other, so the number of independent observations is nearer to the number of
    packages. With one source the interval is everything: nothing is known about another.
    """
    sums: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for value, source, weight in zip(values, sources, weights or [1.0] * len(values), strict=True):
        sums[source][0] += value * weight
        sums[source][1] += weight
    if len(sums) < 2:
        return -math.inf, math.inf
    table = np.array(list(sums.values()))
    if len(table) >= MANY_SOURCES:
        return _normal(table)
    drawn = table[np.random.default_rng(seed).integers(len(table), size=(resamples, len(table)))].sum(1)
    means = drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _normal(table: NDArray[np.float64]) -> tuple[float, float]:
    """Interval of a quotient of sums `[sources, 2]` by its variance between sources (linearised)."""
    sources, (top, bottom) = len(table), table.sum(0)
    value = top / max(bottom, 1e-12)
    spread = ((table[:, 0] - value * table[:, 1]) ** 2).sum() * sources / (sources - 1)
    half = Z_95 * math.sqrt(spread) / max(bottom, 1e-12)
    return float(value - half), float(value + half)


def share(right: Sequence[bool], sources: Sequence[Hashable]) -> Estimate:
    """Share of right answers: Wilson interval, and the interval over sources."""
    total, count = len(right), sum(map(bool, right))
    low, high = wilson(count, total)
    source_low, source_high = cluster_bootstrap([float(r) for r in right], sources)
    value = count / total if total else 0.0
    clip = (max(0.0, source_low), min(1.0, source_high))
    return Estimate(value, low, high, total, *clip, len(set(sources)))


def mean(values: Sequence[float], sources: Sequence[Hashable]) -> Estimate:
    """Mean of any figure, both intervals by bootstrap (items, sources)."""
    total = len(values)
    low, high = cluster_bootstrap(values, range(total))
    value = float(np.mean(values)) if total else 0.0
    return Estimate(value, low, high, total, *cluster_bootstrap(values, sources), len(set(sources)))


def macro(right: Sequence[bool], kinds: Sequence[Hashable]) -> float:
    """Mean over kinds (classes) of the share of right answers in each."""
    grouped: dict[Hashable, list[bool]] = defaultdict(list)
    for ok, kind in zip(right, kinds, strict=True):
        grouped[kind].append(ok)
    return float(np.mean([np.mean(g) for g in grouped.values()])) if grouped else 0.0


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Exact two-sided p-value that two systems answering the same items are equally often right.

    >>> round(mcnemar([True] * 9 + [False], [False] * 9 + [True]), 4)
    0.0215
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    both = only_first + only_second
    if both == 0:
        return 1.0
    ways, tail = 1, 0  # whole numbers throughout: exact, and as fast for a hundred thousand items
    for k in range(min(only_first, only_second) + 1):
        tail += ways
        ways = ways * (both - k) // (k + 1)
    return float(min(1.0, 2 * tail / 2**both))


def paired_difference(first: Sequence[bool], second: Sequence[bool], sources: Sequence[Hashable]) -> Estimate:
    """Mean of (first - second) per item, with intervals over items and over sources."""
    return mean([float(a) - float(b) for a, b in zip(first, second, strict=True)], sources)


def rank_of(scores: Sequence[float], gold: int) -> int:
    """0 for the best; ties count against the gold item, so that constant scores win nothing."""
    return sum(s >= scores[gold] for i, s in enumerate(scores) if i != gold)


def argmax(scores: Sequence[float]) -> int:
    """First place of the largest score."""
    return max(range(len(scores)), key=lambda i: scores[i])
