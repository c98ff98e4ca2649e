"""Mel spectrogram in decibels under a clip-relative floor: Dasheng and CED, 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.spectra import centred, decibels, hann, mel_filters, mel_power

_FFT_SAMPLES = 512


@dataclass(frozen=True)
class MelDbFrontEnd(FrontEnd):
    """Centred 32 ms periodic Hann windows every 10 ms, HTK mel bands without norm, floor 120 dB under the loudest cell.

    The floor depends on the whole clip; with 120 dB it matters for nothing but digital silence.
    """

    name: ClassVar[str] = "mel_db"
    sample_rate: ClassVar[int] = 16_000
    hop_samples: ClassVar[int] = 160

    bins: int = 64
    max_seconds: float = 30.0
    low_hz: float = 0.0
    high_hz: float = 8000.0
    range_db: float = 120.0

    def num_frames(self, num_samples: int) -> int:
        return 1 + num_samples // self.hop_samples

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        filters = mel_filters(self.sample_rate, _FFT_SAMPLES, self.bins, self.low_hz, self.high_hz, "htk")
        window, padded = hann(_FFT_SAMPLES, periodic=True), centred(samples, _FFT_SAMPLES)
        level = decibels(mel_power(padded, window, self.hop_samples, _FFT_SAMPLES, filters))
        floored: NDArray[np.float64] = np.maximum(level, level.max() - self.range_db)
        return floored.astype(np.float32)
