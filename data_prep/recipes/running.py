"""Run a recipe: step after step, each unit once, and the shards in the end."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from alm.errors import ConfigError
from data_prep.atomic import write_text
from data_prep.errors import CorpusError
from data_prep.recipes.engines import Engine, LocalEngine
from data_prep.recipes.kinds.base import Bound, Kind, all_places
from data_prep.recipes.recipe import AskedStep, Recipe, options_of, read_recipe
from data_prep.recipes.registry import KINDS
from data_prep.recipes.units import KEY_DIGITS, Done, Unit, read_done
from data_prep.records import Record, read_records
from data_prep.shards.layout import WORK, Index
from data_prep.shards.writing import write_shards

REPORT = "report.json"
UNIT_FOLDER = re.compile(rf".+-[0-9a-f]{{{KEY_DIGITS}}}")


class Watcher(Protocol):
    """Is told how far a build is."""

    def begin(self, step: str, total: int) -> None:
        """A step has so many parts."""

    def advance(self, step: str) -> None:
        """One of them is done."""


class Unwatched:
    """Nobody looks."""

    def begin(self, step: str, total: int) -> None:
        """Nothing."""

    def advance(self, step: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Planned:
    """A part of a dry run."""

    step: str
    unit: str
    state: str
    """`done`, `to do`, or what has to be done before it can be known."""


@dataclass
class _Pool:
    """What the steps so far have given, by step."""

    samples: dict[str, list[Done]] = field(default_factory=dict)
    records: dict[str, list[Done]] = field(default_factory=dict)

    def take(self, kind: str, names: tuple[str, ...]) -> tuple[Done, ...]:
        pool: dict[str, list[Done]] = getattr(self, kind)
        return tuple(done for step, found in pool.items() if not names or step in names for done in found)

    def give(self, kind: Kind, step: str, done: list[Done]) -> None:
        if kind.gives == "checked":
            self.records = {}
        getattr(self, "samples" if kind.gives == "samples" else "records")[step] = done


@dataclass(frozen=True)
class _Step:
    """A step whose kind and options are checked."""

    asked: AskedStep
    kind: Kind
    options: Any

    def bound(self, recipe: Recipe, root: Path, pool: _Pool) -> Bound:
        return Bound(
            name=self.asked.name,
            options=self.options,
            values=json.loads(json.dumps(dataclasses.asdict(self.options))),
            seed=recipe.seed,
            root=root,
            samples=pool.take("samples", self.asked.takes),
            records=pool.take("records", self.asked.takes),
            where=self.asked.where,
        )


def run_recipe(
    path: Path,
    out: Path,
    *,
    root: Path = Path(),
    work: Path | None = None,
    engine: Engine = LocalEngine(),
    watcher: Watcher = Unwatched(),
) -> Index:
    """Build the shards of a recipe in `out`.

    Args:
        root: folder of downloads and stores, which paths in the recipe are relative to.
        work: for results of steps; kept, so that the next run does only what changed.

    Raises:
        ConfigError: the recipe is wrong.
        AlmError: a step failed; what is done stays done.
    """
    recipe, root = read_recipe(path), root.resolve()
    work = (work or out / WORK).resolve()
    steps = _checked(recipe)
    with _alone(work):
        pool, done, told = _Pool(), list[Done](), []
        for step in steps[:-1]:
            made = _run_step(step.bound(recipe, root, pool), step.kind, work, all_places(root, done), engine, watcher)
            pool.give(step.kind, step.asked.name, made)
            done += made
            told.append(_told(step, made))
        last = steps[-1].bound(recipe, root, pool)
        index = write_shards(
            _records(last.records),
            out,
            last.options,
            recordings=all_places(root, done),
            work=work / last.name,
            run=engine.shards,
            title=recipe.title,
            planned=lambda total: watcher.begin(last.name, total),
            advance=lambda: watcher.advance(last.name),
        )
        write_text(out / REPORT, json.dumps(_report(recipe, told, index), indent=1, ensure_ascii=False) + "\n")
        _remove_unused(work, {one.folder for one in done})
    return index


def plan_recipe(path: Path, out: Path, *, root: Path = Path(), work: Path | None = None) -> list[Planned]:
    """What `run_recipe` would do; nothing is written.

    Raises:
        ConfigError: the recipe is wrong.
        CorpusError: a download is not there.
    """
    recipe, root = read_recipe(path), root.resolve()
    work = (work or out / WORK).resolve()
    pool, planned, waiting = _Pool(), [], ""
    for step in _checked(recipe):
        name = step.asked.name
        if waiting:
            planned.append(Planned(name, "", f"known after {waiting}"))
            continue
        units = step.kind.plan(step.bound(recipe, root, pool))
        made = [read_done(unit, work) for unit in units]
        planned += [Planned(name, u.name, "to do" if d is None else "done") for u, d in zip(units, made, strict=True)]
        if step.kind.gives == "shards":
            planned.append(Planned(name, "", "writes what is not there"))
        elif None in made:
            waiting = name
        else:
            pool.give(step.kind, name, [one for one in made if one])
    return planned


def _checked(recipe: Recipe) -> list[_Step]:
    steps = []
    for asked in recipe.steps:
        if asked.use not in KINDS:
            raise ConfigError(f"{asked.where}: no kind of step is called {asked.use!r}; known are {', '.join(KINDS)}")
        kind = KINDS[asked.use]
        steps.append(_Step(asked, kind, options_of(kind.options, asked.options, asked.where)))
    gives = [step.kind.gives for step in steps]
    if gives.count("shards") != 1 or gives[-1] != "shards":
        raise ConfigError(f"recipe {recipe.name}: the last step, and no other, must use shards")
    return steps


def _run_step(
    step: Bound, kind: Kind, work: Path, places: Any, engine: Engine, watcher: Watcher
) -> list[Done]:
    units: list[Unit] = kind.plan(step)
    watcher.begin(step.name, len(units))
    made = []
    for done in engine.units(units, work, places):
        made.append(done)
        watcher.advance(step.name)
    return made


def _records(done: Iterable[Done]) -> Iterator[Record]:
    for one in done:
        for path in one.records:
            yield from read_records(path, absolute=False)


def _told(step: _Step, made: list[Done]) -> dict[str, Any]:
    units = {done.place.partition(".")[2]: {"digest": done.digest, **done.report} for done in made}
    return {"step": step.asked.name, "use": step.kind.name, "units": units}


def _report(recipe: Recipe, told: list[dict[str, Any]], index: Index) -> dict[str, Any]:
    """The same for the same inputs: no times, no folders of the machine."""
    splits = {
        split: {
            "records": index.total("records", split),
            "samples": index.total("samples", split),
            "hours": round(sum(shard.seconds for shard in index.of(split)) / 3600, 3),
            "shards": len(index.of(split)),
            "left_out": index.total("lost_records", split),
            "tasks": index.counted("tasks", split),
        }
        for split in index.splits
    }
    return {"recipe": recipe.name, "title": recipe.title, "seed": recipe.seed, "steps": told, "splits": splits}


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """One build at a time in a folder; a killed one leaves nothing that would have to be removed."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CorpusError(f"{work}: another build works there; wait for it, or give another --work") from None
        yield


def _remove_unused(work: Path, used: set[Path]) -> None:
    """Results that no step of this recipe takes any more."""
    for folder in work.glob("*/*"):
        if folder.is_dir() and UNIT_FOLDER.fullmatch(folder.name) and folder not in used:
            shutil.rmtree(folder)
