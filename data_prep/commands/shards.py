"""`alm data build`, `shard` and `shards`: recipes, shards out of files of records, what a folder of shards holds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alm.errors import AlmError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from data_prep.recipes.engines import Engine
    from data_prep.shards import Index

ENGINES = ("local", "ray")
OutFolder = Annotated[Path, typer.Option("--out", help="Folder of shards to write; made when absent.")]
Workers = Annotated[int, typer.Option(min=1, max=1024, help="Threads (local) or processors (ray).")]


@contextmanager
def _guarded() -> Iterator[None]:
    """A typed error becomes one line and exit code 2."""
    try:
        yield
    except AlmError as fault:
        typer.echo(f"error: {fault}", err=True)
        raise typer.Exit(2) from fault


class _Bars:
    """A bar for each step; satisfies `data_prep.recipes.running.Watcher`."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def begin(self, step: str, total: int) -> None:
        """A step has so many parts."""
        self.tasks[step] = self.progress.add_task(step, total=total)

    def advance(self, step: str) -> None:
        """One of them is done."""
        self.progress.advance(self.tasks[step])


def build(
    recipe: Annotated[str, typer.Argument(help="A recipe (YAML), or the name of a shipped one: `default`.")],
    out: OutFolder = Path("shards"),
    root: Annotated[Path, typer.Option(help="Folder of downloads and stores, which recipes name paths in.")] = Path(),
    work: Annotated[Path | None, typer.Option(help="Folder for results of steps; OUT/.work when not given.")] = None,
    engine: Annotated[str, typer.Option(help="`local`, or `ray` for Ray Data.")] = "local",
    workers: Workers = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
) -> None:
    """Build shards by a recipe: read downloads, make instructions, check them, pack them.

    Interrupt it at any time: the next run goes on. A step runs again only when its options, code or inputs changed.
    """
    from data_prep.recipes.recipe import find_recipe
    from data_prep.recipes.running import plan_recipe, run_recipe
    from data_prep.steps import console, progress

    with _guarded():
        path = find_recipe(recipe)
        if dry_run:
            for part in plan_recipe(path, out, root=root, work=work):
                typer.echo("\t".join(text for text in (part.step, part.unit, part.state) if text))
            return
        with _engine(engine, workers) as chosen, progress() as bar:
            index = run_recipe(path, out, root=root, work=work, engine=chosen, watcher=_Bars(bar))
        _show(index, out, console().print)


def _engine(name: str, workers: int) -> AbstractContextManager[Engine]:
    from alm.errors import ConfigError
    from data_prep.recipes.engines import LocalEngine, ray_engine

    if name not in ENGINES:
        raise ConfigError(f"--engine is {name!r}; it must be one of {', '.join(ENGINES)}")
    return ray_engine(workers) if name == "ray" else nullcontext(LocalEngine(workers))


def shard(
    files: Annotated[list[Path], typer.Argument(help="Files of records (JSON lines, as `alm data rows` writes them).")],
    out: OutFolder = Path("shards"),
    audio: Annotated[str, typer.Option(help="`stored` as they are, `flac` or `opus`.")] = "stored",
    megabytes: Annotated[float, typer.Option(help="About how large a shard gets.")] = 256.0,
    missing: Annotated[str, typer.Option(help="Of an absent or bad recording: `refuse` or `leave_out`.")] = "refuse",
    workers: Workers = 1,
) -> None:
    """Put files of records and their recordings into shards; `alm data convert` makes such files of other formats."""
    from data_prep.places import Places
    from data_prep.records import read_records
    from data_prep.shards import ShardSettings, in_threads, write_shards
    from data_prep.steps import console, progress

    with _guarded(), progress() as bar:
        task = bar.add_task("shards", total=None)
        index = write_shards(
            (record for path in files for record in read_records(path.resolve())),
            out,
            ShardSettings(audio=audio, megabytes=megabytes, missing=missing),
            recordings=Places(_common(files)),
            run=in_threads(workers),
            planned=lambda total: bar.update(task, total=total),
            advance=lambda: bar.advance(task),
        )
    _show(index, out, console().print)


def _common(files: list[Path]) -> Path:
    """The folder below which all files of records lie; rows name recordings relative to it."""
    return Path(os.path.commonpath([path.resolve().parent for path in files]))


def shards(
    folder: Annotated[Path, typer.Argument(help="A folder of shards.")],
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file; exit code 2 when one differs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what a folder of shards holds, or check it."""
    from data_prep.shards import read_index, verify_shards
    from data_prep.steps import progress

    with _guarded():
        index = read_index(folder)
        if verify:
            with progress() as bar:
                task = bar.add_task("hashing", total=len(index.shards))
                verify_shards(folder, lambda: bar.advance(task))
        if as_json:
            json.dump({split: _facts(index, split) for split in index.splits}, sys.stdout)
            typer.echo()
        else:
            _show(index, folder, typer.echo)


def _facts(index: Index, split: str) -> dict[str, float]:
    found: dict[str, float] = {
        name: index.total(name, split) for name in ("records", "samples", "tar_bytes", "lost_records")
    }
    hours = sum(shard.seconds for shard in index.of(split)) / 3600
    return found | {"shards": len(index.of(split)), "hours": round(hours, 3)}


def _show(index: Index, folder: Path, say: object) -> None:
    assert callable(say)
    for split in index.splits:
        facts = _facts(index, split)
        text = (
            f"{split}: {facts['records']:,} records on {facts['samples']:,} recordings or sets of them, "
            f"{facts['hours']:.2f} h, {facts['tar_bytes'] / 1e6:,.1f} MB in {facts['shards']} shards"
        )
        say(text + (f"; {facts['lost_records']:,} records left out" if facts["lost_records"] else ""))
    lost = {name: why for shard in index.shards for name, why in shard.lost.items()}
    for name, why in list(lost.items())[:20]:
        say(f"left out {name}: {why}")
    say(f"in {folder}")
