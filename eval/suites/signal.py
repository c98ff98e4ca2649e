"""Small signal operations for composing and spoiling recordings; all on mono float32 `[samples]`, all pure."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

Samples = NDArray[np.float32]
FRAME_SECONDS = 0.02
HEARD_BELOW_LOUDEST_DB = 40.0
FLOOR_DB = -60.0
FADE_SECONDS = 0.005


def as_float(samples: NDArray[np.floating]) -> Samples:
    """The same values as float32."""
    return np.asarray(samples, dtype=np.float32)


def levels(samples: Samples, rate: int) -> NDArray[np.float64]:
    """RMS of frames of 20 ms, `[frames]`; the last one may be short."""
    size = max(1, round(FRAME_SECONDS * rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % size))
    return np.asarray(np.sqrt((padded.reshape(-1, size) ** 2).mean(axis=1)))


def heard_part(samples: Samples, rate: int) -> Samples:
    """Without what is inaudible at both ends; empty for silence."""
    found = levels(samples, rate)
    least = max(10 ** (FLOOR_DB / 20), float(found.max(initial=0.0)) * 10 ** (-HEARD_BELOW_LOUDEST_DB / 20))
    loud = np.flatnonzero(found > least)
    if not len(loud):
        return samples[:0]
    size = max(1, round(FRAME_SECONDS * rate))
    return samples[int(loud[0]) * size : (int(loud[-1]) + 1) * size]


def heard_rms(samples: Samples, rate: int) -> float:
    """RMS over the frames in which something is heard; 0 for silence."""
    found = levels(samples, rate)
    loud = found[found > max(1e-6, float(found.max(initial=0.0)) * 10 ** (-HEARD_BELOW_LOUDEST_DB / 20))]
    return float(np.sqrt((loud**2).mean())) if len(loud) else 0.0


def level_db(samples: Samples, rate: int) -> float:
    """Level of what is heard in dB of full scale; `FLOOR_DB` at least."""
    rms = heard_rms(samples, rate)
    return max(FLOOR_DB, 20 * float(np.log10(rms))) if rms > 0 else FLOOR_DB


def to_level(samples: Samples, rate: int, wanted_db: float) -> Samples:
    """Scaled so that what is heard has this level; silence stays silence."""
    rms = heard_rms(samples, rate)
    return samples if rms <= 0 else as_float(samples * (10 ** (wanted_db / 20) / rms))


def under_peak(samples: Samples, peak: float = 0.97) -> tuple[Samples, float]:
    """Scaled down, never up, so that no value is beyond `peak`; with the factor."""
    top = float(np.abs(samples).max(initial=0.0))
    factor = 1.0 if top <= peak else peak / top
    return as_float(samples * factor), factor


def faded(samples: Samples, rate: int, seconds: float = FADE_SECONDS) -> Samples:
    """Raised-cosine fades at both ends, so that a cut does not click."""
    size = min(round(seconds * rate), len(samples) // 2)
    if size == 0:
        return samples
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(size) / size)
    shaped = samples.copy()
    shaped[:size] *= ramp
    shaped[-size:] *= ramp[::-1]
    return as_float(shaped)


def resampled(samples: Samples, rate: float, wanted: float, count: int | None = None) -> Samples:
    """At another rate; cut or filled with zeros to `count` samples where that is given."""
    if rate != wanted:
        samples = as_float(soxr.resample(samples, rate, wanted, quality="HQ"))
    return samples if count is None else as_float(np.pad(samples, (0, max(0, count - len(samples))))[:count])


def filled(samples: Samples, rate: int, count: int, overlap_seconds: float = 0.2) -> Samples:
    """Exactly `count` samples: cut, or repeated with cross-fades."""
    if len(samples) >= count:
        return samples[:count]
    overlap = min(round(overlap_seconds * rate), len(samples) // 3)
    step = max(1, len(samples) - overlap)
    piece = faded(samples, rate, overlap / rate)
    total = np.zeros(count + len(samples), dtype=np.float32)
    for start in range(0, count, step):
        total[start : start + len(samples)] += piece
    return total[:count]


def noise_like(count: int, rate: int, slope_db_per_octave: float, rng: Generator) -> Samples:
    """Noise of unit RMS, `[count]`: slope 0 is white, -3 pink."""
    size = -(-count // 4096) * 4096  # transforms of prime length cost many times as much
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / rate), 20.0)
    noise = np.fft.irfft(spectrum * (frequencies / 1000.0) ** (slope_db_per_octave / 6.0206), size)[:count]
    return as_float(noise / max(1e-9, float(np.sqrt((noise**2).mean()))))
