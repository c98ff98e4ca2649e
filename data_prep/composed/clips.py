"""The sound of a cut: its audible part, mono, at the rate of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.random import Generator

from alm.audio import load_audio
from alm.errors import AudioError
from data_prep import signal
from data_prep.composed.pool import Cut
from data_prep.errors import CorpusError
from data_prep.signal import Samples

MOST_READ_SECONDS = 60.0
"""Of a longer recording one stretch is read."""
GAP_SECONDS = 0.3
"""Silence that ends an event; shorter pauses belong to it."""
SPEECH_GAP_SECONDS = 1.0
BELOW_LOUDEST_DB = 35.0
FADE_SECONDS = 0.005
STEADY_SHARE, STEADY_DB, STEADY_LEAST_SECONDS = 0.9, 15.0, 2.0


@dataclass(frozen=True)
class Sound:
    """An audible stretch of a cut; `samples` `[samples]`."""

    cut: Cut
    samples: Samples
    start: float
    """Seconds from the start of the file."""
    whole: bool
    """Whether all that is audible of the cut is in it."""


def read_cut(cut: Cut, rate: int, rng: Generator) -> tuple[Samples, float]:
    """Mono samples at `rate` and where they begin in the file, in seconds; of a long cut some stretch.

    Raises:
        CorpusError: the recording cannot be read, or the cut lies behind its end.
    """
    path = Path(cut.sample.audio)
    try:
        with soundfile.SoundFile(path) as file:
            own, frames = file.samplerate, file.frames
            first = min(round(cut.start * own), frames)
            count = frames - first if cut.seconds is None else min(round(cut.seconds * own), frames - first)
            most = round(MOST_READ_SECONDS * own)
            if count > most:
                first, count = first + int(rng.integers(count - most)), most
            file.seek(first)
            samples = file.read(count, dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError):
        samples, own, first = _other_container(cut)
    if not len(samples) or not np.isfinite(samples).all():
        raise CorpusError(f"{path}: has no sound from second {cut.start:g} on; check what its list says about it")
    mono = signal.as_float(samples)
    return (mono if own == rate else signal.as_float(soxr.resample(mono, own, rate, quality="HQ"))), first / own


def _other_container(cut: Cut) -> tuple[Samples, int, int]:
    """What libsndfile cannot open (m4a, webm, ...)."""
    try:
        recording = load_audio(cut.sample.audio)
    except AudioError as fault:
        raise CorpusError(f"{cut.sample.audio}: cannot be read ({fault}); leave it out or convert it") from fault
    first = round(cut.start * recording.rate)
    count = round(min(cut.seconds or MOST_READ_SECONDS, MOST_READ_SECONDS) * recording.rate)
    return recording.samples[first : first + count], recording.rate, first


def runs(samples: Samples, rate: int, gap_seconds: float = GAP_SECONDS) -> list[tuple[int, int]]:
    """Audible stretches, first and last+1 sample; pauses shorter than the gap belong to a stretch."""
    levels = signal.frame_levels(samples, rate)
    loudest = float(levels.max(initial=0.0))
    least = max(10 ** (signal.FLOOR_DB / 20), loudest * 10 ** (-BELOW_LOUDEST_DB / 20))
    size = max(1, round(signal.FRAME_SECONDS * rate))
    found: list[tuple[int, int]] = []
    for frame in np.flatnonzero(levels > least).tolist():
        begin, end = frame * size, min(len(samples), (frame + 1) * size)
        if found and begin - found[-1][1] < gap_seconds * rate:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def sound(cut: Cut, rate: int, rng: Generator, least_seconds: float, most_seconds: float) -> Sound | None:
    """The first stretch of sound that is long enough, cut where it is too long; None where there is none."""
    samples, start = read_cut(cut, rate, rng)
    gap = SPEECH_GAP_SECONDS if cut.text else GAP_SECONDS
    found = runs(samples, rate, gap)
    for begin, end in found:
        if end - begin < least_seconds * rate:
            continue
        last = min(end, begin + int(most_seconds * rate))
        piece = signal.fade_ends(samples[begin:last], rate, FADE_SECONDS)
        whole = len(found) == 1 and last == end
        return Sound(cut, piece, start + begin / rate, whole)
    return None


def is_single(samples: Samples, rate: int) -> bool:
    """Whether a sound is one short event whose repetitions can be counted: one attack, then only softer."""
    levels = signal.frame_levels(samples, rate)
    peak = int(levels.argmax())
    after = levels[peak:]
    floor = np.minimum.accumulate(after)
    rises = after > np.maximum(floor * 4.0, levels[peak] * 0.1)
    before = levels[:peak]
    return not rises.any() and not (before[: max(0, peak - 8)] > levels[peak] * 0.3).any()


def is_steady(samples: Samples, rate: int) -> bool:
    """Whether a sound goes on evenly, so that it can lie under others."""
    levels = signal.frame_levels(samples, rate)
    level = signal.active_rms(samples, rate)
    even = levels > level * 10 ** (-STEADY_DB / 20)
    return len(samples) >= STEADY_LEAST_SECONDS * rate and float(even.mean()) >= STEADY_SHARE


class Loop:
    """A sound that goes on for as long as one likes, its copies cross-faded; read in blocks."""

    def __init__(self, samples: Samples, rate: int, overlap_seconds: float = 0.15) -> None:
        overlap = max(1, min(round(overlap_seconds * rate), len(samples) // 3))
        self.piece = signal.fade_ends(samples, rate, overlap / rate)
        self.step = max(1, len(samples) - overlap)

    def block(self, first: int, count: int) -> Samples:
        """Samples `first` to `first + count`, `[count]`."""
        total = np.zeros(count, dtype=np.float32)
        size = len(self.piece)
        for turn in range(max(0, (first - size) // self.step), (first + count) // self.step + 1):
            begin = turn * self.step - first
            low, high = max(0, begin), min(count, begin + size)
            if low < high:
                total[low:high] += self.piece[low - begin : high - begin]
        return total
