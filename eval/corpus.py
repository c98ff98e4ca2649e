"""The corpus as evaluation reads it: an audio store (`clips.jsonl`, `scenes/SPLIT.jsonl`) and the class list."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alm.errors import RecordError

CLASSES_FILE = Path(__file__).resolve().parent.parent / "data_prep" / "manifest" / "classes.csv"
"""The class list is data that ships beside the rooms; a store may hold its own `classes.csv`."""


@dataclass(frozen=True)
class Clip:
    """One recording of the store."""

    id: str
    path: Path
    package: str
    classes: tuple[str, ...]
    split: str
    kind: str
    seconds: float
    language: str
    transcript: str
    licence: str = ""
    sha: str = ""
    """Short hash of the recording as its package has it."""
    sex: str = ""
    speaker: str = ""
    description: str = ""
    flag: str = ""
    """What is wrong with it, such as `clipped`; empty for most."""


@dataclass(frozen=True)
class Event:
    """One sound of a composed scene."""

    classes: tuple[str, ...]
    phrase: str
    onset: float
    offset: float
    background: bool
    clip: str = ""
    """The recording it was made of."""


@dataclass(frozen=True)
class Scene:
    """A composed recording whose events are known."""

    id: str
    path: Path
    kind: str
    seconds: float
    events: tuple[Event, ...]
    source: str
    """Packages it was made of."""


@dataclass(frozen=True)
class SoundClass:
    """A class of sounds: `phrase` completes "I hear ..."."""

    name: str
    group: str
    phrase: str
    synonyms: tuple[str, ...]
    near: tuple[str, ...]


class Classes:
    """The class list with its relations."""

    def __init__(self, classes: dict[str, SoundClass]) -> None:
        self.by_name = classes
        related: dict[str, set[str]] = {name: {name} for name in classes}
        for item in classes.values():
            for entry in item.near:
                for other in self._members(entry):
                    related[item.name].add(other)
                    related[other].add(item.name)
        self._related = related

    def _members(self, entry: str) -> list[str]:
        if not entry.startswith("*"):
            return [entry] if entry in self.by_name else []
        return [c.name for c in self.by_name.values() if c.group == entry[1:]]

    def excluded(self, present: tuple[str, ...]) -> set[str]:
        """Classes that must not serve as a wrong answer when `present` are heard: themselves and near ones."""
        return set().union(*(self._related.get(name, {name}) for name in present))

    def group(self, name: str) -> str:
        return self.by_name[name].group


def read_classes(path: Path) -> Classes:
    """The class list of a CSV file.

    Raises:
        RecordError: the file is missing or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        classes = {
            r["class"]: SoundClass(r["class"], r["group"], r["phrase"], _parts(r["synonyms"]), _parts(r["near"]))
            for r in rows
        }
    except (OSError, KeyError, AttributeError) as error:
        raise RecordError(
            f"{path}: not a readable list of classes ({error!r}); it comes with the project's data_prep"
        ) from error
    return Classes(classes)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("|") if part)


@dataclass(frozen=True)
class Corpus:
    """An audio store."""

    folder: Path
    judged: str = "test"
    """The split whose recordings are asked about."""

    @cached_property
    def clips(self) -> list[Clip]:
        """All recordings, sorted by id."""
        rows = _rows(self.folder / "clips.jsonl", "python -m data_prep fetch")
        return sorted((_clip(r, self.folder) for r in rows), key=lambda c: c.id)

    @cached_property
    def by_id(self) -> dict[str, Clip]:
        return {c.id: c for c in self.clips}

    @cached_property
    def classes(self) -> Classes:
        own = self.folder / "classes.csv"
        return read_classes(own if own.is_file() else CLASSES_FILE)

    def scenes(self, split: str) -> list[Scene]:
        """Composed scenes of a split, sorted by id."""
        rows = _rows(self.folder / "scenes" / f"{split}.jsonl", "python -m data_prep scenes")
        return sorted((_scene(r, self.folder) for r in rows), key=lambda s: s.id)

    def of(self, split: str) -> list[Clip]:
        """Recordings of one split."""
        return [c for c in self.clips if c.split == split]

    def counts(self, split: str) -> Counter[str]:
        """Recordings of each class in a split."""
        return Counter(name for c in self.of(split) for name in c.classes if name in self.classes.by_name)

    def testable(self, train_least: int = 2, test_least: int = 1) -> list[str]:
        """Classes with enough training and judged recordings, in the order of the class list."""
        train, test = self.counts("train"), self.counts(self.judged)
        return [n for n in self.classes.by_name if train[n] >= train_least and test[n] >= test_least]

    @cached_property
    def digest(self) -> str:
        """Short hash of what is in the store: ids, splits and classes."""
        facts = [[c.id, c.split, *c.classes] for c in self.clips]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _rows(path: Path, remedy: str) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise RecordError(f"{path}: no such file; `{remedy}` writes it")
    with path.open(encoding="utf-8") as stream:
        for line, text in enumerate(stream, start=1):
            try:
                yield json.loads(text)
            except ValueError as error:
                raise RecordError(f"{path}:{line}: not JSON ({error}); write it again with `{remedy}`") from error


def _clip(row: dict[str, Any], folder: Path) -> Clip:
    try:
        return Clip(
            row["id"], folder / row["audio"], row["package"], tuple(row["classes"]), row["split"], row["kind"],
            float(row["stored_seconds"]), row["language"], row["transcript"],
            **{k: str(row.get(k, "")) for k in ("licence", "sha", "sex", "speaker", "description", "flag")},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{folder}: a row of clips.jsonl is not a clip ({error!r}); fetch the corpus again"
        ) from error


def _scene(row: dict[str, Any], folder: Path) -> Scene:
    try:
        events = tuple(
            Event(
                tuple(e["classes"]), e["phrase"], float(e["onset"]), float(e["offset"]), bool(e["background"]),
                str(e.get("clip", "")),
            )
            for e in row["events"]
        )  # fmt: skip
        return Scene(
            row["id"], folder / row["audio"], row["kind"], float(row["seconds"]), events, "+".join(row["sources"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{folder}: a row of the scenes is not a scene ({error!r}); compose them again") from error
