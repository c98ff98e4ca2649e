"""From equal triangles to copies: votes for one shift in pitch and time, then a test of all points under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from data_prep.copies.index import Hits, Index, Piece, Segment
from data_prep.copies.landmarks import (
    ASKED,
    BANDS,
    BANDS_PER_OCTAVE,
    FRAMES_PER_SECOND,
    MAX_SHIFT_BANDS,
    Points,
    names_to_ask,
    triangles,
)

CANDIDATES = 24
"""Per piece that is looked for and segment; the rest has fewer votes."""
LEAST_VOTES = 2
VOTE_FRAMES = 6.0
DECOYS_TIME = (-61, -47, -37, -29, -23, -19, -13, -11, 11, 13, 19, 23, 29, 37, 47, 61)
DECOYS_BAND = (-17, -11, -7, -5, 5, 7, 11, 17)


@dataclass(frozen=True)
class Limits:
    """When two recordings count as copies."""

    least_score: float = 9.0
    """-log10 of the chance that so many points agree by accident."""
    least_share: float = 0.25
    """Of the indexed recording's points, within the stretch that both share."""
    least_points: int = 6
    """Points that agree."""


@dataclass(frozen=True)
class Match:
    """A recording of the index of which something is in the one that was looked for."""

    recording: str
    score: float
    share: float
    points: int
    semitones: float
    """By which the one looked for is higher."""
    speed: float
    """By which it is faster."""
    here: float
    """Seconds into the recording looked for, where the common stretch begins."""
    there: float
    """Seconds into the indexed one."""
    seconds: float
    """Length of the common stretch in the recording looked for."""


def find(index: Index, found: list[tuple[float, Points]], limits: Limits = Limits()) -> list[Match]:
    """Recordings of the index that share something with one of `found` (start, landmarks); the best match of each."""
    best: dict[str, Match] = {}
    for start, points in found:
        corners = triangles(points, ASKED.partners)
        if not len(corners):
            continue
        asked, owner = names_to_ask(points, corners)
        grid = _Grid(points)
        for segment in index.segments:
            hits = segment.look_up(asked, owner)
            for candidate in _candidates(hits, points, corners):
                match = _tested(segment, candidate, points, grid, start)
                if _holds(match, limits) and match.score > best.get(match.recording, match).score - 1e-9:
                    best[match.recording] = match
    return sorted(best.values(), key=lambda match: (-match.score, match.recording))


def _holds(match: Match, limits: Limits) -> bool:
    good = match.points >= limits.least_points and match.share >= limits.least_share
    return good and match.score >= limits.least_score


@dataclass(frozen=True)
class _Candidate:
    piece: int
    bands: float
    scale: float
    """Frames here for one frame there."""
    begin: float
    """Frame here where the indexed piece would begin."""


def _candidates(hits: Hits, points: Points, corners: NDArray[np.int64]) -> list[_Candidate]:
    """The alignments that most triangles vote for: same tempo, or a tempo that moved with the pitch."""
    first = corners[hits.asked, 0]
    moved = points.band[first] - hits.band
    length = points.time[corners[hits.asked, 2]] - points.time[first]
    stretch = np.log2(np.maximum(length, 1) / np.maximum(hits.length, 1))
    tolerance = 0.06 + 1.0 / np.maximum(hits.length, 4)
    keys, values = [], []
    for scale_log in (np.zeros_like(moved), -moved / BANDS_PER_OCTAVE):
        good = (np.abs(moved) <= MAX_SHIFT_BANDS) & (np.abs(stretch - scale_log) <= tolerance)
        if scale_log.any():
            good &= np.abs(moved) > 0.75  # otherwise it is the same alignment
        scale = 2.0 ** scale_log[good]
        begin = points.time[first[good]] - scale * hits.time[good]
        values.append(np.stack([hits.piece[good], moved[good], scale, begin, hits.asked[good]], axis=1))
    votes = np.concatenate(values) if values else np.empty((0, 5))
    del keys
    return _most_voted(votes)


