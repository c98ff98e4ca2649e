"""A tiny corpus made by the tests: a few classes in three splits, as clips of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep import store
from data_prep.corpus import Clip, StoredClip, clip_id, write_index
from data_prep.ontology import Ontology, load_ontology

RATE = 16_000
CLASSES = (
    "dog bark", "cat meow", "rain", "wind", "piano", "trumpet", "footsteps", "siren", "explosion", "music", "bell",
    "glass break",
)  # fmt: skip
STEADY = ("rain", "wind", "siren", "music")


def tone(frequency: float, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    """A fading sine `[samples]`."""
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * times) * np.exp(-times)).astype(np.float32)


def make_clip(package: str, path: str, classes: tuple[str, ...], split: str, **more: str) -> Clip:
    """A clip with everything that does not matter filled in."""
    facts = {"origin": "debian", "version": "1", "licence": "CC0-1.0", "kind": "sfx", "description": ""} | more
    return Clip(
        id=clip_id(package, path),
        package=package,
        path=path,
        labels=classes,
        classes=classes,
        seconds=1.0,
        rate=RATE,
        split=split,
        **facts,
    )


def toy_store(folder: Path, per_class: int = 2) -> list[StoredClip]:
    """A store with every class in every split, plus speech with text, language and sex."""
    stored = []
    for number, split in enumerate(("train", "dev", "test")):
        for place, name in enumerate(CLASSES):
            seconds = 3.0 if name in STEADY else 0.6
            for take in range(per_class):
                clip = make_clip(f"pack-{split}", f"{name}-{take}.wav", (name,), split, description=f"a toy {name}")
                samples = tone(200 + 90 * place + 7 * take + number, seconds)
                stored.append(store.put(folder, clip, samples, RATE))
        for code, sex, text in (
            ("en", "female", "Please press one."),
            ("fr", "male", "Bonjour."),
            ("en", "male", "Two."),
        ):
            more = {"kind": "speech", "language": code, "sex": sex, "transcript": text}
            clip = make_clip(f"voices-{split}", f"{code}-{sex}.wav", ("speech",), split, **more)
            stored.append(store.put(folder, clip, tone(150 + number, 1.2), RATE))
    write_index(stored, folder / "clips.jsonl")
    return stored


def ontology() -> Ontology:
    """The shipped classes."""
    return load_ontology()
