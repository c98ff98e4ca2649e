"""Small signal operations for augmentation and composition; all on mono float32 `[samples]`, all pure."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

Samples = NDArray[np.float32]
FRAME_SECONDS = 0.02
ACTIVE_BELOW_PEAK_DB = 40.0
FLOOR_DB = -60.0


def as_float(samples: NDArray[np.floating]) -> Samples:
    """The same values as float32."""
    return np.asarray(samples, dtype=np.float32)


def fast_length(count: int) -> int:
    """A transform length of at least `count` with small prime factors; prime lengths cost many times as much."""
    return -(-count // 4096) * 4096


def frame_levels(samples: Samples, rate: int) -> Samples:
    """RMS of frames of 20 ms, `[frames]`; the last partial frame counts."""
    size = max(1, round(FRAME_SECONDS * rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % size))
    return as_float(np.sqrt((padded.reshape(-1, size) ** 2).mean(axis=1)))


def active_span(samples: Samples, rate: int) -> tuple[int, int]:
    """First and last+1 sample that is within 40 dB of the loudest frame and above -60 dB; (0, 0) for silence."""
    levels = frame_levels(samples, rate)
    threshold = max(10 ** (FLOOR_DB / 20), float(levels.max(initial=0.0)) * 10 ** (-ACTIVE_BELOW_PEAK_DB / 20))
    loud = np.flatnonzero(levels > threshold)
    if not len(loud):
        return 0, 0
    size = max(1, round(FRAME_SECONDS * rate))
    return int(loud[0]) * size, min(len(samples), (int(loud[-1]) + 1) * size)


def active_rms(samples: Samples, rate: int) -> float:
    """RMS over the frames in which something is heard."""
    levels = frame_levels(samples, rate).astype(np.float64)
    loud = levels[levels > max(1e-6, levels.max(initial=0.0) * 10 ** (-ACTIVE_BELOW_PEAK_DB / 20))]
    return float(np.sqrt((loud**2).mean())) if len(loud) else 0.0


def to_level(samples: Samples, rate: int, level_db: float) -> Samples:
    """Scale so that the active RMS is `level_db` below full scale; silence stays silence."""
    rms = active_rms(samples, rate)
    return samples if rms <= 0 else as_float(samples * (10 ** (level_db / 20) / rms))


def limit_peak(samples: Samples, peak: float = 0.95) -> Samples:
    """Scale down, never up, so that no value is beyond `peak`."""
    top = float(np.abs(samples).max(initial=0.0))
    return samples if top <= peak else as_float(samples * (peak / top))


def fade_ends(samples: Samples, rate: int, seconds: float = 0.01) -> Samples:
    """Raised-cosine fades at both ends, so that a cut does not click."""
    size = min(round(seconds * rate), len(samples) // 2)
    if size == 0:
        return samples
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(size) / size)
    shaped = samples.copy()
    shaped[:size] *= ramp
    shaped[-size:] *= ramp[::-1]
    return as_float(shaped)


def change_speed(samples: Samples, rate: int, factor: float) -> Samples:
    """Play `factor` times as fast: shorter and higher for factors above 1."""
    return as_float(soxr.resample(samples, rate * factor, rate, quality="HQ"))


def tilt(samples: Samples, rate: int, db_per_octave: float) -> Samples:
    """Brighten (positive) or darken (negative) around 1 kHz, at most 12 dB anywhere."""
    size = fast_length(len(samples))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / rate), 20.0)
    gain_db = np.clip(db_per_octave * np.log2(frequencies / 1000.0), -12.0, 12.0)
    return as_float(np.fft.irfft(np.fft.rfft(samples, size) * 10 ** (gain_db / 20), size)[: len(samples)])


def band_limit(samples: Samples, rate: int, cutoff_hz: float) -> Samples:
    """Remove everything above `cutoff_hz`, as a low-rate recording would."""
    low_rate = 2 * cutoff_hz
    if low_rate >= rate:
        return samples
    there = soxr.resample(samples, rate, low_rate, quality="HQ")
    back = as_float(soxr.resample(there, low_rate, rate, quality="HQ"))
    return as_float(np.pad(back, (0, max(0, len(samples) - len(back))))[: len(samples)])


def reverberate(samples: Samples, rate: int, decay_seconds: float, wet: float, rng: Generator) -> Samples:
    """Convolve with a synthetic room: exponentially decaying noise of the given RT60; the length stays."""
    size = max(2, round(decay_seconds * rate))
    times = np.arange(size) / rate
    room = rng.standard_normal(size) * 10 ** (-3.0 * times / decay_seconds)
    room /= np.sqrt((room**2).sum())
    length = fast_length(len(samples) + size)
    convolved = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(room, length), length)[: len(samples)]
    return as_float((1 - wet) * samples + wet * convolved)


def coloured_noise(count: int, rate: int, slope_db_per_octave: float, rng: Generator) -> Samples:
    """Noise of unit RMS, `[count]`: slope 0 is white, -3 pink, -6 brown."""
    size = fast_length(count)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / rate), 20.0)
    noise = np.fft.irfft(spectrum * (frequencies / 1000.0) ** (slope_db_per_octave / 6.0206), size)[:count]
    return as_float(noise / max(1e-9, float(np.sqrt((noise**2).mean()))))


def fill(samples: Samples, rate: int, count: int, overlap_seconds: float = 0.15) -> Samples:
    """Exactly `count` samples: cut, or repeated with cross-fades."""
    overlap = min(round(overlap_seconds * rate), len(samples) // 3)
    step = len(samples) - overlap
    if len(samples) >= count or step <= 0:
        return as_float(np.pad(samples[:count], (0, max(0, count - len(samples)))))
    faded = fade_ends(samples, rate, overlap / rate)
    total = np.zeros(count + len(samples), dtype=np.float32)
    for start in range(0, count, step):
        total[start : start + len(samples)] += faded
    return total[:count]
