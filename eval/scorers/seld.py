"""Where and when sounds are: the measures of DCASE 2019 and the joint ones of DCASE 2020.

Nothing is rasterised: between two edges nothing changes, so a stretch counts as often as it has frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from eval.scorers.events import Frames
from eval.scorers.totals import over

Direction = tuple[float, float]
"""Azimuth and elevation in degrees."""
NEAR_DEGREES = 20.0


@lru_cache(maxsize=65_536)
def degrees_between(first: Direction, second: Direction) -> float:
    """Angle between two directions.

    >>> round(degrees_between((0, 0), (90, 0))), round(degrees_between((170, 0), (-170, 0)))
    (90, 20)
    """
    (a1, e1), (a2, e2) = (map(math.radians, d) for d in (first, second))
    cosine = math.sin(e1) * math.sin(e2) + math.cos(e1) * math.cos(e2) * math.cos(a1 - a2)
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def least_degrees(gold: Sequence[Direction], said: Sequence[Direction]) -> float:
    """Sum of the angles when directions are paired so that it is least; who has no partner is left out."""
    if len(gold) == len(said) == 1:
        return degrees_between(gold[0], said[0])
    costs = np.array([[degrees_between(g, s) for s in said] for g in gold])
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].sum())


def _stretches(
    gold: Sequence[Frames], said: Sequence[Frames], first: int, end: int
) -> Iterator[tuple[int, list[Direction], list[Direction]]]:
    """Between edges: number of frames, directions that are there and directions that are said."""
    edges = sorted({first, end, *(min(max(x, first), end) for f in (*gold, *said) for x in (f.first, f.end))})
    for start, stop in pairwise(edges):
        yield stop - start, _active(gold, start), _active(said, start)


def _active(events: Sequence[Frames], frame: int) -> list[Direction]:
    there = {(e.label, e.azimuth, e.elevation) for e in events if e.first <= frame < e.end}
    return [(a, e) for _, a, e in sorted(there)]


def direction_parts(gold: Sequence[Frames], said: Sequence[Frames], frames: int) -> dict[str, float]:
    """DCASE 2019: degrees over the best pairs of each frame, directions said, frames with the right number."""
    found = dict.fromkeys(("doa_degrees", "doa_said", "frames_right", "frames"), 0.0)
    for length, wanted, given in _stretches(gold, said, 0, frames):
        found["frames"] += length
        found["frames_right"] += length * (len(wanted) == len(given))
        found["doa_said"] += length * len(given)
        if wanted and given:
            found["doa_degrees"] += length * least_degrees(wanted, given)
    return found


def joint_parts(
    gold: Sequence[Frames], said: Sequence[Frames], block: int, near: float = NEAR_DEGREES, summed: bool = False
) -> dict[str, float]:
    """DCASE 2020: per block and class, a hit is a class that is said where it is, within `near` degrees on average.

    Args:
        summed: the angles of several sounds of one class in one frame are added up, as the published script does; else
            their mean counts.
    """
    names = ("joint_hits", "joint_gold", "joint_said", "joint_errors", "joint_degrees", "joint_found")
    found = dict.fromkeys(names, 0.0)
    places = {p for e in (*gold, *said) for p in range(e.first // block, (e.end - 1) // block + 1)}
    for place in sorted(places):
        first, end = place * block, (place + 1) * block
        wanted = [e for e in gold if e.first < end and e.end > first]
        given = [e for e in said if e.first < end and e.end > first]
        missed = extra = 0
        for label in sorted({e.label for e in (*wanted, *given)}):
            ours, theirs = [e for e in wanted if e.label == label], [e for e in given if e.label == label]
            degrees = _mean_degrees(ours, theirs, first, end, summed) if ours and theirs else None
            hit = degrees is not None and degrees <= near
            found["joint_hits"] += hit
            found["joint_gold"] += bool(ours)
            found["joint_said"] += bool(theirs)
            found["joint_found"] += degrees is not None
            found["joint_degrees"] += degrees or 0.0
            # As the published script counts: a class said in the wrong place is a miss, not a false alarm, too.
            missed, extra = missed + bool(ours and not hit), extra + bool(theirs and not ours)
        found["joint_errors"] += max(missed, extra)
    return found


def _mean_degrees(
    ours: Sequence[Frames], theirs: Sequence[Frames], first: int, end: int, summed: bool
) -> float | None:
    """Over the frames of a block in which both are there; None where there is none."""
    total = frames = 0.0
    for length, wanted, given in _stretches(ours, theirs, first, end):
        if wanted and given:
            pairs = 1 if summed else min(len(wanted), len(given))
            total += length * least_degrees(wanted, given) / pairs
            frames += length
    return total / frames if frames else None


Sums = Mapping[str, NDArray[np.float64]]
"""Parts added up over items; arrays, so that many draws of items are reckoned at once."""


def f1_of(sums: Sums, name: str) -> NDArray[np.float64]:
    return over(2 * sums[f"{name}_hits"], sums[f"{name}_gold"] + sums[f"{name}_said"], 1.0)


def error_rate_of(sums: Sums, name: str) -> NDArray[np.float64]:
    return over(sums[f"{name}_errors"], sums[f"{name}_gold"], 0.0)


def doa_error(sums: Sums) -> NDArray[np.float64]:
    """Degrees; 180 where no direction is said."""
    return over(sums["doa_degrees"], sums["doa_said"], 180.0)


def frame_recall(sums: Sums) -> NDArray[np.float64]:
    return over(sums["frames_right"], sums["frames"], 0.0)


def localisation_error(sums: Sums) -> NDArray[np.float64]:
    """Degrees over the classes found; 180 where none is."""
    return over(sums["joint_degrees"], sums["joint_found"], 180.0)


def localisation_recall(sums: Sums) -> NDArray[np.float64]:
    return over(sums["joint_found"], sums["joint_gold"], 0.0)


def localisation_f1(sums: Sums) -> NDArray[np.float64]:
    return over(2 * sums["joint_found"], sums["joint_gold"] + sums["joint_said"], 1.0)


def seld_2019(sums: Sums) -> NDArray[np.float64]:
    """Mean of error rate, 1 - F, DOA error / 180 and 1 - frame recall; less is better."""
    parts = (error_rate_of(sums, "segment"), 1 - f1_of(sums, "segment"), doa_error(sums) / 180, 1 - frame_recall(sums))
    return np.mean(np.stack(parts), axis=0)  # type: ignore[no-any-return]


def seld_2020(sums: Sums) -> NDArray[np.float64]:
    """The same of the joint figures."""
    parts = (
        error_rate_of(sums, "joint"),
        1 - f1_of(sums, "joint"),
        localisation_error(sums) / 180,
        1 - localisation_f1(sums),
    )
    return np.mean(np.stack(parts), axis=0)  # type: ignore[no-any-return]
