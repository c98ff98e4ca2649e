"""Pictures of a recording for the page: a mel spectrogram as PNG and the outline of its waveform.

They are made for the eye: every sample is looked at, whatever the length, and memory stays bounded. The model
hears through its own front ends, not through these.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alm.audio import Waveform

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


def spectrogram(waveform: Waveform) -> Spectrogram:
    """Mel spectrogram from 40 Hz to half the sample rate (at most 16 kHz), loudest 75 dB."""
    from matplotlib import colormaps, image

    top = min(16_000.0, waveform.rate / 2)
    levels = mel_levels(waveform.samples, waveform.rate, top)
    scaled = np.clip(1.0 + (levels - max(float(levels.max()), -60.0)) / _RANGE_DB, 0.0, 1.0)
    colours = colormaps["magma"](scaled[::-1], bytes=True)[..., :3]
    target = io.BytesIO()
    image.imsave(target, np.ascontiguousarray(colours), format="png")
    return Spectrogram(target.getvalue(), _ticks(top))


def mel_levels(samples: NDArray[np.float32], rate: int, top_hz: float) -> NDArray[np.float64]:
    """Level in dB of each band and column: `[BANDS, columns]`, at most `COLUMNS` columns, low bands first."""
    window = min(_WINDOW_SAMPLES, max(256, 2 ** int(np.log2(max(2, len(samples) / 8)))))
    hop = max(1, min(window // 2, len(samples) // COLUMNS))
    frames = 1 + max(0, len(samples) - 1) // hop
    columns = min(COLUMNS, frames)
    bank = mel_bank(window, rate, top_hz)
    taper = np.hanning(window).astype(np.float32)
    power = np.zeros((columns, BANDS))
    for first in range(0, frames, _BLOCK_FRAMES):
        index = np.arange(first, min(first + _BLOCK_FRAMES, frames))
        spectrum = np.abs(np.fft.rfft(_frames(samples, index * hop, window) * taper, axis=1)) ** 2
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


def outline(waveform: Waveform, points: int = 320) -> list[tuple[float, float]]:
    """Lowest and highest sample of each of at most `points` equal stretches, relative to the loudest."""
    samples = waveform.samples
    edges = np.linspace(0, len(samples), min(points, len(samples)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    peak = max(1e-4, float(np.max(np.abs(samples))))
    return [(float(a) / peak, float(b) / peak) for a, b in zip(low, high, strict=True)]


def _frames(samples: NDArray[np.float32], starts: NDArray[np.int64], window: int) -> NDArray[np.float32]:
    """`[frames, window]`, each centred on its start; beyond the ends there is silence."""
    first, last = int(starts[0]) - window // 2, int(starts[-1]) + window
    part = samples[max(0, first) : last]
    padded = np.pad(part, (max(0, -first), max(0, last - first - max(0, -first) - len(part))))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, window)[starts - starts[0]])


def _ticks(top_hz: float) -> tuple[tuple[float, int], ...]:
    low = float(mel(min(_LOWEST_HZ, top_hz / 4)))
    span = float(mel(top_hz)) - low
    return tuple(((float(mel(tick)) - low) / span, tick) for tick in _TICKS_HZ if tick <= top_hz)
