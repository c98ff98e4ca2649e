"""From equal triangles to copies: votes for one shift in pitch and time, then a test of all points under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from data_prep.copies.index import Fingerprint, Hits, Index, Piece
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

CANDIDATES = 32
"""Alignments that are tested for one piece that is looked for; the rest has fewer votes."""
LEAST_VOTES = 2
_VOTE_FRAMES = 6.0
_VOTE_BANDS = 1.5
# Wrong places by prime numbers of frames and bands: a rhythm or a scale is not hit again and again.
_DECOYS_TIME = (-61, -47, -37, -29, -23, -19, -13, -11, 11, 13, 19, 23, 29, 37, 47, 61)
_DECOYS_BAND = (-17, -11, -7, -5, 5, 7, 11, 17)


@dataclass(frozen=True)
class CopyLimits:
    """When two recordings count as copies."""

    least_score: float = 10.0
    """-log10 of the chance that so many points agree by accident."""
    least_share: float = 0.25
    """Of the indexed recording's points, within the stretch that both share."""
    least_points: int = 7
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
    """How much faster it is; 1.0 is the same."""
    here: float
    """Seconds into the recording looked for, where the common stretch begins."""
    there: float
    """Seconds into the indexed one."""
    seconds: float
    """Length of the common stretch in the recording looked for."""


def find(index: Index, found: Fingerprint, limits: CopyLimits = CopyLimits()) -> list[Match]:
    """Recordings of the index that share something with the one of this fingerprint: the best match of each."""
    best: dict[str, Match] = {}
    for start, points in found:
        corners = triangles(points, ASKED.partners)
        if not len(corners) or not index.segments:
            continue
        grid = _Grid(points)
        for candidate in _candidates(index.look_up(*names_to_ask(points, corners)), points, corners):
            match = _tested(index.piece(candidate.piece), candidate, points, grid, start, limits)
            if match and (match.recording not in best or match.score > best[match.recording].score):
                best[match.recording] = match
    return sorted(best.values(), key=lambda match: (-match.score, match.recording))


@dataclass(frozen=True)
class _Candidate:
    """An indexed piece, and how it would have to be moved to lie on the one looked for."""

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
    votes = []
    for with_tempo in (False, True):
        scale_log = -moved / BANDS_PER_OCTAVE if with_tempo else np.zeros_like(moved)
        good = (np.abs(moved) <= MAX_SHIFT_BANDS) & (np.abs(stretch - scale_log) <= tolerance)
        if with_tempo:
            good &= np.abs(moved) > _VOTE_BANDS / 2  # otherwise it is the same alignment
        scale = 2.0 ** scale_log[good]
        begin = points.time[first[good]] - scale * hits.time[good]
        votes.append(np.stack([hits.piece[good], moved[good], scale, begin, np.full(len(begin), with_tempo)], axis=1))
    return _most_voted(np.concatenate(votes))


def _most_voted(votes: NDArray[np.float64]) -> list[_Candidate]:
    """Votes `[n, 5]` (piece, bands, scale, begin, with tempo) grouped where they agree.

    Cells are laid twice each way, half a cell apart, so that no group is split by a bound.
    """
    groups: list[tuple[int, NDArray[np.int64]]] = []
    for half_band in (0.0, 0.5):
        for half_time in (0.0, 0.5):
            band = np.floor(votes[:, 1] / _VOTE_BANDS + half_band).astype(np.int64) + 16
            time = np.floor(votes[:, 3] / _VOTE_FRAMES + half_time).astype(np.int64) + 2**13
            piece, with_tempo = votes[:, 0].astype(np.int64), votes[:, 4].astype(np.int64)
            cell = ((piece * 2 + with_tempo) * 32 + band) * 2**14 + time
            order = np.argsort(cell, kind="stable")
            bounds = np.flatnonzero(np.diff(cell[order], prepend=-1, append=-1)) if len(cell) else np.zeros(1, int)
            count = np.diff(bounds)
            top = np.argsort(-count, kind="stable")[:CANDIDATES]
            groups += [(int(count[k]), order[bounds[k] : bounds[k + 1]]) for k in top if count[k] >= LEAST_VOTES]
    groups.sort(key=lambda group: -group[0])
    centres = (np.median(votes[rows], axis=0) for _, rows in groups)
    found = (_Candidate(int(c[0]), round(float(c[1]), 1), round(float(c[2]), 3), round(float(c[3]))) for c in centres)
    return list(dict.fromkeys(found))[:CANDIDATES]


