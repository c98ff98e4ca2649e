"""What the front ends share: windows cut out of a signal, their power spectrum, mel triangles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank

Samples = NDArray[np.float64]
_FRAMES_AT_ONCE = 4096
"""Spectra of long recordings are made in groups, so that only the mel bands grow with length."""


@lru_cache(maxsize=32)
def mel_filters(
    sample_rate: int, fft_samples: int, bins: int, low_hz: float, high_hz: float, scale: str
) -> NDArray[np.float64]:
    """Mel triangles `[fft bins, bins]`.

    `scale` is `slaney` (with its area norm: librosa, torchlibrosa), `htk` (torchaudio, without norm) or `kaldi`
    (triangles straight on the mel axis).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bands narrower than an FFT bin are empty in the originals, too
        filters: NDArray[np.float64] = mel_filter_bank(
            num_frequency_bins=fft_samples // 2 + 1,
            num_mel_filters=bins,
            min_frequency=low_hz,
            max_frequency=high_hz,
            sampling_rate=sample_rate,
            norm="slaney" if scale == "slaney" else None,
            mel_scale=scale,
            triangularize_in_mel_space=scale == "kaldi",
        )
    return filters


def hann(samples: int, periodic: bool) -> NDArray[np.float64]:
    """A Hann window; the periodic one is the symmetric one that is a sample longer, less its last."""
    return np.hanning(samples + 1)[:-1] if periodic else np.hanning(samples)


def mel_power(
    samples: Samples,
    window: NDArray[np.float64],
    hop_samples: int,
    fft_samples: int,
    filters: NDArray[np.float64],
    prepare: Callable[[Samples], Samples] = lambda frames: frames,
) -> NDArray[np.float64]:
    """Mel power `[frames, bins]` of every whole window in the signal; `prepare` sees frames before the window does."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, window.size)[::hop_samples]
    bands = np.empty((len(frames), filters.shape[1]))
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        group = prepare(frames[first : first + _FRAMES_AT_ONCE]) * window
        spectrum = np.fft.rfft(group, n=fft_samples, axis=-1)
        bands[first : first + len(group)] = (spectrum.real**2 + spectrum.imag**2) @ filters
    return bands


def centred(samples: NDArray[np.float32], fft_samples: int) -> Samples:
    """The signal mirrored at both ends, so that frame i is centred on sample i * hop."""
    return np.pad(samples.astype(np.float64), fft_samples // 2, mode="reflect")


def decibels(power: NDArray[np.float64], floor: float = 1e-10) -> NDArray[np.float64]:
    """10 log10, not below `floor`."""
    return 10.0 * np.log10(np.maximum(power, floor))
