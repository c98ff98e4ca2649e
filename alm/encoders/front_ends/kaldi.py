"""Kaldi's log mel filter bank: AST, SSAST, BEATs, EAT, AudioMAE, ASiT, Bird-MAE, SSAMBA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.spectra import Samples, hann, mel_filters, mel_power
from alm.errors import ConfigError

_FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class KaldiFrontEnd(FrontEnd):
    """25 ms windows every 10 ms, each freed of its mean and pre-emphasised; natural log of mel power, normalised.

    As in Kaldi, only whole windows count (`snip_edges`): up to 25 ms at the end are not heard. A clip shorter than
    one window is followed by silence up to it. No dither: equal clips give equal spectrograms.
    """

    name: ClassVar[str] = "kaldi"

    bins: int = 128
    sample_rate: int = 16_000
    max_seconds: float = 30.0
    window: str = "hanning"
    """`hanning` (AST and its descendants) or `povey` (Kaldi's default: BEATs)."""
    low_hz: float = 20.0
    subtract_mean: bool = True
    """Free the whole clip of its mean first."""
    gain: float = 1.0
    """Samples are multiplied by it: 32768 for models trained on 16-bit numbers."""
    mean: float = 0.0
    divisor: float = 1.0
    """Cells become `(log mel - mean) / divisor`; most authors divide by twice their standard deviation."""

    def __post_init__(self) -> None:
        if self.window not in ("hanning", "povey"):
            raise ConfigError(f"kaldi front end: window is {self.window!r}; it must be hanning or povey")
        if not self.divisor > 0:
            raise ConfigError(f"kaldi front end: divisor is {self.divisor!r}; it must be above 0")

    @property
    def hop_samples(self) -> int:
        return self.sample_rate // 100

    @property
    def window_samples(self) -> int:
        """Samples in one window."""
        return self.sample_rate // 40

    @property
    def padding_value(self) -> float:
        """A normalised cell where the authors pad with zeros before they normalise."""
        return (0.0 - self.mean) / self.divisor

    def num_frames(self, num_samples: int) -> int:
        return 1 + max(0, num_samples - self.window_samples) // self.hop_samples

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        signal = samples.astype(np.float64)
        if self.subtract_mean:
            signal = signal - signal.mean()
        signal = np.pad(signal * self.gain, (0, max(0, self.window_samples - signal.size)))
        fft_samples = 1 << (self.window_samples - 1).bit_length()
        filters = mel_filters(self.sample_rate, fft_samples, self.bins, self.low_hz, self.sample_rate / 2, "kaldi")
        shape = hann(self.window_samples, periodic=False)
        shape = shape**0.85 if self.window == "povey" else shape
        power = mel_power(signal, shape, self.hop_samples, fft_samples, filters, _emphasised)
        return ((np.log(np.maximum(power, _FLOOR)) - self.mean) / self.divisor).astype(np.float32)


def _emphasised(frames: Samples) -> Samples:
    """Frames `[frames, samples]` without their means, high frequencies raised."""
    level = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([level[:, :1], level[:, :-1]], axis=1)
    emphasised: Samples = level - 0.97 * before
    return emphasised
