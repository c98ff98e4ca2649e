"""`use: check`: refuse rows that must not be together; leave out rows that say the same twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from data_prep.build import check_no_leak
from data_prep.corpus import read_index
from data_prep.errors import CorpusError
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, read_rows, write_rows
from data_prep.recipes.units import Task, Unit, digest_of_files
from data_prep.records import SPLITS, Record
from data_prep.shards.spool import key_of


@dataclass(frozen=True)
class CheckOptions:
    """What to look for."""

    store: str = ""
    """A store of the project: no package and no group of copies of it may be in two splits."""
    share_recordings: bool = False
    """Whether a recording may be in two splits; only where a benchmark wants it so."""


def _plan(step: Bound) -> list[Unit]:
    lists = {}
    if step.options.store:
        store = step.root / inside_root(step.options.store, step.where)
        lists = {"clips": digest_of_files(store, ("clips.jsonl",))}
    return [step.unit("rows", f"{__name__}:run", inputs=step.records, extra=lists)]


def run(task: Task) -> dict[str, Any]:
    """The rows that pass, and how many were left out. Raises: CorpusError."""
    options = CheckOptions(**task.options)
    if options.store:
        clips = {item.clip.id: item for item in read_index(task.places.root / options.store / "clips.jsonl")}
        check_no_leak(read_rows(task), clips)
    counts = {"repeated": 0}
    passed = _passed(read_rows(task), options, counts)
    return {"records": write_rows(passed, task), **counts}


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
