"""How far a scorer may be trusted: its probabilities against the labels of samples that have them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.pseudo.confidences import Confidence
from data_prep.pseudo.scorers import Probabilities
from data_prep.pseudo.thresholds import LabelPlan, decide
from data_prep.samples import Sample

BINS = 10
EDGE = 1e-6
FIT_STEPS = 50


@dataclass(frozen=True)
class Labelled:
    """Scores and truth `[samples, labels]` of samples with labels that the scorer knows."""

    labels: tuple[str, ...]
    scores: Probabilities
    truth: NDArray[np.bool_]


def labelled(found: Iterable[Confidence], labels: Sequence[str]) -> Labelled:
    """Of the samples that have a label which the scorer knows; a label that is not named counts as absent."""
    place = {label: n for n, label in enumerate(labels)}
    scores, truth = [], []
    for one in found:
        known = [place[label] for label in heard(one.sample) if label in place]
        if known and not one.fault:
            row = np.zeros(len(labels), dtype=bool)
            row[known] = True
            scores.append(one.scores)
            truth.append(row)
    shape = (len(scores), len(labels))
    return Labelled(
        tuple(labels), np.array(scores, dtype=np.float32).reshape(shape), np.array(truth, dtype=bool).reshape(shape)
    )


def halves(found: Iterable[Confidence], labels: Sequence[str]) -> tuple[Labelled, Labelled]:
    """One half to set things by and one to test them on; no group of samples is in both."""
    sides: tuple[list[Confidence], list[Confidence]] = ([], [])
    for one in found:
        key = one.sample.group or one.sample.id
        sides[hashlib.sha256(f"half {one.sample.source} {key}".encode()).digest()[0] % 2].append(one)
    return labelled(sides[0], labels), labelled(sides[1], labels)


def corrected(data: Labelled, correction: Platt) -> Labelled:
    """The same with corrected probabilities."""
    return replace(data, scores=correction(data.scores))


def trust(before: Labelled, after: Labelled, thresholds: NDArray[np.float64], plan: LabelPlan) -> dict[str, Any]:
    """Everything that a report says about labelled samples, before and after the correction."""
    told = [reliability(*top_scores(data)) for data in (before, after)]
    return {
        "surest_before": told[0],
        "surest_after": told[1],
        "all_after": reliability(after.scores, after.truth),
        "error_before": round(calibration_error(told[0]), 4),
        "error_after": round(calibration_error(told[1]), 4),
        "quality": quality(after, thresholds, plan),
        "sweep": sweep(after, plan),
    }


def heard(sample: Sample) -> tuple[str, ...]:
    """All labels of a sample, those of its events too, each once."""
    return tuple(dict.fromkeys((*sample.labels, *(event.label for event in sample.events))))


@dataclass(frozen=True)
class Platt:
    """A logistic correction of probabilities: slope and offset of the logit."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: Probabilities) -> Probabilities:
        """The corrected probabilities, in the same order."""
        logits = _logit(scores) * self.slope + self.offset
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)


def _logit(scores: Probabilities) -> NDArray[np.float64]:
    inside = np.clip(scores.astype(np.float64), EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


def fit_platt(scores: Probabilities, truth: NDArray[np.bool_]) -> Platt:
    """The correction that makes the truth likeliest (Newton's method), with Platt's targets, so that it is finite."""
    right, wrong = int(truth.sum()), int((~truth).sum())
    if not right or not wrong:
        return Platt()
    logits = np.stack([_logit(scores).ravel(), np.ones(scores.size)])
    targets = np.where(truth.ravel(), (right + 1) / (right + 2), 1 / (wrong + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(FIT_STEPS):
        guess = 1 / (1 + np.exp(-np.clip(weights @ logits, -50, 50)))
        slope = logits @ (guess - targets)
        bend = (logits * (guess * (1 - guess))) @ logits.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        weights = weights - step * min(1.0, 5.0 / float(np.abs(step).max(initial=1e-12)))
        if np.abs(step).max() < 1e-9:
            break
    return Platt(float(weights[0]), float(weights[1])) if weights[0] > 0 else Platt()


def reliability(scores: Probabilities, truth: NDArray[np.bool_]) -> list[dict[str, float]]:
    """By bins of equal width: how many decisions, mean probability, share that is true."""
    places = np.minimum((scores * BINS).astype(int), BINS - 1).ravel()
    rows = []
    for number in range(BINS):
        chosen = places == number
        count = int(chosen.sum())
        told = float(scores.ravel()[chosen].mean()) if count else 0.0
        right = float(truth.ravel()[chosen].mean()) if count else 0.0
        rows.append({"from": number / BINS, "count": count, "told": round(told, 4), "true": round(right, 4)})
    return rows


def calibration_error(rows: Sequence[dict[str, float]]) -> float:
    """Expected calibration error: mean distance of told and true over the bins, by their counts."""
    total = sum(row["count"] for row in rows)
    return sum(row["count"] * abs(row["told"] - row["true"]) for row in rows) / total if total else 0.0


def top_scores(data: Labelled) -> tuple[Probabilities, NDArray[np.bool_]]:
    """Of each sample the highest score, and whether that label is true: what decides whether it is taken."""
    if not len(data.scores):
        return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool)
    best = data.scores.argmax(axis=1)
    rows = np.arange(len(best))
    return data.scores[rows, best], data.truth[rows, best]


def quality(data: Labelled, thresholds: NDArray[np.float64], plan: LabelPlan) -> dict[str, Any]:
    """What the thresholds bring: share of samples that get labels, precision and recall of these labels."""
    taken = right = samples = exact = 0
    by_label: dict[str, list[int]] = {}
    for scores, truth in zip(data.scores, data.truth, strict=True):
        guess = decide(scores, data.labels, thresholds, plan)
        true = {data.labels[n] for n in np.flatnonzero(truth)}
        samples += bool(guess.labels)
        exact += bool(guess.labels) and guess.labels[0] in true
        for label in guess.labels:
            taken += 1
            right += label in true
            counts = by_label.setdefault(label, [0, 0])
            counts[0] += 1
            counts[1] += label in true
    total, heard_all = len(data.scores), int(data.truth.sum())
    return {
        "samples": total,
        "with_labels": samples,
        "coverage": round(samples / total, 4) if total else 0.0,
        "precision": round(right / taken, 4) if taken else 0.0,
        "first_label_right": round(exact / samples, 4) if samples else 0.0,
        "recall": round(right / heard_all, 4) if heard_all else 0.0,
        "labels": {k: {"taken": n, "right": r} for k, (n, r) in sorted(by_label.items())},
    }


def sweep(data: Labelled, plan: LabelPlan) -> list[dict[str, Any]]:
    """Coverage and precision at thresholds from low to high."""
    rows = []
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        found = quality(data, np.full(len(data.labels), threshold), plan)
        rows.append({"threshold": threshold} | {k: found[k] for k in ("coverage", "precision", "recall")})
    return rows


def plot(rows: Sequence[dict[str, float]], swept: Sequence[dict[str, Any]], path: Path) -> None:
    """Reliability, and what thresholds bring, as one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = [row for row in rows if row["count"]]
    left.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    left.plot([row["told"] for row in shown], [row["true"] for row in shown], marker="o")
    left.set(xlabel="probability of the surest label", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    for name in ("coverage", "precision", "recall"):
        right.plot([row["threshold"] for row in swept], [row[name] for row in swept], marker="o", label=name)
    right.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1))
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
