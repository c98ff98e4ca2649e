"""Whether a model is as often right as its likelihoods say, over items whose choices were ranked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from eval.harness.items import ChoiceWant, Item, LabelWant, PairWant
from eval.kinds.base import Row

BINS = 10


def calibration(rows: Iterable[tuple[Row, tuple[str, ...]]]) -> dict[str, Any] | None:
    """Bins of confidence with how often the likeliest candidate was right, and the expected calibration error.

    Confidence is the likeliest candidate's share of all candidates' likelihoods. None without such rows.

    Args:
        rows: each with its candidates, in the order of the answer's log-likelihoods.
    """
    told = [found for row, candidates in rows if (found := _told(row, candidates)) is not None]
    if not told:
        return None
    sure, right = np.array([t[0] for t in told]), np.array([t[1] for t in told], float)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = [
        {
            "from": number / BINS,
            "items": int(inside.sum()),
            "sure": float(sure[inside].mean()),
            "right": float(right[inside].mean()),
        }
        for number in range(BINS)
        if (inside := place == number).any()
    ]
    error = sum(b["items"] * abs(b["sure"] - b["right"]) for b in bins) / len(told)
    return {"items": len(told), "error": round(error, 5), "bins": bins}


def _told(row: Row, candidates: tuple[str, ...]) -> tuple[float, bool] | None:
    logs = row.answered.loglik if row.answered else None
    gold = _gold(row.item, candidates)
    if not logs or len(logs) != len(candidates) or not gold:
        return None
    values = np.exp(np.array(logs) - max(logs))
    return float(values.max() / values.sum()), int(values.argmax()) in gold


def _gold(item: Item, candidates: tuple[str, ...]) -> set[int]:
    want = item.want
    if isinstance(want, ChoiceWant | PairWant):
        return set() if want.answer is None else {want.answer}
    if isinstance(want, LabelWant):
        return {candidates.index(label) for label in want.labels if label in candidates}
    return set()
