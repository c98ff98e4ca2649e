"""`use: check`: refuse rows that must not be together; leave out rows that say the same twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alm.errors import ConfigError
from data_prep.build import check_no_leak
from data_prep.copies.recordings import Recording
from data_prep.corpus import read_index
from data_prep.errors import CorpusError
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, read_rows, write_rows
from data_prep.recipes.units import Task, Unit, digest_of_files, listing_of
from data_prep.records import SPLITS, Record
from data_prep.shards.spool import key_of

COPIES = ("off", "report", "refuse")


@dataclass(frozen=True)
class CheckOptions:
    """What to look for."""

    store: str = ""
    """A store of the project: no package and no group of copies of it may be in two splits."""
    share_recordings: bool = False
    """Whether a recording may be in two splits; only where a benchmark wants it so."""
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    """Folders (or files of records) of benchmarks by name: training must share no sound with them."""
    allow: tuple[str, ...] = ()
    """Benchmarks that may be trained on all the same."""
    copies: str = "off"
    """Of near copies: `off`, `report` them, or `refuse` those that lie in several splits."""

    def __post_init__(self) -> None:
        if self.copies not in COPIES:
            raise ConfigError(f"check: copies is {self.copies!r}; it must be one of {', '.join(COPIES)}")
        if unknown := sorted(set(self.allow) - set(self.benchmarks)):
            raise ConfigError(f"check: allow names {unknown[0]!r}, which is none of the benchmarks")


def _plan(step: Bound) -> list[Unit]:
    lists: dict[str, Any] = {}
    if step.options.store:
        store = step.root / inside_root(step.options.store, step.where)
        lists = {"clips": digest_of_files(store, ("clips.jsonl",))}
    for name, path in step.options.benchmarks.items():
        lists[f"benchmark {name}"] = listing_of(step.root / inside_root(path, step.where))
    code = ("data_prep.copies.leaks",)
    return [step.unit("rows", f"{__name__}:run", code=code, inputs=step.records, extra=lists)]


def run(task: Task) -> dict[str, Any]:
    """The rows that pass, and how many were left out. Raises: CorpusError."""
    options = CheckOptions(**task.options)
    if options.store:
        clips = {item.clip.id: item for item in read_index(task.places.root / options.store / "clips.jsonl")}
        check_no_leak((record for record in read_rows(task) if "recordings" in record.meta), clips)
    counts = {"repeated": 0}
    told: dict[str, Any] = _heard(task, options) if options.benchmarks or options.copies != "off" else {}
    passed = _passed(read_rows(task), options, counts)
    return {"records": write_rows(passed, task), **counts, **told}


def _heard(task: Task, options: CheckOptions) -> dict[str, Any]:
    """Compare recordings by how they sound; what was compared stays for a run that goes on. Raises: CorpusError."""
    from data_prep.copies.leaks import check_leaks
    from data_prep.copies.recordings import recordings_of
    from data_prep.copies.search import copies_among

    recordings, told = _recordings(task), dict[str, Any]()
    if options.benchmarks:
        training = [one for one in recordings if "train" in one.splits]
        tests = {name: recordings_of(task.places.root / path) for name, path in options.benchmarks.items()}
        report = check_leaks(training, tests, task.folder / ".leaks", allow=options.allow)
        report.refuse()
        told["leaks"] = {name: len(pairs) for name, pairs in sorted(report.leaks.items())}
    if options.copies != "off":
        found = copies_among(recordings, task.folder / ".copies")
        across = found.across_splits
        if across and options.copies == "refuse":
            shown = f"'{across[0].recording}' and '{across[0].other}'"
            raise CorpusError(f"{len(across)} pairs of copies lie in several splits, as {shown}; leave one side out")
        told["copies"] = {"pairs": len(found.pairs), "across_splits": len(across)}
    return told


def _recordings(task: Task) -> list[Recording]:
    splits: dict[str, set[str]] = {}
    for record in read_rows(task):
        for name in record.audios:
            splits.setdefault(name, set()).add(record.split)
    return [Recording(name, task.places.path(name), tuple(sorted(used))) for name, used in sorted(splits.items())]


def _passed(records: Iterable[Record], options: CheckOptions, counts: dict[str, int]) -> Iterator[Record]:
    """Of memory only numbers that stand for what was seen."""
    sides: dict[int, int] = {}
    ids: set[int] = set()
    said: set[int] = set()
    for record in records:
        side = SPLITS.index(record.split)
        for name in record.audios:
            if sides.setdefault(key_of(name), side) != side and not options.share_recordings:
                other = SPLITS[sides[key_of(name)]]
                raise CorpusError(f"record '{record.id}': recording {name} is used by {other} and by {record.split}")
        if (key := key_of(record.split, record.id)) in ids:
            raise CorpusError(f"record '{record.id}': the id occurs twice in {record.split}; ids must be unique")
        ids.add(key)
        row = key_of(record.split, *record.audios, json.dumps([[m.role, m.content] for m in record.messages]))
        if row in said:
            counts["repeated"] += 1
            continue
        said.add(row)
        yield record


CHECK = Kind("check", "no leak between splits, no row twice", CheckOptions, _plan, "checked")
