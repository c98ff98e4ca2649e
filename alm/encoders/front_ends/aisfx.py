"""aiSFX's log-mel, 44.1 kHz, as Essentia makes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd

_FRAME_SAMPLES = 2048
_TOP_HZ = 22_050.0
_LARGEST_LOG = 9.457798957824707
"""Largest log10(1 + 10000 power) over the authors' training sets: they divide every spectrogram by it."""


def _hz_to_mel(hz: float) -> float:
    return 1127.01048 * float(np.log1p(hz / 700.0))


@lru_cache(maxsize=4)
def _mel_filters(bins: int) -> NDArray[np.float64]:
    """HTK mel triangles `[fft bins, bins]` from 0 to 22050 Hz, straight on the mel axis, each summing to one."""
    edges = np.linspace(0.0, _hz_to_mel(_TOP_HZ), bins + 2)
    hz = np.linspace(0.0, AisfxFrontEnd.sample_rate / 2, _FRAME_SAMPLES // 2 + 1)
    mel = 1127.01048 * np.log1p(hz / 700.0)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles / triangles.sum(axis=0)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class AisfxFrontEnd(FrontEnd):
    """Log of mel power as Essentia's MelBands gives it: 46 ms Hann windows every 23 ms, no level normalisation.

    Digital silence is exactly zero, so padding with zeros is padding with silence.
    """

    name: ClassVar[str] = "aisfx"
    sample_rate: ClassVar[int] = 44_100
    max_seconds: ClassVar[float] = 60.0
    hop_samples: ClassVar[int] = 1024

    bins: int = 96

    def num_frames(self, num_samples: int) -> int:
        # The last frame is the first one whose centre lies at or beyond the end.
        return -(-num_samples // self.hop_samples) + 1

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = self.num_frames(samples.size)
        half = _FRAME_SAMPLES // 2  # frames are centred on multiples of the hop
        padded = np.zeros((frames - 1) * self.hop_samples + _FRAME_SAMPLES, np.float64)
        padded[half : half + samples.size] = samples
        windows = np.lib.stride_tricks.sliding_window_view(padded, _FRAME_SAMPLES)[:: self.hop_samples]
        spectrum = np.fft.rfft(windows * np.hanning(_FRAME_SAMPLES), axis=-1)
        power = spectrum.real**2 + spectrum.imag**2
        bands = power @ _mel_filters(self.bins)
        return (np.log10(1.0 + 10_000.0 * bands) / _LARGEST_LOG).astype(np.float32)
