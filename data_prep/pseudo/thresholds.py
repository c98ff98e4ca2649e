"""How sure a scorer must be of a label: the same for all, for each label its own, or by how well a label is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import CorpusError
from data_prep.pseudo.scorers import Probabilities

METHODS = ("fixed", "per-class", "relative")
NEVER = 1.01
"""A threshold that no probability reaches."""


@dataclass(frozen=True)
class LabelPlan:
    """How probabilities become labels; making one checks it."""

    method: str = "fixed"
    """`fixed`: `threshold` for all; `per-class`: for each label the lowest that is as precise as `precision` on
    labelled samples; `relative` (FlexMatch): `threshold` lowered for labels that are seldom reached."""
    threshold: float = 0.75
    """A recording counts when it is so sure of one label (FixMatch: 0.95 with one label a recording)."""
    guess: float = 0.5
    """Of a recording that counts, further labels are taken from here on; as a share of their threshold."""
    absent: float = 0.05
    """Labels below this are told as absent."""
    precision: float = 0.9
    least_positives: int = 5
    """Labelled samples that a label needs for a threshold of its own; with fewer it has `threshold`."""
    single: bool = False
    """Only the surest label is taken: for sources with one label a recording."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise CorpusError(f"label plan: 'method' is {self.method!r}; it must be one of {', '.join(METHODS)}")
        for name in ("threshold", "guess", "absent", "precision"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise CorpusError(f"label plan: '{name}' is {value!r}; it must be a number from 0 to 1")
        if self.absent > self.threshold:
            raise CorpusError(f"label plan: 'absent' is {self.absent}; it must not be above the threshold")
        if not isinstance(self.least_positives, int) or self.least_positives < 1:
            raise CorpusError(f"label plan: 'least_positives' is {self.least_positives!r}; it must be 1 at least")


@dataclass(frozen=True)
class Guess:
    """What is taken for heard in a recording, surest first, and what for absent."""

    labels: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    confidence: Mapping[str, float] = field(default_factory=dict)


def decide(scores: Probabilities, labels: tuple[str, ...], thresholds: NDArray[np.float64], plan: LabelPlan) -> Guess:
    """Labels of one recording `[labels]`; none where it is not sure of any."""
    sure = scores / np.maximum(thresholds, 1e-6)
    order = np.argsort(-sure, kind="stable")
    if not len(order) or sure[order[0]] < 1:
        return Guess()
    least = 1.0 if plan.single else plan.guess
    taken = [int(place) for place in order if sure[place] >= least and thresholds[place] < NEVER]
    taken = taken[:1] if plan.single else taken
    absent = tuple(labels[place] for place in np.flatnonzero(scores < plan.absent))
    return Guess(tuple(labels[n] for n in taken), absent, {labels[n]: round(float(scores[n]), 4) for n in taken})


def fixed(labels: tuple[str, ...], plan: LabelPlan) -> NDArray[np.float64]:
    """`[labels]`"""
    return np.full(len(labels), plan.threshold)


def relative(scored: Iterable[Probabilities], labels: tuple[str, ...], plan: LabelPlan) -> NDArray[np.float64]:
    """FlexMatch's curriculum: a label that the scorer is seldom sure of, compared with the best known, needs less.

    With s(c) recordings sure of label c, and s(0) sure of none, c needs `threshold * b / (2 - b)`,
    b = s(c) / max(s(0), s(1), ...): while most recordings are undecided, all thresholds are low.
    """
    counts, undecided = np.zeros(len(labels)), 0
    for scores in scored:
        best = int(scores.argmax()) if len(scores) else 0
        if plan.single:
            hits = np.zeros(len(labels), dtype=bool)
            hits[best] = scores[best] >= plan.threshold
        else:
            hits = scores >= plan.threshold
        counts += hits
        undecided += not hits.any()
    share = counts / max(1.0, float(undecided), float(counts.max(initial=0.0)))
    return np.maximum(plan.threshold * share / (2 - share), plan.absent)


def per_class(scores: Probabilities, truth: NDArray[np.bool_], plan: LabelPlan) -> NDArray[np.float64]:
    """For each label the lowest threshold from which on it is as precise as wished, on labelled samples.

    Args:
        scores: `[samples, labels]`.
        truth: the same shape. A label that never is as precise gets `NEVER`.
    """
    found = np.full(scores.shape[1], plan.threshold)
    for label in range(scores.shape[1]):
        if truth[:, label].sum() >= plan.least_positives:
            found[label] = _least_precise(scores[:, label], truth[:, label], plan.precision)
    return found


def _least_precise(scores: Probabilities, truth: NDArray[np.bool_], precision: float) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    reached = hits / np.arange(1, len(ranked) + 1) >= precision
    last_of_ties = np.append(ranked[1:] < ranked[:-1], True)
    good = np.flatnonzero(reached & last_of_ties)
    return float(ranked[good[-1]]) if len(good) else NEVER
