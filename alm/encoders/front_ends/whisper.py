"""Whisper's log-mel, 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alm.encoders.base import FrontEnd
from alm.encoders.front_ends.spectra import hann, mel_filters

_FFT_SAMPLES = 400


@dataclass(frozen=True)
class WhisperFrontEnd(FrontEnd):
    """Whisper's log-mel: 25 ms Hann windows every 10 ms, floor 8 decades under the clip's loudest cell.

    A clip is followed by silence, as in Whisper's own 30 s input, so the frames equal the first frames of that input;
    a started hop counts as a frame.
    """

    name: ClassVar[str] = "whisper"
    sample_rate: ClassVar[int] = 16_000
    max_seconds: ClassVar[float] = 30.0
    hop_samples: ClassVar[int] = 160

    bins: int = 80
    """80, or 128 for large-v3 and turbo."""

    def num_frames(self, num_samples: int) -> int:
        return max(1, -(-num_samples // self.hop_samples))

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        frames, whole = self.num_frames(samples.size), int(self.max_seconds * self.sample_rate)
        # Two windows of silence: no frame that is kept, or that the floor depends on, sees the mirrored end.
        extended = np.zeros(min(whole, frames * self.hop_samples + 2 * _FFT_SAMPLES), np.float64)
        extended[: samples.size] = samples
        log_mel = self._log_mel(extended)
        log_mel = np.maximum(log_mel, log_mel.max() - 8.0)
        scaled: NDArray[np.float32] = ((log_mel[:frames] + 4.0) / 4.0).astype(np.float32)
        return scaled

    def _log_mel(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """log10 of mel power `[frames, bins]` of a signal that is mirrored at both ends."""
        padded = np.pad(samples, _FFT_SAMPLES // 2, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[:: self.hop_samples]
        spectrum = np.fft.rfft(windows[: samples.size // self.hop_samples] * hann(_FFT_SAMPLES, True), axis=-1)
        power = spectrum.real**2 + spectrum.imag**2
        filters = mel_filters(self.sample_rate, _FFT_SAMPLES, self.bins, 0.0, 8000.0, "slaney")
        return np.log10(np.maximum(power @ filters, 1e-10))
