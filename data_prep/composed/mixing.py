"""From placed sounds to a FLAC file, in blocks: memory does not grow with the length of a scene."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from data_prep import signal, store
from data_prep.atomic import TEMPORARY
from data_prep.composed.clips import Loop
from data_prep.scenes import rng_for
from data_prep.signal import Samples

BLOCK_SECONDS = 10.0
PEAK = 0.95
NOISE_CREST = 5.5
"""Peak of Gaussian noise over its RMS, to be on the safe side of."""


@dataclass(frozen=True)
class Placed:
    """Samples `[samples, channels]` from `start` on, counted in samples; what lies before 0 is not heard."""

    start: int
    samples: Samples


@dataclass
class Mix:
    """All that is heard in a scene of `count` samples."""

    rate: int
    count: int
    channels: int
    placed: list[Placed] = field(default_factory=list)
    bed: Loop | None = None
    """Under all of it, on the channels `bed_channels`."""
    bed_gain: float = 0.0
    bed_channels: int = 1
    noise_level: float = 0.0
    """RMS, with 1 as full scale; on every channel its own."""
    noise_slope: float = 0.0
    noise_key: tuple[object, ...] = ()

    def peak_bound(self) -> float:
        """No sample is beyond it: at every moment the peaks of all that is sounding are added."""
        moves: list[tuple[int, float]] = []
        for one in self.placed:
            top = float(np.abs(one.samples).max(initial=0.0))
            moves += [(one.start, top), (one.start + len(one.samples), -top)]
        most = now = 0.0
        for _, change in sorted(moves):  # at one moment ends, being negative, come first
            now += change
            most = max(most, now)
        bed = 2 * self.bed_gain * float(np.abs(self.bed.piece).max(initial=0.0)) if self.bed is not None else 0.0
        return most + bed + NOISE_CREST * self.noise_level

    def gain(self) -> float:
        """What keeps the scene below full scale; never above 1."""
        bound = self.peak_bound()
        return min(1.0, PEAK / bound) if bound > 0 else 1.0

    def blocks(self) -> Iterator[Samples]:
        """`[samples, channels]`, one block after the other, with the gain."""
        gain, size = self.gain(), round(BLOCK_SECONDS * self.rate)
        for first in range(0, self.count, size):
            yield signal.as_float(gain * self._block(first, min(size, self.count - first)))

    def _block(self, first: int, count: int) -> NDArray[np.float32]:
        total = np.zeros((count, self.channels), dtype=np.float32)
        for one in self.placed:
            low, high = max(first, one.start, 0), min(first + count, one.start + len(one.samples))
            if low < high:
                total[low - first : high - first] += one.samples[low - one.start : high - one.start]
        if self.bed is not None:
            total[:, : self.bed_channels] += self.bed_gain * self.bed.block(first, count)[:, None]
        if self.noise_level > 0:
            for channel in range(self.channels):
                rng = rng_for(*self.noise_key, first, channel)
                noise = signal.coloured_noise(count, self.rate, self.noise_slope, rng)
                total[:, channel] += np.clip(noise, -NOISE_CREST, NOISE_CREST) * self.noise_level
        return total


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; it becomes `path` at the end, and is gone after a fault."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{TEMPORARY}{hashlib.sha256(path.name.encode()).hexdigest()[:12]}-{path.name}")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_flac(path: Path, blocks: Iterator[Samples], rate: int, channels: int) -> None:
    """A 16-bit FLAC file of blocks `[samples, channels]`; whole or absent."""
    with (
        whole_or_absent(path) as beside,
        soundfile.SoundFile(beside, "w", rate, channels, subtype="PCM_16", format="FLAC") as file,
    ):
        for block in blocks:
            file.write(store.to_pcm(block))
