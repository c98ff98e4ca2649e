"""What a kind of step is, and files of samples and records as steps hand them on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from alm.errors import ConfigError
from data_prep.atomic import writing
from data_prep.places import Places
from data_prep.recipes.units import RECORDS, SAMPLES, Done, Task, Unit
from data_prep.records import Record, read_records, to_row
from data_prep.samples import Sample, sample_from_json, to_json


@dataclass(frozen=True)
class Bound:
    """A step of a recipe with all that its units depend on."""

    name: str
    options: Any
    """Of the kind's own class."""
    values: Mapping[str, Any]
    """The same, JSON-able."""
    seed: int
    root: Path
    """Paths in options are relative to it."""
    samples: tuple[Done, ...]
    records: tuple[Done, ...]
    where: str
    """File and number of the step, for messages."""

    def unit(self, name: str, function: str, *, code: tuple[str, ...] = (), **more: Any) -> Unit:
        """A unit of this step."""
        return Unit(self.name, name, function, code, self.values, self.seed, **more)


@dataclass(frozen=True)
class Kind:
    """One kind of step."""

    name: str
    about: str
    options: type
    plan: Callable[[Bound], list[Unit]]
    gives: str
    """`samples` or `records`, which join those of earlier steps; `checked`, which stand in their place; `shards`."""


def inside_root(name: str, where: str) -> str:
    """A path of a recipe, which must be relative so that the recipe and what it makes are the same everywhere.

    Raises:
        ConfigError: it is absolute or leads upwards.
    """
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or name.startswith("@"):
        raise ConfigError(f"{where}: path {name!r} must be relative to --root and stay below it")
    return pure.as_posix()


def read_samples(task: Task) -> Iterator[Sample]:
    """All samples that a unit takes, with absolute paths of recordings. Raises: RecordError, CorpusError."""
    for path in task.samples:
        with path.open(encoding="utf-8") as stream:
            for line in stream:  # written by `write_samples`
                sample = sample_from_json(json.loads(line))
                yield dataclasses.replace(sample, audio=str(task.places.path(sample.audio)))


def write_samples(samples: Iterable[Sample], task: Task) -> int:
    """Hand samples on; gives their number."""
    count = 0
    with writing(task.folder / SAMPLES) as stream:
        for sample in samples:
            row = to_json(dataclasses.replace(sample, audio=task.places.name(sample.audio)))
            stream.write(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n")
            count += 1
    return count


def read_rows(task: Task) -> Iterator[Record]:
    """All records that a unit takes, with recordings named as steps name them. Raises: RecordError."""
    for path in task.records:
        yield from read_records(path, absolute=False)


def write_rows(records: Iterable[Record], task: Task) -> int:
    """Hand records on as a stream; gives their number."""
    count = 0
    with writing(task.folder / RECORDS) as stream:
        for record in records:
            named = dataclasses.replace(record, audios=tuple(map(task.places.name, record.audios)))
            stream.write(json.dumps(to_row(named), ensure_ascii=False, sort_keys=True).encode() + b"\n")
            count += 1
    return count


def relative(records: Iterable[Record], folder: str) -> Iterator[Record]:
    """Records whose recordings are named relative to `folder`, named relative to the root instead."""
    for record in records:
        names = tuple((PurePosixPath(folder) / name).as_posix() for name in record.audios)
        yield dataclasses.replace(record, audios=names)


def all_places(root: Path, done: Iterable[Done]) -> Places:
    """The root and the folders of all units so far."""
    return Places(root, {one.place: one.folder for one in done})
