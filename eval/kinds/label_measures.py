"""Figures over labels: accuracy, F1 and average precision, each with an interval over resampled clusters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Estimate

Floats = NDArray[np.float64]
RESAMPLES = 200
CELLS = 400_000_000
"""Items times labels times resamples that an interval of average precision may take."""


def cluster_weights(sources: Sequence[Hashable], resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int32]:
    """How often each item comes up when whole sources are drawn anew, `[resamples, items]`."""
    places = {s: i for i, s in enumerate(dict.fromkeys(sources))}
    index = np.array([places[s] for s in sources])
    rng, count = np.random.default_rng(seed), len(places)
    drawn = (np.bincount(rng.integers(count, size=count), minlength=count)[index] for _ in range(resamples))
    return np.stack([d.astype(np.int32) for d in drawn])


def estimate(value: float, drawn: Sequence[float], sources: Sequence[Hashable]) -> Estimate:
    """A figure with the percentiles of its resampled values."""
    count = len(set(sources))
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if count > 1 else (0.0, 1.0)
    return Estimate(value, float(low), float(high), len(sources), float(low), float(high), count)


def f1(
    gold: Sequence[Sequence[Hashable]],
    said: Sequence[Sequence[Hashable]],
    sources: Sequence[Hashable],
    average: str,
) -> Estimate:
    """F1 over the labels that occur among the right ones; an item without a label said is a miss.

    `average` is `macro`, `micro` or `weighted`, as in scikit-learn, whose values these are (tested).
    """
    numbers: dict[Hashable, int] = {}
    golds, claims = _Pairs(gold, numbers), _Pairs(said, numbers)
    hits = _Pairs([[label for label in s if label in g] for g, s in zip(gold, said, strict=True)], numbers)
    labels = np.unique(golds.labels)

    def value(weights: NDArray[np.int32] | None) -> float:
        hit, real, claim = (p.counts(weights, len(numbers)) for p in (hits, golds, claims))
        if average == "micro":
            return float(2 * hit.sum() / max(real[labels].sum() + claim.sum(), 1e-12))
        each = 2 * hit[labels] / np.maximum(real[labels] + claim[labels], 1e-12)
        return float(np.average(each, weights=np.maximum(real[labels], 1e-12) if average == "weighted" else None))

    return _resampled(value, sources)


class _Pairs:
    """Items and their labels, flat."""

    def __init__(self, rows: Sequence[Sequence[Hashable]], numbers: dict[Hashable, int]) -> None:
        self.items = np.array([i for i, row in enumerate(rows) for _ in row], dtype=np.int64)
        flat = [numbers.setdefault(label, len(numbers)) for row in rows for label in row]
        self.labels = np.array(flat, dtype=np.int64)

    def counts(self, weights: NDArray[np.int32] | None, top: int) -> Floats:
        own = None if weights is None else weights[self.items]
        return np.bincount(self.labels, weights=own, minlength=top).astype(np.float64)


def _resampled(value: Callable[[Any], float], sources: Sequence[Hashable]) -> Estimate:
    if not sources:
        return Estimate(0.0, 0.0, 1.0, 0, 0.0, 1.0, 0)
    return estimate(value(None), [value(w) for w in cluster_weights(sources)], sources)


def mean_average_precision(
    gold: Sequence[Sequence[int]], scores: Floats, sources: Sequence[Hashable]
) -> Estimate:
    """Mean over the labels that occur of the average precision of `scores` `[items, labels]`.

    The value is scikit-learn's; the interval comes from the same sums with resampled weights, of which there are fewer
    (never under 20) the larger the table.
    """
    from sklearn.metrics import average_precision_score

    truth = np.zeros(scores.shape, dtype=bool)
    for index, row in enumerate(gold):
        truth[index, list(row)] = True
    labels = np.flatnonzero(truth.any(0))
    value = float(np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in labels]))
    weights = cluster_weights(sources, max(20, min(100, CELLS // scores.size)))
    drawn = np.stack([_precision(truth[:, k], scores[:, k], weights) for k in labels])
    return estimate(value, list(np.nanmean(drawn, 0)), sources)


def _precision(truth: NDArray[np.bool_], scores: Floats, weights: NDArray[np.int32]) -> Floats:
    """Average precision of one label under each row of weights; NaN where no right item came up."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties count together
    drawn = weights[:, order].astype(np.float32)
    right = np.cumsum(drawn * truth[order], 1)[:, ends]
    every = np.cumsum(drawn, 1)[:, ends]
    gained = np.diff(right, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((gained * np.where(every > 0, right / every, 0.0)).sum(1) / right[:, -1], dtype=np.float64)
