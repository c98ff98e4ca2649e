"""Labelled recordings for the stage without the language model: clips of the corpus and composed scenes."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alm.errors import RecordError


@dataclass(frozen=True)
class Sound:
    """One recording and what is heard in it."""

    path: Path
    classes: tuple[str, ...]
    caption: str
    source: str
    split: str
    single: bool
    """One event of one class, not a composed scene."""


@dataclass(frozen=True)
class ClassInfo:
    """How people name a class."""

    name: str
    group: str
    phrase: str
    synonyms: tuple[str, ...]


def read_classes(path: Path) -> dict[str, ClassInfo]:
    """The class table.

    Raises:
        RecordError: unreadable, or columns are missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return {
            r["class"]: ClassInfo(r["class"], r["group"], r["phrase"], tuple(filter(None, r["synonyms"].split("|"))))
            for r in rows
        }
    except (OSError, KeyError, AttributeError) as error:
        raise RecordError(f"{path}: not a class table with class, group, phrase, synonyms ({error!r})") from error


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a readable list of recordings ({error})") from error


def read_clips(path: Path) -> list[Sound]:
    """Clips of an audio store's `clips.jsonl`; those without a class are left out."""
    sounds = []
    for where, row in _rows(path):
        try:
            if row["classes"]:
                file = path.parent / row["audio"]
                sounds.append(
                    Sound(file, tuple(row["classes"]), row["description"], row["package"], row["split"], True)
                )
        except (KeyError, TypeError) as error:
            raise RecordError(
                f"{where}: a clip needs audio, classes, description, package, split ({error!r})"
            ) from error
    return sounds


def read_scenes(path: Path) -> list[Sound]:
    """Composed scenes of a `scenes.jsonl`, with the classes of all their events; paths count from the store."""
    root = path.parent.parent if path.parent.name == "scenes" else path.parent
    sounds = []
    for where, row in _rows(path):
        try:
            events = sorted(row["events"], key=lambda e: e["onset"])
            classes = tuple(dict.fromkeys(c for e in events for c in e["classes"]))
            caption = ", then ".join(dict.fromkeys(e["phrase"] for e in events))
            source = "+".join(row["sources"]) or str(row["kind"])
            sounds.append(
                Sound(root / row["audio"], classes, caption or str(row["kind"]), source, row["split"], len(events) == 1)
            )
        except (KeyError, TypeError) as error:
            raise RecordError(f"{where}: a scene needs audio, events, sources, split ({error!r})") from error
    return sounds


def thinned(sounds: Sequence[Sound], most: int) -> list[Sound]:
    """At most so many recordings of each class; which ones depends on their names alone."""
    order = sorted(sounds, key=lambda s: hashlib.sha256(s.path.name.encode()).digest())
    counts: Counter[str] = Counter()
    kept = []
    for sound in order:
        if any(counts[c] < most for c in sound.classes):
            kept.append(sound)
            counts.update(sound.classes)
    return kept


def tag_labels(sounds: Iterable[Sound], least: int, without: Sequence[str] = ()) -> list[str]:
    """Classes with at least `least` single training recordings, sorted."""
    counts = Counter(c for s in sounds if s.split == "train" and s.single for c in s.classes)
    return sorted(c for c, n in counts.items() if n >= least and c not in without)


def multi_hot(sounds: Sequence[Sound], labels: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`[sounds, labels]`, 1 where a class is heard."""
    column = {c: i for i, c in enumerate(labels)}
    out = np.zeros((len(sounds), len(labels)), np.float32)
    for row, sound in enumerate(sounds):
        for name in sound.classes:
            if name in column:
                out[row, column[name]] = 1.0
    return out


@dataclass
class Sampler:
    """Draws training sounds: a class by the power of its size, a source of it, a recording of that.

    Recordings in which no class is heard (silence, noise) count as one class more.

    Every draw depends on (seed, step) alone, so that a resumed run sees the same data.
    """

    tree: dict[str, dict[str, list[int]]]
    """Class to source to indices."""
    power: float = 0.5

    @classmethod
    def of(cls, sounds: Sequence[Sound], labels: Sequence[str], use: Sequence[bool] | None = None) -> Sampler:
        """A sampler of the sounds that `use` marks (all by default)."""
        known = set(labels)
        tree: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, sound in enumerate(sounds):
            for name in (sound.classes or ("",)) if use is None or use[index] else ():
                if name in known or not name:
                    tree[name][sound.source].append(index)
        return cls({c: dict(tree[c]) for c in sorted(tree)})

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """Indices of `count` sounds."""
        names = list(self.tree)
        weights = np.array([self._weight(self.tree[c]) for c in names])
        chosen = rng.choice(len(names), size=count, p=weights / weights.sum())
        return [self._draw_of(self.tree[names[i]], rng) for i in chosen]

    def _weight(self, sources: Mapping[str, list[int]]) -> float:
        return float(min(sum(min(len(own), 8) for own in sources.values()), 200) ** self.power)

    @staticmethod
    def _draw_of(sources: Mapping[str, list[int]], rng: np.random.Generator) -> int:
        names = list(sources)
        weights = np.sqrt([len(sources[n]) for n in names])
        own = sources[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        return own[int(rng.integers(len(own)))]
