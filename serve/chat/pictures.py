"""Pictures of a recording for the page: a mel spectrogram as PNG and the outline of its waveform.

They are made for the eye: every sample is looked at, whatever the length, and memory stays bounded. The model
hears through its own front ends, not through these.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from alm.long_audio import Sound

COLUMNS = 640
BANDS = 96
_WINDOW_SAMPLES = 2048
_LOWEST_HZ = 40.0
_RANGE_DB = 75.0
_BLOCK_FRAMES = 2048
_TICKS_HZ = (125, 500, 1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True)
class Spectrogram:
    """A picture and the scale beside it."""

    png: bytes
    """`BANDS` rows, high frequencies on top; time runs from left to right over the whole recording."""
    ticks: tuple[tuple[float, int], ...]
    """Height (0 bottom, 1 top) and frequency in Hz of the marks on the axis."""


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """O'Shaughnessy's mel scale."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz, dtype=np.float64) / 700.0))


def hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `mel`."""
    return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))


def spectrogram(recording: Sound) -> Spectrogram:
    """Mel spectrogram from 40 Hz to half the sample rate (at most 16 kHz), loudest 75 dB."""
    from matplotlib import colormaps, image

    top = min(16_000.0, recording.rate / 2)
    levels = mel_levels(recording, top)
    scaled = np.clip(1.0 + (levels - max(float(levels.max()), -60.0)) / _RANGE_DB, 0.0, 1.0)
    colours = colormaps["magma"](scaled[::-1], bytes=True)[..., :3]
    target = io.BytesIO()
    image.imsave(target, np.ascontiguousarray(colours), format="png")
    return Spectrogram(target.getvalue(), _ticks(top))


def mel_levels(recording: Sound, top_hz: float) -> NDArray[np.float64]:
    """Level in dB of each band and column: `[BANDS, columns]`, at most `COLUMNS` columns, low bands first."""
    count, rate = round(recording.seconds * recording.rate), recording.rate
    window = min(_WINDOW_SAMPLES, max(256, 2 ** int(np.log2(max(2, count / 8)))))
    hop = max(1, min(window // 2, count // COLUMNS))
    frames = 1 + max(0, count - 1) // hop
    columns = min(COLUMNS, frames)
    bank = mel_bank(window, rate, top_hz)
    taper = np.hanning(window).astype(np.float32)
    power = np.zeros((columns, BANDS))
    blocks = [np.arange(first, min(first + _BLOCK_FRAMES, frames)) for first in range(0, frames, _BLOCK_FRAMES)]
    edges = [(int(index[0]) * hop - window // 2, int(index[-1]) * hop + window) for index in blocks]
    parts = recording.segments([(max(0, first) / rate, min(last, count) / rate) for first, last in edges])
    for index, (first, last), part in zip(blocks, edges, parts, strict=True):
        padded = np.pad(part.samples, (max(0, -first), max(0, last - count)))
        spectrum = np.abs(np.fft.rfft(_frames(padded, index * hop, window) * taper, axis=1)) ** 2
        # The loudest frame of a column counts, so that a click stays visible in an hour.
        np.maximum.at(power, index * columns // frames, spectrum @ bank)
    return np.asarray(10.0 * np.log10(power.T + 1e-10))


def mel_bank(window: int, rate: int, top_hz: float) -> NDArray[np.float64]:
    """Triangles with unit sum over the bins of a window: `[window // 2 + 1, BANDS]`."""
    bins = np.fft.rfftfreq(window, 1.0 / rate)
    edges = hertz(np.linspace(mel(min(_LOWEST_HZ, top_hz / 4)), mel(top_hz), BANDS + 2))
    # A band narrower than a bin would be empty: it is widened to the neighbouring bins.
    half = np.maximum(np.diff(edges), bins[1])
    rising = 1.0 - (edges[1:-1] - bins[:, None]) / half[:-1]
    falling = 1.0 - (bins[:, None] - edges[1:-1]) / half[1:]
    bank = np.clip(np.minimum(rising, falling), 0.0, None)
    return np.asarray(bank / np.maximum(bank.sum(axis=0), 1e-9))


def outline(recording: Sound, points: int = 320) -> list[tuple[float, float]]:
    """Lowest and highest sample of each of at most `points` equal stretches, relative to the loudest."""
    count, rate = round(recording.seconds * recording.rate), recording.rate
    edges = np.linspace(0, count, min(points, count) + 1).astype(int)
    parts = recording.segments([(a / rate, b / rate) for a, b in pairwise(edges)])
    peak = max(1e-4, recording.peak)
    return [(float(p.samples.min()) / peak, float(p.samples.max()) / peak) for p in parts]


def _frames(samples: NDArray[np.float32], starts: NDArray[np.int64], window: int) -> NDArray[np.float32]:
    """`[frames, window]` of samples that begin half a window before the first start."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(samples, window)[starts - starts[0]])


def _ticks(top_hz: float) -> tuple[tuple[float, int], ...]:
    low = float(mel(min(_LOWEST_HZ, top_hz / 4)))
    span = float(mel(top_hz)) - low
    return tuple(((float(mel(tick)) - low) / span, tick) for tick in _TICKS_HZ if tick <= top_hz)
