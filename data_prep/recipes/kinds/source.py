"""`use: source`: the samples of one official download, read by its reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from data_prep.readers.base import Lost, ReadOptions, ReadReport, Source
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, write_samples
from data_prep.recipes.units import Task, Unit, listing_of
from data_prep.samples import Sample


@dataclass(frozen=True)
class SourceOptions:
    """Which source, and where its download lies."""

    source: str
    at: str
    """Folder of the download."""
    splits: tuple[str, ...] = ()
    """The source's own names of splits; empty: all."""
    audio_root: str = ""
    """Folder of the recordings, when not in their official place."""
    path_map: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of paths in the lists, and what they are replaced by."""
    check_files: bool = True
    limit: int = 0
    """Take only so many samples; 0: all."""


def _source(name: str) -> Source:
    from data_prep import readers
    from data_prep.readers.corpus import CORPUS

    sources = {CORPUS.name: CORPUS, **readers.SOURCES}
    if name not in sources:
        known = ", ".join(sorted(sources))
        raise ConfigError(f"no source is called {name!r}; known are {known} (`alm data sources` tells of them)")
    return sources[name]


def _plan(step: Bound) -> list[Unit]:
    options: SourceOptions = step.options
    source = _source(options.source)
    paths = [inside_root(path, step.where) for path in (options.at, options.audio_root) if path]
    paths += [inside_root(path, step.where) for path in options.path_map.values()]
    listings = {path: listing_of(step.root / path) for path in paths}
    code = (getattr(source.read, "__module__", ""),)
    return [
        step.unit(
            source.name,
            f"{__name__}:run",
            code=tuple(name for name in code if name.startswith("data_prep.")),
            extra={"listings": listings, "licence": source.licence},
        )
    ]


def run(task: Task) -> dict[str, Any]:
    """Samples of the source, and a report of what was lost."""
    options = SourceOptions(**task.options)
    root = task.places.root
    reading = ReadOptions(
        splits=tuple(options.splits),
        audio_root=root / options.audio_root if options.audio_root else None,
        path_map={begin: str(root / instead) for begin, instead in options.path_map.items()},
        check_files=options.check_files,
    )
    report = ReadReport()
    found = _source(options.source).read(root / options.at, reading)
    write_samples(_kept(found, report, options.limit), task)
    shown = [dataclasses.asdict(lost) for lost in report.shown]
    return {"samples": dict(report.samples), "lost": dict(report.lost), "first_lost": _without_root(shown, root)}


def _kept(found: Iterator[Sample | Lost], report: ReadReport, limit: int) -> Iterator[Sample]:
    for one in found:
        report.count(one)
        if isinstance(one, Sample):
            yield one
            if limit and sum(report.samples.values()) >= limit:
                return


def _without_root(rows: list[dict[str, str]], root: Path) -> list[dict[str, str]]:
    """Reports name no folder of the machine."""
    return [{name: text.replace(f"{root}/", "") for name, text in row.items()} for row in rows]


SOURCE = Kind("source", "samples of an official download", SourceOptions, _plan, "samples")
