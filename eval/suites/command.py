"""`alm eval make`: generate a benchmark from the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from alm.errors import AlmError, ConfigError
from eval.suites.registry import SUITES


def make(
    suite: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}; or `list` to read what each is.")],
    corpus: Annotated[
        Path | None,
        typer.Option(help="Audio store that `python -m data_prep fetch` filled.", exists=True, file_okay=False),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder in which `alm-SUITE` is made: recordings, questions, provenance.")
    ] = Path("prepared"),
    items: Annotated[
        int | None, typer.Option(min=1, help="About so many questions; the suite's own number if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other recordings: another test.")] = 0,
    longest: Annotated[
        float | None, typer.Option(min=10, help="long-audio only: leave out recordings of more seconds.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Generate a benchmark of our own from free recordings; nothing of others' benchmarks is used.

    Only recordings of the test split are used, from packages that training never saw. Every right answer follows from
    how a recording was composed, which `provenance.jsonl` tells with source and licence. The same seed and corpus
    give the same questions and recordings. What is made is a prepared benchmark: `alm eval run` takes its folder.

    \b
    alm eval make list
    alm eval make hallucination --corpus CORPUS --out prepared
    alm eval make long-audio --corpus CORPUS --out prepared --longest 600
    """
    if suite == "list":
        typer.echo("\n".join(f"{s.name:<14} {s.items:>5} questions, {s.size:>6}  {s.about}" for s in SUITES.values()))
        return
    try:
        for line in _made(suite, corpus, out, items, seed, longest, quiet):
            typer.echo(line)
    except AlmError as fault:
        Console(stderr=True).print(f"[red]error:[/red] {fault}", highlight=False)
        raise typer.Exit(2) from fault


def _made(
    name: str, corpus: Path | None, out: Path, items: int | None, seed: int, longest: float | None, quiet: bool
) -> Iterator[str]:
    if name not in SUITES:
        raise ConfigError(f"no suite is called {name!r}; there are: {', '.join(SUITES)}")
    if corpus is None:
        raise ConfigError("recordings are needed: give --corpus DIR, the folder that `python -m data_prep` filled")
    if longest is not None and name != "long-audio":
        raise ConfigError(f"--longest is of long-audio only, and {name} was asked for; leave it out")
    from eval.corpus import Corpus
    from eval.suites import long_audio
    from eval.suites.studio import Order, silent

    suite = SUITES[name]
    order = Order(Corpus(corpus), out, items or suite.items, seed, silent if quiet else _bar)
    for one in suite.make(order) if longest is None else long_audio.make(order, longest):
        yield f"{one.folder}  {len(one.items)} questions, hash {one.hash}"


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
