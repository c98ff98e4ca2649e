"""Landmarks of a recording: its loudest points in time and log frequency, and the triangles that they make.

A triangle of three points is told by two distances in frequency, the place of the middle point in time and the length
of the whole. All four stay the same, or nearly, when the recording is encoded anew, cut, mixed with another, or
played faster or slower; so equal triangles lead from a recording to its copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

from alm.audio import Waveform

RATE_HZ = 16_000
HOP = 256
WINDOW = 1024
PADDED = 2048
LOW_HZ = 250.0
HIGH_HZ = 7_200.0
BANDS_PER_OCTAVE = 24
FRAMES_PER_SECOND = RATE_HZ / HOP
BANDS = int(np.log2(HIGH_HZ / LOW_HZ) * BANDS_PER_OCTAVE)
RANGE_DB = 60.0
"""What is further below the loudest place is taken for silence."""
Whole = NDArray[np.int64]
PIECE_SECONDS = 48.0
"""Longer recordings are looked at in pieces that overlap by `OVERLAP_SECONDS`."""
OVERLAP_SECONDS = 4.0


@dataclass(frozen=True)
class Density:
    """How many points are kept, and how many triangles begin at each."""

    points_per_second: float
    least_points: int
    """Short recordings keep as many."""
    partners: int
    """Later points that each point is joined with."""


KEPT = Density(points_per_second=14.0, least_points=40, partners=4)
"""Of what lies in an index."""
ASKED = Density(points_per_second=28.0, least_points=80, partners=6)
"""Of what is looked for: more, because a copy in a mixture has lost some of its points to the other sound."""

_LOOKED_AHEAD = 40
_FAR = 2**31 - 1
MAX_GAP_FRAMES = 96
MIN_GAP_FRAMES = 3
MAX_BANDS_APART = 36
MAX_SHIFT_BANDS = 4.5
"""Two semitones up or down, and a little."""


@dataclass(frozen=True)
class Points:
    """Landmarks of one piece, in order of time."""

    time: NDArray[np.float32]
    """Frames of 16 ms."""
    band: NDArray[np.float32]
    """24ths of an octave above 250 Hz, interpolated."""
    rank: NDArray[np.int32]
    """0 is the most prominent."""

    def __len__(self) -> int:
        return len(self.time)

    def strongest(self, count: int) -> Points:
        """The `count` most prominent ones."""
        chosen = self.rank < count
        return Points(self.time[chosen], self.band[chosen], self.rank[chosen])


def pieces(waveform: Waveform) -> list[tuple[float, NDArray[np.float32]]]:
    """Start in seconds and samples `[samples]` at 16 kHz of every piece of the recording."""
    samples = waveform.samples
    if waveform.rate != RATE_HZ:
        samples = np.asarray(soxr.resample(samples, waveform.rate, RATE_HZ, quality="MQ"), dtype=np.float32)
    length, step = int(PIECE_SECONDS * RATE_HZ), int((PIECE_SECONDS - OVERLAP_SECONDS) * RATE_HZ)
    starts = range(0, max(1, len(samples) - int(OVERLAP_SECONDS * RATE_HZ)), step)
    return [(start / RATE_HZ, samples[start : start + length]) for start in starts]


def _bank() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For every band its lower FFT bin and how far it lies towards the next one."""
    hertz = LOW_HZ * 2 ** (np.arange(BANDS) / BANDS_PER_OCTAVE)
    place = hertz * PADDED / RATE_HZ
    low = place.astype(np.int64)
    return low, (place - low).astype(np.float32)


