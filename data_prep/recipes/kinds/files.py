"""`use: records`: rows that are there already, in files of this project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from alm.errors import ConfigError
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, relative, write_rows
from data_prep.recipes.units import Task, Unit, digest_of_files
from data_prep.records import Record, read_records


@dataclass(frozen=True)
class RecordsOptions:
    """Which files."""

    files: tuple[str, ...]
    """Recordings in them are relative to their folders."""

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("records: files must name at least one")


def _plan(step: Bound) -> list[Unit]:
    for name in step.options.files:
        if not (step.root / inside_root(name, step.where)).is_file():
            raise ConfigError(f"{step.where}: {step.root / name}: no such file")
    digest = digest_of_files(step.root, tuple(step.options.files))
    return [step.unit("files", f"{__name__}:run", extra={"files": digest})]


def run(task: Task) -> dict[str, Any]:
    """All rows, checked."""
    return {"records": write_rows(_rows(task), task)}


def _rows(task: Task) -> Iterator[Record]:
    for name in task.options["files"]:
        found = read_records(task.places.root / name, absolute=False)
        yield from relative(found, PurePosixPath(name).parent.as_posix())


RECORDS_FILE = Kind("records", "rows that are there already", RecordsOptions, _plan, "records")
