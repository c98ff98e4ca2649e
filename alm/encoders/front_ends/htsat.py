"""Log-mel in decibels of PANNs, HTSAT and the CLAP family, at their various rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.spectra import centred, decibels, hann, mel_filters, mel_power
from alm.errors import ConfigError


@dataclass(frozen=True)
class HtsatFrontEnd(FrontEnd):
    """Centred periodic Hann windows, mel power in dB over a floor of -100 dB; no level normalisation.

    The defaults are LAION-CLAP's. A started hop is no frame: frame i is centred on sample i * hop.
    """

    name: ClassVar[str] = "htsat"

    bins: int = 64
    sample_rate: int = 48_000
    max_seconds: float = 10.0
    window_samples: int = 1024
    hop_samples: int = 480
    low_hz: float = 50.0
    high_hz: float = 14_000.0
    mel_scale: str = "slaney"
    """`slaney` with its area norm (torchlibrosa, librosa), or `htk` without (torchaudio: LAION's fusion models)."""
    sixteen_bits: bool = False
    """Round the samples to 16 bits first, as LAION-CLAP does."""

    def __post_init__(self) -> None:
        if self.mel_scale not in ("slaney", "htk"):
            raise ConfigError(f"htsat front end: mel_scale is {self.mel_scale!r}; it must be slaney or htk")
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise ConfigError(
                f"htsat front end: {self.low_hz:g} to {self.high_hz:g} Hz does not fit {self.sample_rate} samples "
                "a second"
            )

    def num_frames(self, num_samples: int) -> int:
        return 1 + num_samples // self.hop_samples

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = np.trunc(np.clip(samples, -1.0, 1.0) * 32_767.0) / 32_767.0 if self.sixteen_bits else samples
        filters = mel_filters(
            self.sample_rate, self.window_samples, self.bins, self.low_hz, self.high_hz, self.mel_scale
        )
        window, padded = hann(self.window_samples, periodic=True), centred(heard, self.window_samples)
        power = mel_power(padded, window, self.hop_samples, self.window_samples, filters)
        return decibels(power).astype(np.float32)
