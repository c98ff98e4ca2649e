"""`use: records`: rows that are there already, in files of this project or of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alm.errors import ConfigError, RecordError
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, write_rows
from data_prep.recipes.units import Task, Unit, digest_of_files
from data_prep.records import SPLITS, Record

BAD = ("refuse", "leave_out")
SHOWN_BAD = 20


@dataclass(frozen=True)
class RecordsOptions:
    """Which files, and how to read them."""

    files: tuple[str, ...]
    """Recordings in them are relative to their folders, or to `audio_root`."""
    format: str = "alm"
    """As `alm data convert` knows them."""
    audio_root: str = ""
    path_map: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of paths in the files, and what they are replaced by."""
    split: str = "train"
    """Of rows that tell none; so are the next two."""
    source: str = "unknown"
    licence: str = "unknown"
    new_ids: bool = False
    bad: str = "refuse"
    """What to do about a wrong row: `refuse` the build, or `leave_out` the row and count it."""

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("records: files must name at least one")
        for name, allowed in (("split", SPLITS), ("bad", BAD)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"records: {name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")


def _units(step: Bound) -> list[Unit]:
    from data_prep.formats import FORMATS

    options: RecordsOptions = step.options
    if options.format not in FORMATS:
        raise ConfigError(f"{step.where}: format is {options.format!r}; it must be one of {', '.join(FORMATS)}")
    for path in (options.audio_root, *options.path_map.values()):
        inside_root(path or "recordings", step.where)
    for name in options.files:
        if not (step.root / inside_root(name, step.where)).is_file():
            raise ConfigError(f"{step.where}: {step.root / name}: no such file")
    digest = digest_of_files(step.root, tuple(options.files))
    return [step.unit("files", f"{__name__}:run", code=("data_prep.formats",), extra={"files": digest})]


def run(task: Task) -> dict[str, Any]:
    """All rows, checked; and how many were wrong. Raises: RecordError."""
    bad: Counter[str] = Counter()
    first: list[str] = []
    count = write_rows(_rows(task, bad, first), task)
    return {"records": count, "bad": dict(sorted(bad.items())), "first_bad": first}


def _rows(task: Task, bad: Counter[str], first: list[str]) -> Iterator[Record]:
    from data_prep.formats import FORMATS, ReadRows

    options = RecordsOptions(**task.options)
    root = task.places.root
    for name in options.files:
        reading = ReadRows(
            audio_root=root / options.audio_root if options.audio_root else (root / name).parent,
            path_map={begin: str(root / instead) for begin, instead in options.path_map.items()},
            split=options.split,
            source=options.source,
            licence=options.licence,
            new_ids=options.new_ids,
        )
        for one in FORMATS[options.format].read(root / name, reading):
            if isinstance(one, Record):
                yield one
            elif options.bad == "refuse":
                raise RecordError(str(one))
            else:
                bad[one.field] += 1
                first += [str(one).replace(f"{root}/", "")] if len(first) < SHOWN_BAD else []


RECORDS_FILE = Kind("records", "rows that are there already", RecordsOptions, _units, "records")
