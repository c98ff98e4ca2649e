"""The unit of work: a pure function of files, options, seed and code, with a folder of its own for what it makes.

The folder's name holds a key over all of these; `done.json` is written last and holds a digest of what was made, which
goes into the keys of the units that take it. So a unit runs again only when something that it depends on has changed,
and what comes after it only if its results did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from data_prep.atomic import remove_leftovers, write_text
from data_prep.code_version import code_version
from data_prep.errors import CorpusError
from data_prep.places import Places

DONE = "done.json"
KEY_DIGITS = 16
SAMPLES = "samples.jsonl"
RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Task:
    """What the function of a unit is given."""

    unit: str
    """Name of the unit within its step."""
    options: Mapping[str, Any]
    """JSON-able, as the step checked them."""
    seed: int
    samples: tuple[Path, ...]
    """Files of samples that it takes, one JSON object a line; recordings are named as `places` does."""
    records: tuple[Path, ...]
    """Files of records that it takes."""
    folder: Path
    """To write into: `samples.jsonl`, `records.jsonl`, recordings. What an interrupted run left is still there."""
    places: Places


@dataclass(frozen=True)
class Done:
    """What a unit made."""

    place: str
    folder: Path
    digest: str
    report: Mapping[str, Any]

    @property
    def samples(self) -> tuple[Path, ...]:
        """Its file of samples, if it made one."""
        return tuple(path for path in (self.folder / SAMPLES,) if path.is_file())

    @property
    def records(self) -> tuple[Path, ...]:
        """Its file of records, if it made one."""
        return tuple(path for path in (self.folder / RECORDS,) if path.is_file())


@dataclass(frozen=True)
class Unit:
    """Work to be done once; picklable."""

    step: str
    name: str
    """Within its step."""
    function: str
    """`module:name` of a function of a `Task` that gives a JSON-able report."""
    code: tuple[str, ...]
    """Modules whose change makes it run again, with all that they import; the function's own counts anyway."""
    options: Mapping[str, Any]
    seed: int
    inputs: tuple[Done, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further facts for the key, such as a digest of a folder of downloads."""

    @property
    def key(self) -> str:
        """Over everything that the result depends on."""
        facts = {
            "step": self.step,
            "name": self.name,
            "function": self.function,
            "code": code_version(self.function.split(":")[0], *self.code),
            "options": self.options,
            "seed": self.seed,
            "inputs": [done.digest for done in self.inputs],
            "extra": self.extra,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]

    @property
    def place(self) -> str:
        """How names of its recordings begin. The key has no part in it: such names are part of what is made."""
        return f"{self.step}.{self.name}"

    def folder(self, work: Path) -> Path:
        """Where its results lie."""
        return work / self.step / f"{self.name}-{self.key}"


def read_done(unit: Unit, work: Path) -> Done | None:
    """What an earlier run made of the unit, if it finished."""
    folder = unit.folder(work)
    try:
        row = json.loads((folder / DONE).read_text(encoding="utf-8"))
        return Done(unit.place, folder, str(row["digest"]), dict(row["report"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_unit(unit: Unit, work: Path, places: Places) -> Done:
    """Do the work, unless it is done.

    Raises:
        AlmError: what the function raised.
    """
    if (done := read_done(unit, work)) is not None:
        return done
    folder = unit.folder(work)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    module, name = unit.function.split(":")
    samples = tuple(path for done in unit.inputs for path in done.samples)
    records = tuple(path for done in unit.inputs for path in done.records)
    others = {**places.others, unit.place: folder}
    task = Task(unit.name, unit.options, unit.seed, samples, records, folder, Places(places.root, others))
    report = getattr(import_module(module), name)(task)
    digest = digest_of(folder)
    # Not sorted: a build that finds the unit done reports in the same order as the one that made it.
    write_text(folder / DONE, json.dumps({"digest": digest, "report": report}, ensure_ascii=False))
    return Done(unit.place, folder, digest, json.loads(json.dumps(report)))


def digest_of(folder: Path) -> str:
    """Over names and bytes of all files of a folder but `done.json` and what hides behind a dot."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name == DONE or any(part.startswith(".") for part in name.split("/")):
            continue
        digest.update(f"{name} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def digest_of_files(folder: Path, patterns: tuple[str, ...]) -> str:
    """Over names and bytes of the files of a folder that match."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        digest.update(f"{path.relative_to(folder).as_posix()} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listing_of(folder: Path) -> str:
    """Over names, sizes and times of all files of a download, which is too large to be read for a key.

    Raises:
        CorpusError: there is no such folder or file.
    """
    if not folder.exists():
        raise CorpusError(f"{folder}: no such folder; download it first (`alm data sources` says how)")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path.relative_to(folder).as_posix()} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