class _Grid:
    """Where the points of what is looked for are, frames by half bands, each with its surroundings."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.first = float(points.time.min(initial=0.0))
        self.taken = np.zeros((int(points.time.max(initial=0.0)) + 6, 2 * BANDS + 8), bool)
        time, band = np.rint(points.time).astype(int), np.rint(points.band * 2).astype(int)
        for frames in (-1, 0, 1):
            for halves in (-1, 0, 1):
                self.taken[time + 2 + frames, band + 2 + halves] = True

    def look(self, time: NDArray[np.float64], band: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each place is within the recording, and whether a point is there."""
        row, column = np.rint(time).astype(int) + 2, np.rint(band * 2).astype(int) + 2
        inside = (time >= self.first - 2) & (row >= 0) & (row < len(self.taken))
        inside &= (column >= 0) & (column < self.taken.shape[1])
        there = np.zeros(len(time), bool)
        there[inside] = self.taken[row[inside], column[inside]]
        return inside, there

    def by_chance(self, time: NDArray[np.float64], band: NDArray[np.float64]) -> float:
        """Share of places that have a point when all are moved to where they do not belong."""
        moved = [(time + frames, band) for frames in _DECOYS_TIME] + [(time, band + bands) for bands in _DECOYS_BAND]
        looked = [self.look(*places) for places in moved]
        total = sum(int(inside.sum()) for inside, _ in looked)
        agree = sum(int(there.sum()) for _, there in looked)
        return float(np.clip(max(agree / max(1, total), self.taken.mean()) + 1.0 / (total + 24), 1e-3, 0.95))

    def refined(
        self, time: NDArray[np.float64], band: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Places corrected by the points that nearly agree: by their median distance."""
        apart_time = self.points.time[None, :] - time[:, None]
        apart_band = self.points.band[None, :] - band[:, None]
        near = (np.abs(apart_time) <= 4) & (np.abs(apart_band) <= 1.5)
        if near.sum() < 3:
            return time, band
        return time + float(np.median(apart_time[near])), band + float(np.median(apart_band[near]))


def _tested(
    piece: Piece, candidate: _Candidate, points: Points, grid: _Grid, start: float, limits: CopyLimits
) -> Match | None:
    """All stored points of the piece against those looked for; None where too few agree to be a copy."""
    time = candidate.scale * piece.points.time.astype(np.float64) + candidate.begin
    band = piece.points.band.astype(np.float64) + candidate.bands
    if 2 * grid.look(time, band)[1].sum() < limits.least_points:
        return None
    time, band = grid.refined(time, band)
    inside, there = grid.look(time, band)
    agree, total = int(there.sum()), int(inside.sum())
    if agree < limits.least_points or agree < limits.least_share * total:
        return None
    score = float(-binom.logsf(agree - 1, total, grid.by_chance(time[inside], band[inside])) / np.log(10))
    if score < limits.least_score:
        return None
    begin, end = float(time[inside].min()), float(time[inside].max())
    offset = float(time[0] - candidate.scale * piece.points.time[0])
    return Match(
        piece.recording,
        round(score, 1),
        round(agree / total, 3),
        agree,
        round(12 * candidate.bands / BANDS_PER_OCTAVE, 2),
        round(1 / candidate.scale, 3),
        round(start + max(0.0, begin) / FRAMES_PER_SECOND, 2),
        round(piece.start + max(0.0, (begin - offset) / candidate.scale) / FRAMES_PER_SECOND, 2),
        round(max(0.0, end - begin) / FRAMES_PER_SECOND, 2),
    )
