"""Pre-emphasised log-mel of PaSST and EfficientAT, 32 kHz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.spectra import centred, hann, mel_filters, mel_power

_FFT_SAMPLES = 1024
_WINDOW_SAMPLES = 800


@dataclass(frozen=True)
class PasstFrontEnd(FrontEnd):
    """25 ms symmetric Hann windows, usually every 10 ms, on the pre-emphasised signal; Kaldi's mel bands up to 15 kHz.

    Frame i is centred on sample i * hop. The pre-emphasis takes the clip's first sample away.
    """

    name: ClassVar[str] = "passt"
    sample_rate: ClassVar[int] = 32_000

    bins: int = 128
    max_seconds: float = 30.0
    low_hz: float = 0.0
    high_hz: float = 15_000.0
    hop_samples: int = 320
    """320, or 100 and 160 for the models that PaSST's authors trained on finer steps."""

    def num_frames(self, num_samples: int) -> int:
        return 1 + max(0, num_samples - 1) // self.hop_samples

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        signal = samples if samples.size > 1 else np.zeros(2, np.float32)
        signal = (signal[1:] - np.float32(0.97) * signal[:-1]).astype(np.float32)
        window = np.zeros(_FFT_SAMPLES)
        edge = (_FFT_SAMPLES - _WINDOW_SAMPLES) // 2
        window[edge : edge + _WINDOW_SAMPLES] = hann(_WINDOW_SAMPLES, periodic=False)
        filters = mel_filters(self.sample_rate, _FFT_SAMPLES, self.bins, self.low_hz, self.high_hz, "kaldi")
        power = mel_power(centred(signal, _FFT_SAMPLES), window, self.hop_samples, _FFT_SAMPLES, filters)
        return ((np.log(power + 1e-5) + 4.5) / 5.0).astype(np.float32)
