"""Small synthetic recordings with a known content, for tests: every function is pure and seeded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alm.audio import Waveform

RATE_HZ = 16_000


def _times(seconds: float, rate: int) -> NDArray[np.float64]:
    return np.arange(max(1, round(seconds * rate))) / rate


def _waveform(samples: NDArray[np.float64], rate: int, source: str) -> Waveform:
    return Waveform(samples.astype(np.float32), rate, source)


def silence(seconds: float = 1.0, rate: int = RATE_HZ) -> Waveform:
    """Digital silence."""
    return _waveform(0 * _times(seconds, rate), rate, "silence")


def tone(
    seconds: float = 1.0, frequency_hz: float = 440.0, level: float = 0.5, rate: int = RATE_HZ, seed: int = 0
) -> Waveform:
    """A sine of peak `level`; the seed sets its phase."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    samples = level * np.sin(2 * np.pi * frequency_hz * _times(seconds, rate) + phase)
    return _waveform(samples, rate, f"tone-{frequency_hz:g}")


def click_train(
    seconds: float = 1.0,
    clicks_per_second: float = 4.0,
    level: float = 0.8,
    rate: int = RATE_HZ,
    seed: int = 0,
) -> Waveform:
    """Single-sample clicks at equal distances; the seed sets where the first one falls."""
    samples = 0 * _times(seconds, rate)
    first = int(np.random.default_rng(seed).integers(0, max(1, int(rate / clicks_per_second))))
    positions = np.arange(first, len(samples), rate / clicks_per_second).astype(int)
    samples[positions] = level
    return _waveform(samples, rate, "click-train")


def noise(seconds: float = 1.0, level: float = 0.1, rate: int = RATE_HZ, seed: int = 0) -> Waveform:
    """White noise of standard deviation `level`."""
    samples = level * np.random.default_rng(seed).standard_normal(len(_times(seconds, rate)))
    return _waveform(samples, rate, "noise")


def sweep(
    seconds: float = 1.0,
    start_hz: float = 100.0,
    end_hz: float = 4_000.0,
    level: float = 0.5,
    rate: int = RATE_HZ,
    seed: int = 0,
) -> Waveform:
    """A sine whose frequency moves linearly from `start_hz` to `end_hz`; the seed sets its phase."""
    times = _times(seconds, rate)
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    cycles = start_hz * times + (end_hz - start_hz) * times**2 / (2 * seconds)
    return _waveform(level * np.sin(2 * np.pi * cycles + phase), rate, "sweep")


def two_tone_scene(
    seconds: float = 2.0,
    first_hz: float = 440.0,
    second_hz: float = 1_760.0,
    noise_level: float = 0.01,
    rate: int = RATE_HZ,
    seed: int = 0,
) -> Waveform:
    """One tone in the first half and another in the second, over noise: a scene with an order in time."""
    times = _times(seconds, rate)
    frequency = np.where(times < seconds / 2, first_hz, second_hz)
    background = noise_level * np.random.default_rng(seed).standard_normal(len(times))
    return _waveform(0.4 * np.sin(2 * np.pi * frequency * times) + background, rate, "two-tone-scene")
