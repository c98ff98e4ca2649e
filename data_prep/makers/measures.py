"""What was measured of a recording, as it is kept among a sample's extras, and the words for it.

`data_prep.makers.measure` measures and writes these; makers only read them.
"""

from __future__ import annotations

import math

from data_prep.samples import Sample

MEASURED = "measured"
PITCH_BANDS_HZ = (145.0, 200.0)
"""Median pitch of a voice: below the first it is low, above the second high."""
LOUDNESS_BANDS_DB = (-36.0, -20.0)
"""Level of the audible part against full scale: below the first it is quiet, above the second loud."""
SPEED_BANDS_WPM = (120.0, 175.0)
"""Words a minute: below the first it is slow, above the second fast."""
GUARD = 0.04
"""Values within this part of a bound are asked for by nobody: two listeners would not agree."""
PITCH_WORDS = ("low", "medium", "high")
LOUDNESS_WORDS = ("quiet", "medium", "loud")
SPEED_WORDS = ("slow", "medium", "fast")


def measured(sample: Sample, name: str) -> float | None:
    """A measured value, or None."""
    values = sample.extras.get(MEASURED)
    value = values.get(name) if isinstance(values, dict) else None
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]


def pitch_of(sample: Sample) -> float | None:
    """Median pitch of the voice in Hz."""
    return measured(sample, "pitch_hz")


def loudness_of(sample: Sample) -> float | None:
    """Level of the audible part in dB against full scale."""
    return measured(sample, "level_db")


def speed_of(sample: Sample) -> float | None:
    """Words a minute of the audible part."""
    return measured(sample, "words_per_minute")


def band(value: float, bounds: tuple[float, float], words: tuple[str, str, str]) -> str:
    """The word for a value, or '' close to a bound."""
    if any(abs(value - bound) <= GUARD * abs(bound) for bound in bounds):
        return ""
    return words[sum(value > bound for bound in bounds)]
