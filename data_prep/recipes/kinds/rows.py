"""`use: rows`: the instruction rows of the project's own store, as `alm data rows` makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from alm.errors import ConfigError
from data_prep.corpus import SPLITS
from data_prep.errors import CorpusError
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, relative, write_rows
from data_prep.recipes.units import Task, Unit, digest_of_files
from data_prep.records import Record

LISTS = ("clips.jsonl", "scenes/*.jsonl", "speech/*.jsonl")
"""All that rows depend on: they are made without opening a recording."""


@dataclass(frozen=True)
class RowsOptions:
    """Which store, and how many rows of each split."""

    store: str = "corpus"
    """Folder that `fetch`, `speak` and `scenes` filled."""
    train: int = 60_000
    dev: int = 600
    test: int = 2_000

    def __post_init__(self) -> None:
        if min(self.train, self.dev, self.test) < 0:
            raise ConfigError("rows: train, dev and test must not be negative")


def _plan(step: Bound) -> list[Unit]:
    store = step.root / inside_root(step.options.store, step.where)
    if not (store / "clips.jsonl").is_file():
        raise CorpusError(f"{store}: no clips.jsonl; run `alm data fetch --out {step.options.store}` first")
    lists = {"lists": digest_of_files(store, LISTS)}
    return [
        step.unit(split, f"{__name__}:run", code=("data_prep.instructions",), extra={**lists, "split": split})
        for split in SPLITS
        if getattr(step.options, split)
    ]


def run(task: Task) -> dict[str, Any]:
    """The rows of one split."""
    from data_prep.heard import load_context
    from data_prep.instructions import make_records
    from data_prep.ontology import load_ontology

    options = RowsOptions(**task.options)
    split = task.unit
    store = task.places.root / options.store
    made = make_records(load_context(store, split, task.seed, load_ontology()), getattr(options, split))
    tasks: Counter[str] = Counter()
    count = write_rows(relative(_counted(made, tasks), options.store), task)
    return {"records": count, "tasks": dict(sorted(tasks.items()))}


def _counted(records: Iterable[Record], tasks: Counter[str]) -> Iterator[Record]:
    for record in records:
        tasks[record.task] += 1
        yield record


ROWS = Kind("rows", "rows of the project's own store", RowsOptions, _plan, "records")
