"""Measures what makers ask for and no source tells: pitch, level and speed of speech, and how a sound sounds.

Pitch is measured by Praat (`praat-parselmouth`, an optional package under the GPL); the rest is arithmetic on the
samples. What was measured is kept in a file, so that a second run measures only what is new or has changed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from data_prep import signal
from data_prep.errors import CorpusError
from data_prep.makers.measures import MEASURED, band
from data_prep.samples import Sample

Samples = NDArray[np.float32]

MAX_SECONDS = 60.0
"""So much of a recording is looked at."""
MIN_VOICED_SECONDS = 0.25
PITCH_RANGE_HZ = (60.0, 500.0)
MIN_WORDS = 3
MIN_SPEECH_SECONDS = 1.0
UNSPACED = ("zh", "yue", "ja", "th", "lo", "km", "my", "bo")
"""Languages that are written without spaces between words."""
LENGTH_BANDS_SECONDS = (0.5, 3.0)
BRIGHTNESS_BANDS_HZ = (900.0, 3000.0)
"""Centre of gravity of the spectrum."""
TEXTURE_BANDS = (0.05, 0.3)
"""Spectral flatness: 0 is a tone, 1 white noise."""
STEADINESS_BANDS_DB = (3.0, 9.0)
"""Spread of the level over the audible part."""
FRAME = 2048
SAVE_EVERY = 200


@dataclass
class MeasureReport:
    """How many samples were measured, found in the file of an earlier run, or could not be read."""

    measured: int = 0
    kept: int = 0
    lost: Counter[str] = field(default_factory=Counter)


def measure(
    samples: Iterable[Sample], cache: Path | None = None, report: MeasureReport | None = None
) -> Iterator[Sample]:
    """The samples with `measured` and `acoustics` among their extras, and with their length.

    Samples that cannot be read come as they are.

    Raises:
        CorpusError: speech is to be measured and `praat-parselmouth` is not installed, or the cache is no such file.
    """
    report = report if report is not None else MeasureReport()
    known = read_cache(cache) if cache is not None and cache.is_file() else {}
    waiting: list[str] = []
    try:
        for sample in samples:
            key = _cache_key(sample)
            found = known.get(key)
            if found is not None:
                report.kept += 1
            elif key:
                found = _measured_or_lost(sample, report)
                waiting += [json.dumps([key, found]) + "\n"] if found is not None else []
            else:
                report.lost["missing file"] += 1
            if len(waiting) >= SAVE_EVERY:
                _save(cache, waiting)
            yield sample if found is None else _with(sample, found)
    finally:
        _save(cache, waiting)


def _save(cache: Path | None, waiting: list[str]) -> None:
    """Add lines to the cache; a line that a killed run wrote half is passed over by the next."""
    if cache is not None and waiting:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.open("a", encoding="utf-8") as stream:
            stream.write("".join(waiting))
    waiting.clear()


def read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """What earlier runs measured, by file and stretch; half-written lines are passed over.

    Raises:
        CorpusError: it is not such a file at all.
    """
    found: dict[str, dict[str, Any]] = {}
    lines = 0
    with path.open("rb") as stream:
        for line in stream:
            lines += 1
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict):
                    found[row[0]] = row[1]
    if lines and not found:
        raise CorpusError(f"{path}: holds no measurements of `alm data measure`; name another file")
    return found


def _cache_key(sample: Sample) -> str:
    """Name, size and time of the file, the stretch, and the words; '' when the file is not there."""
    try:
        about = Path(sample.audio).stat()
    except (OSError, ValueError):
        return ""
    words = len(re.findall(r"\w+", sample.transcript))
    spoken = is_speech(sample)
    return json.dumps([sample.audio, about.st_size, about.st_mtime_ns, sample.start, sample.seconds, words, spoken])


def _measured_or_lost(sample: Sample, report: MeasureReport) -> dict[str, Any] | None:
    try:
        samples, rate, seconds = read_stretch(sample)
    except (OSError, RuntimeError, ValueError, soundfile.SoundFileError) as fault:
        report.lost[type(fault).__name__] += 1
        return None
    report.measured += 1
    facts = measurements(sample, samples, rate)
    return {"seconds": round(seconds, 3), MEASURED: facts, "acoustics": acoustics(samples, rate)}


def _with(sample: Sample, found: dict[str, Any]) -> Sample:
    extras = {**sample.extras, MEASURED: found[MEASURED]}
    extras |= {"acoustics": found["acoustics"]} if found["acoustics"] else {}
    seconds = sample.seconds if sample.seconds is not None else found["seconds"]
    return dataclasses.replace(sample, extras=extras, seconds=seconds)


def read_stretch(sample: Sample) -> tuple[Samples, int, float]:
    """Mono samples `[samples]` of at most `MAX_SECONDS`, their rate in Hz, and the length of all of it in seconds."""
    with soundfile.SoundFile(sample.audio) as stream:
        rate = int(stream.samplerate)
        start = round((sample.start or 0.0) * rate)
        left = max(0, stream.frames - start)
        wanted = left if sample.seconds is None else min(left, round(sample.seconds * rate))
        stream.seek(min(start, stream.frames))
        frames = stream.read(min(wanted, round(MAX_SECONDS * rate)), dtype="float32", always_2d=True)
    if not len(frames) or not np.isfinite(frames).all():
        raise ValueError("no samples, or values that are no numbers")
    return np.asarray(frames.mean(axis=1), dtype=np.float32), rate, wanted / rate


def is_speech(sample: Sample) -> bool:
    """Whether the source says that somebody speaks."""
    return bool(sample.transcript or sample.voice.speaker or sample.voice.sex)


def measurements(sample: Sample, samples: Samples, rate: int) -> dict[str, float]:
    """Level of the audible part in dB, and of speech its median pitch in Hz and its words a minute."""
    start, end = signal.active_span(samples, rate)
    if end <= start:
        return {}
    found = {"level_db": round(20 * math.log10(max(signal.active_rms(samples, rate), 1e-6)), 2)}
    if is_speech(sample):
        hertz = median_pitch(samples[start:end], rate)
        found |= {"pitch_hz": round(hertz, 1)} if hertz is not None else {}
        speed = words_per_minute(sample, (end - start) / rate)
        found |= {"words_per_minute": round(speed, 1)} if speed is not None else {}
    return found


def words_per_minute(sample: Sample, seconds: float) -> float | None:
    """Speed of speech, of languages written with spaces; None for a few words or a moment."""
    words = len(re.findall(r"[^\W\d_][\w'-]*", sample.transcript))
    spaced = sample.language.split("-")[0].lower() not in UNSPACED
    figures = bool(re.search(r"\d", sample.transcript))  # one figure may be many words
    whole = sample.seconds is None or sample.seconds <= MAX_SECONDS
    if words < MIN_WORDS or seconds < MIN_SPEECH_SECONDS or not spaced or figures or not whole:
        return None
    return 60.0 * words / seconds


def median_pitch(samples: Samples, rate: int) -> float | None:
    """Median pitch of the voiced parts in Hz, or None when there is too little voice.

    Raises:
        CorpusError: `praat-parselmouth` is not installed.
    """
    try:
        import parselmouth
    except ImportError as fault:
        rule = "`pip install praat-parselmouth` (GPL), or measure no speech"
        raise CorpusError(f"pitch is measured by Praat, which is not installed: {rule}") from fault
    if len(samples) < 0.1 * rate:
        return None
    low, high = PITCH_RANGE_HZ
    sound = parselmouth.Sound(samples.astype(np.float64), sampling_frequency=rate)
    pitch = sound.to_pitch_ac(pitch_floor=low, pitch_ceiling=high)
    voiced = pitch.selected_array["frequency"]
    voiced = voiced[voiced > 0]
    return float(np.median(voiced)) if len(voiced) * pitch.get_time_step() >= MIN_VOICED_SECONDS else None


def acoustics(samples: Samples, rate: int) -> list[str]:
    """Words for length, colour, texture and steadiness; what lies near a bound has no word.

    `short` under half a second and `long` over three; `dull` with the spectrum's centre below 900 Hz and `bright`
    above 3 kHz; `tonal` and `noisy` by spectral flatness; `steady` and `uneven` by the spread of the level.
    """
    start, end = signal.active_span(samples, rate)
    active = samples[start:end]
    if len(active) < 256:
        return []
    centre, flatness = _spectrum(active, rate)
    levels = signal.frame_levels(active, rate).astype(np.float64)
    spread = float(np.std(20 * np.log10(np.maximum(levels, 1e-5))))
    words = (
        band(len(active) / rate, LENGTH_BANDS_SECONDS, ("short", "-", "long")),
        band(centre, BRIGHTNESS_BANDS_HZ, ("dull", "-", "bright")),
        band(flatness, TEXTURE_BANDS, ("tonal", "-", "noisy")),
        band(spread, STEADINESS_BANDS_DB, ("steady", "-", "uneven")) if len(levels) >= 10 else "",
    )
    return [word for word in words if word not in ("", "-")]


def _spectrum(samples: Samples, rate: int) -> tuple[float, float]:
    """Centre of gravity in Hz and flatness of the mean power spectrum between 50 Hz and 8 kHz."""
    size = min(FRAME, len(samples))
    count = len(samples) // size
    frames = samples[: count * size].reshape(count, size) * np.hanning(size)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).mean(axis=0) + 1e-14
    hertz = np.fft.rfftfreq(size, 1 / rate)
    inside = (hertz >= 50) & (hertz <= min(8000.0, rate / 2))
    power, hertz = power[inside], hertz[inside]
    flatness = float(np.exp(np.log(power).mean()) / power.mean())
    return float((power * hertz).sum() / power.sum()), flatness
