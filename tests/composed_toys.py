"""Samples whose clips are tones: each label has its own frequency, so that a scene can be taken apart again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from data_prep.composed import ScenePlan
from data_prep.samples import Sample

RATE = 16_000
TONES = {"frog": 500.0, "piano": 900.0, "door": 1300.0, "siren": 1900.0, "cow": 2500.0, "pump": 3100.0}
STEADY = "pump"
"""The only label whose clips are long and even."""
SPLITS = ("train", "dev", "test")
PLAIN = ScenePlan(
    scenes={"train": 6}, kinds={"sequence": 1}, seconds=(5.0, 9.0), events=(2, 4), event_seconds=(0.2, 1.5),
    background_chance=0.0, noise_chance=0.0, room_chance=0.0, codec_chance=0.0, rate_hz=RATE,
)  # fmt: skip
"""Nothing but sounds."""


def tone(frequency: float, seconds: float, decay: float = 2.0) -> NDArray[np.float32]:
    """A sine that begins at once; without decay it ends at once, too."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * frequency * times) * np.exp(-decay * times)).astype(np.float32)


def toy_samples(folder: Path, takes: int = 2) -> list[Sample]:
    """Two clips of every label in every split, with silence at both ends."""
    made = []
    for split in SPLITS:
        for label, frequency in TONES.items():
            for take in range(takes):
                seconds = 4.0 if label == STEADY else 1.0 + 0.2 * take
                clip = tone(frequency, seconds, 0.0 if label == STEADY else 2.0)
                path = folder / split / f"{label}-{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.pad(clip, (800, 1600)), RATE)
                name = f"{label}-{split}-{take}"
                made.append(Sample(name, str(path), f"toys-{split}", split, "CC0-1.0", name, labels=(label,)))
    return made


def toy_plan(**changes: object) -> ScenePlan:
    """The plain plan with changes."""
    return replace(PLAIN, **changes)  # type: ignore[arg-type]


def level_of(samples: NDArray[np.float32], label: str, rate: int = RATE, frame: float = 0.01) -> NDArray[np.float64]:
    """Level of a label's tone in frames, `[frames]`, 1 as full scale."""
    size = round(frame * rate)
    times = np.arange(len(samples)) / rate
    mixed = samples * np.exp(-2j * np.pi * TONES[label] * times)
    frames = mixed[: len(mixed) // size * size].reshape(-1, size)
    return np.asarray(2 * np.abs(frames.mean(axis=1)))


def heard_from_to(samples: NDArray[np.float32], label: str, frame: float = 0.01) -> Iterator[tuple[float, float]]:
    """Stretches in seconds in which a label's tone is heard, with the precision of a frame."""
    loud = level_of(samples, label, frame=frame)
    above = np.concatenate([[False], loud > max(0.003, float(loud.max()) * 0.03), [False]])
    edges = np.flatnonzero(np.diff(above.astype(int)))
    for begin, end in edges.reshape(-1, 2):
        if end - begin > 2:  # less is where another sound begins or ends within a frame
            yield float(begin * frame), float(end * frame)


def read(sample: Sample) -> NDArray[np.float32]:
    """The recording, `[samples]` of its first channel."""
    samples, _ = soundfile.read(sample.audio, dtype="float32", always_2d=True)
    return np.asarray(samples[:, 0])


def files_of(folder: Path) -> Mapping[str, bytes]:
    """Everything in a folder, by its path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
