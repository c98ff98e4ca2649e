"""Which parts of a long recording become clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEP_SECONDS = 0.5


@dataclass(frozen=True)
class CutConfig:
    """Limits of clips, in seconds and decibels."""

    whole_seconds: float = 12.0
    """A recording up to this length stays whole."""
    piece_seconds: float = 8.0
    max_pieces: int = 6
    seconds_per_piece: float = 12.0
    """A recording gives one piece for so many of its seconds, up to `max_pieces`."""
    min_seconds: float = 0.06
    min_level_db: float = -62.0
    """Quieter recordings and pieces are left out (root mean square against full scale)."""
    below_loudest_db: float = 25.0
    """A piece so much quieter than the loudest piece of its recording is left out."""


@dataclass(frozen=True)
class Piece:
    """A part of a recording, in seconds from its start; `whole` when it is all of it."""

    start: float
    end: float
    whole: bool = False


def level_db(samples: NDArray[np.float32]) -> float:
    """Root mean square of `samples` `[samples]` in dB against full scale; -200 for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * float(np.log10(max(power, 1e-20)))


def _loudest_window(power: NDArray[np.float64], first: int, last: int, length: int) -> int:
    """Start of the window of `length` steps with the most energy among starts `first`..`last`."""
    sums = np.convolve(power, np.ones(length), "valid")
    window = sums[first : max(first, min(last, len(sums) - 1)) + 1]
    return first + int(np.argmax(window)) if len(window) else min(first, len(sums) - 1)


def pieces(samples: NDArray[np.float32], rate: int, config: CutConfig | None = None) -> list[Piece]:
    """Pieces of `samples` `[samples]`: all of a short one, else the loudest window of each of some equal zones.

    Pieces of one recording never overlap, so that no sound is counted twice.
    """
    config = config or CutConfig()
    seconds = len(samples) / rate
    if seconds < config.min_seconds or level_db(samples) < config.min_level_db:
        return []
    if seconds <= config.whole_seconds:
        return [Piece(0.0, seconds, whole=True)]
    step = int(rate * STEP_SECONDS)
    steps = len(samples) // step
    power = np.square(samples[: steps * step], dtype=np.float64).reshape(steps, step).mean(axis=1)
    count = max(1, min(config.max_pieces, int(seconds // config.seconds_per_piece)))
    length = int(config.piece_seconds / STEP_SECONDS)
    zone = steps / count
    starts = [_loudest_window(power, int(i * zone), int((i + 1) * zone) - length, length) for i in range(count)]
    levels = [level_db(samples[start * step : (start + length) * step]) for start in starts]
    floor = max(config.min_level_db, max(levels) - config.below_loudest_db)
    return [
        Piece(start * STEP_SECONDS, (start + length) * STEP_SECONDS)
        for start, level in zip(starts, levels, strict=True)
        if level >= floor
    ]


def cut(samples: NDArray[np.float32], rate: int, start: float, end: float) -> NDArray[np.float32]:
    """The samples between two times in seconds."""
    return samples[round(start * rate) : round(end * rate)]
