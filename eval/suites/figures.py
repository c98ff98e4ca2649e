"""Figures that a suite has beside those of the kinds: by condition, and ratios with intervals over groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.kinds.base import Measure, Row
from eval.metrics import RESAMPLES, Estimate, mean

Counts = NDArray[np.float64]


def right(row: Row) -> float:
    """What an answer is worth by our rule; nothing without one."""
    return float(row.scored.robust or 0.0)


def picked(row: Row) -> str | None:
    """The option that an answer names; None where it names none."""
    value, want = row.scored.value, row.item.want
    choices: tuple[str, ...] = getattr(want, "choices", ())
    if isinstance(value, str):
        return value if value in choices else None
    return choices[value] if isinstance(value, int) and 0 <= value < len(choices) else None


def gold(row: Row) -> str:
    """The right option."""
    want = row.item.want
    answer, choices = getattr(want, "answer", None), getattr(want, "choices", ())
    return str(choices[answer]) if isinstance(answer, int) and choices else str(answer)


def by_tag(rows: Iterable[Row], tag: str) -> dict[str, list[Row]]:
    """Rows by the value of a tag, values sorted; rows without it are left out."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if tag in row.item.tags:
            found[row.item.tags[tag]].append(row)
    return dict(sorted(found.items()))


def by_group(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows that belong together."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.item.cluster].append(row)
    return dict(sorted(found.items()))


def mean_of(rows: Sequence[Row], value: Callable[[Row], float] = right) -> Estimate:
    """Mean over rows, with intervals over rows and over groups."""
    return mean([value(r) for r in rows], [r.item.cluster for r in rows])


def accuracies(rows: Sequence[Row], tag: str, prefix: str = "") -> list[Measure]:
    """Our score for each value of a tag."""
    return [Measure(f"{prefix}{k}", k, mean_of(own)) for k, own in by_tag(rows, tag).items()]


def ratio(counts: Sequence[Sequence[float]], groups: Sequence[Hashable], of: Callable[[Counts], Counts]) -> Estimate:
    """A figure of summed counts, such as F1, with its interval when groups are drawn anew.

    Args:
        counts: one row an item, `[items, columns]`.
        of: from sums `[draws, columns]` to figures `[draws]`.
    """
    sums: dict[Hashable, Counts] = {}
    for row, group in zip(counts, groups, strict=True):
        sums[group] = sums.get(group, np.zeros(len(row))) + np.asarray(row, dtype=np.float64)
    table = np.array(list(sums.values())) if sums else np.zeros((1, 1))
    value = float(of(table.sum(0, keepdims=True))[0])
    if len(sums) < 2:
        return Estimate(value, -np.inf, np.inf, len(counts), -np.inf, np.inf, len(sums))
    drawn = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    figures = of(table[drawn].sum(1))
    low, high = float(np.quantile(figures, 0.025)), float(np.quantile(figures, 0.975))
    return Estimate(value, low, high, len(counts), low, high, len(sums))


def share_of(above: Counts, below: Counts) -> Counts:
    """Quotients; 0 where nothing is below."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)