def _most_voted(votes: NDArray[np.float64]) -> list[_Candidate]:
    """Votes `[n, 5]` (piece, bands, scale, begin, asked triangle) grouped where they agree."""
    if not len(votes):
        return []
    groups: list[tuple[int, NDArray[np.int64]]] = []
    for half_band in (0.0, 0.5):
        for half_time in (0.0, 0.5):
            cell = np.stack(
                [
                    votes[:, 0],
                    np.floor(votes[:, 1] / 1.5 + half_band),
                    np.rint(np.log2(votes[:, 2]) * 40),
                    np.floor(votes[:, 3] / VOTE_FRAMES + half_time),
                ],
                axis=1,
            ).astype(np.int64)
            packed = ((cell[:, 0] * 64 + cell[:, 1] + 32) * 64 + cell[:, 2] + 32) * 65536 + cell[:, 3] + 32768
            _, inverse, count = np.unique(packed, return_inverse=True, return_counts=True)
            top = np.argsort(-count, kind="stable")[:CANDIDATES]
            order = np.argsort(inverse, kind="stable")
            ends = np.cumsum(count)
            groups += [(int(count[k]), order[ends[k] - count[k] : ends[k]]) for k in top if count[k] >= LEAST_VOTES]
    groups.sort(key=lambda group: -group[0])
    return [_centre(votes[rows]) for _, rows in groups[: 2 * CANDIDATES]]


def _centre(votes: NDArray[np.float64]) -> _Candidate:
    middle = np.median(votes, axis=0)
    return _Candidate(int(votes[0, 0]), float(middle[1]), float(middle[2]), float(middle[3]))


class _Grid:
    """Where the points of what is looked for are, frames by half bands, each with its surroundings."""

    def __init__(self, points: Points) -> None:
        self.frames = int(points.time.max(initial=0.0)) + 2
        self.first = float(points.time.min(initial=0.0))
        self.taken = np.zeros((self.frames + 4, 2 * BANDS + 8), bool)
        time, band = np.rint(points.time).astype(int), np.rint(points.band * 2).astype(int)
        for dt in (-1, 0, 1):
            for db in (-1, 0, 1):
                self.taken[time + 2 + dt, band + 2 + db] = True

    def look(self, time: NDArray[np.float64], band: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each place is within the recording, and whether a point is there."""
        row, column = np.rint(time).astype(int) + 2, np.rint(band * 2).astype(int) + 2
        inside = (time >= self.first - 2) & (row >= 0) & (row < len(self.taken))
        inside &= (column >= 0) & (column < self.taken.shape[1])
        there = np.zeros(len(time), bool)
        there[inside] = self.taken[row[inside], column[inside]]
        return inside, there


def _tested(segment: Segment, candidate: _Candidate, points: Points, grid: _Grid, start: float) -> Match:
    """All stored points of the candidate against those looked for, and against the same at wrong places."""
    piece = segment.piece(candidate.piece)
    time, band = _moved(piece, candidate)
    time, band = _refined(time, band, points)
    inside, there = grid.look(time, band)
    agree, total = int(there.sum()), int(inside.sum())
    chance = _by_chance(grid, time, band, inside)
    score = float(-binom.logsf(agree - 1, total, chance) / np.log(10)) if agree else 0.0
    begin = float(time[inside].min(initial=np.inf)) if total else 0.0
    end = float(time[inside].max(initial=0.0))
    there_frames = (begin - candidate.begin) / candidate.scale
    return Match(
        piece.recording,
        score,
        agree / max(1, total),
        agree,
        round(12 * candidate.bands / BANDS_PER_OCTAVE, 2),
        round(1 / candidate.scale, 3),
        start + max(0.0, begin) / FRAMES_PER_SECOND,
        piece.start + max(0.0, there_frames) / FRAMES_PER_SECOND,
        max(0.0, end - begin) / FRAMES_PER_SECOND,
    )


def _moved(piece: Piece, candidate: _Candidate) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    time = candidate.scale * piece.points.time.astype(np.float64) + candidate.begin
    return time, piece.points.band.astype(np.float64) + candidate.bands


def _refined(
    time: NDArray[np.float64], band: NDArray[np.float64], points: Points
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The alignment corrected by the points that nearly agree: their median distance."""
    apart_time = points.time[None, :] - time[:, None]
    apart_band = points.band[None, :] - band[:, None]
    near = (np.abs(apart_time) <= 4) & (np.abs(apart_band) <= 1.5)
    if near.sum() < 3:
        return time, band
    return time + float(np.median(apart_time[near])), band + float(np.median(apart_band[near]))


def _by_chance(
    grid: _Grid, time: NDArray[np.float64], band: NDArray[np.float64], inside: NDArray[np.bool_]
) -> float:
    """Share of points that agree at wrong places: the mean of many, never under what scattered points would give."""
    agree = total = 0
    for move in DECOYS_TIME:
        within, there = grid.look(time[inside] + move, band[inside])
        agree, total = agree + int(there.sum()), total + int(within.sum())
    for move in DECOYS_BAND:
        within, there = grid.look(time[inside], band[inside] + move)
        agree, total = agree + int(there.sum()), total + int(within.sum())
    return float(np.clip(max(agree / max(1, total), grid.taken.mean()) + 1.0 / (total + 24), 1e-3, 0.95))