def spectrogram(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Level in dB `[frames, bands]`, nothing below 60 dB under the loudest place; silence is all 0."""
    padded = np.pad(samples, (WINDOW // 2, max(WINDOW // 2, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    window = np.hanning(WINDOW).astype(np.float32)
    low, part = _bank()
    level = np.empty((len(frames), BANDS), np.float32)
    for begin in range(0, len(frames), 512):  # bounded memory
        power = np.abs(np.fft.rfft(frames[begin : begin + 512] * window, PADDED, axis=1)).astype(np.float32) ** 2
        level[begin : begin + 512] = power[:, low] * (1 - part) + power[:, low + 1] * part
    top = float(level.max(initial=0.0))
    if top <= 1e-9:
        return np.zeros_like(level)
    return np.asarray(np.maximum(10 * np.log10(level / top + 1e-12) + RANGE_DB, 0), dtype=np.float32)


def landmarks(samples: NDArray[np.float32], density: Density = ASKED) -> Points:
    """Points of one piece `[samples]` at 16 kHz; none in silence."""
    level = spectrogram(samples)
    prominence = level - uniform_filter(level, (61, 25), mode="nearest")
    peak = (maximum_filter(level, (9, 7), mode="nearest") == level) & (level > 0) & (prominence > 3.0)
    time, band = np.nonzero(peak)
    inside = (band > 0) & (band < BANDS - 1)
    time, band = time[inside], band[inside]
    most = max(density.least_points, round(density.points_per_second * len(samples) / RATE_HZ))
    order = np.argsort(-prominence[time, band], kind="stable")[:most]
    rank = np.full(len(time), -1, np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    chosen = rank >= 0
    time, band, rank = time[chosen], band[chosen], rank[chosen]
    return Points(_between(level, time, band, 0), _between(level, time, band, 1), rank)


def _between(
    level: NDArray[np.float32], time: NDArray[np.int64], band: NDArray[np.int64], axis: int
) -> NDArray[np.float32]:
    """Where the top of a parabola through a peak and its two neighbours lies."""
    steps = (1, 0) if axis == 0 else (0, 1)
    last = level.shape[0] - 1
    before = level[np.maximum(time - steps[0], 0), band - steps[1]]
    after = level[np.minimum(time + steps[0], last), band + steps[1]]
    bend = before - 2 * level[time, band] + after
    move = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0.0)
    place = (time if axis == 0 else band) + np.clip(move, -0.5, 0.5)
    return np.asarray(place, dtype=np.float32)


def triangles(points: Points, partners: int) -> NDArray[np.int64]:
    """Indices `[triangles, 3]` of points in order of time: each point with pairs of its next `partners`."""
    total = len(points)
    if total < 3:
        return np.empty((0, 3), np.int64)
    later = np.arange(total)[:, None] + np.arange(1, _LOOKED_AHEAD + 1)
    known = later < total
    other = np.minimum(later, total - 1)
    gap = points.time[other] - points.time[:, None]
    apart = np.abs(points.band[other] - points.band[:, None])
    near = known & (gap >= MIN_GAP_FRAMES) & (gap <= MAX_GAP_FRAMES) & (apart <= MAX_BANDS_APART)
    rank = np.where(near, points.rank[other], _FAR)
    best = np.sort(np.argsort(rank, axis=1, kind="stable")[:, :partners], axis=1)
    good = np.take_along_axis(near, best, axis=1)
    chosen = np.take_along_axis(other, best, axis=1)
    left, right = np.triu_indices(best.shape[1], 1)
    both = (good[:, left] & good[:, right]).ravel()
    first = np.repeat(np.arange(total), len(left))
    corners = np.stack([first, chosen[:, left].ravel(), chosen[:, right].ravel()], axis=1)
    return np.asarray(corners[both], dtype=np.int64)


# A triangle's name is a number made of five figures, in these bases.
CELL_BANDS = 9.0
"""At least twice `MAX_SHIFT_BANDS`: what is looked for lies in one of two cells."""
_CELLS = int(BANDS // CELL_BANDS) + 1
_APART = 2 * MAX_BANDS_APART + 1
_MIDDLES = 6
_LENGTHS = 14
NAMES = _CELLS * _APART * _APART * _MIDDLES * _LENGTHS
_NEAR_BOUND = 0.25
"""How near to the next value a figure must be for both to be looked for."""


def _figures(points: Points, corners: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Of every triangle: band of its first point, both distances in bands, place of the middle, length; not rounded."""
    time, band = points.time.astype(np.float64)[corners], points.band.astype(np.float64)[corners]
    length = time[:, 2] - time[:, 0]
    middle = _MIDDLES * (time[:, 1] - time[:, 0]) / length
    return (
        band[:, 0] / CELL_BANDS,
        band[:, 1] - band[:, 0] + MAX_BANDS_APART,
        band[:, 2] - band[:, 0] + MAX_BANDS_APART,
        middle,
        2 * np.log2(length),
    )


def _packed(cell: Whole, second: Whole, third: Whole, middle: Whole, length: Whole) -> Whole:
    return (((cell * _APART + second) * _APART + third) * _MIDDLES + middle) * _LENGTHS + length


def names(points: Points, corners: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The name of every triangle `[triangles]`, as it is put into an index."""
    cell, second, third, middle, length = _figures(points, corners)
    whole = [np.floor(cell), np.rint(second), np.rint(third), np.floor(middle), np.rint(length)]
    bounds = (_CELLS, _APART, _APART, _MIDDLES, _LENGTHS)
    limited = (np.clip(v, 0, b - 1).astype(np.int64) for v, b in zip(whole, bounds, strict=True))
    return _packed(*limited).astype(np.uint32)


def names_to_ask(points: Points, corners: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Names `[n]` that a copy of each triangle may have, and the triangle `[n]` that each is of."""
    cell, second, third, middle, length = _figures(points, corners)
    reach = MAX_SHIFT_BANDS / CELL_BANDS
    choices = [
        (np.floor(cell - reach), np.floor(cell + reach)),
        (np.rint(second - _NEAR_BOUND), np.rint(second + _NEAR_BOUND)),
        (np.rint(third - _NEAR_BOUND), np.rint(third + _NEAR_BOUND)),
        (np.floor(middle - _NEAR_BOUND), np.floor(middle + _NEAR_BOUND)),
        (np.rint(length - _NEAR_BOUND), np.rint(length + _NEAR_BOUND)),
    ]
    bounds = (_CELLS, _APART, _APART, _MIDDLES, _LENGTHS)
    found, owner = [], []
    for which in range(2 ** len(choices)):
        sides = [which >> place & 1 for place in range(len(choices))]
        valid = np.ones(len(corners), bool)
        values = []
        for side, pair, bound in zip(sides, choices, bounds, strict=True):
            valid &= (pair[side] >= 0) & (pair[side] < bound)
            valid &= (pair[1] != pair[0]) if side else valid  # the second choice only where it is another
            values.append(pair[side].astype(np.int64))
        found.append(_packed(*values)[valid].astype(np.uint32))
        owner.append(np.flatnonzero(valid))
    return np.concatenate(found), np.concatenate(owner)
