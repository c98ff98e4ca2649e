"""Command line of evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from alm.errors import AlmError
from eval import registry
from eval.harness import command as harness
from eval.options import Options
from eval.rows.command import rows
from eval.suites.command import make

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Preset = Annotated[str, typer.Option(help="Preset to judge.")]
Adapter = Annotated[
    Path | None,
    typer.Option(help="Trained adapter to judge instead of the preset's own.", exists=True, file_okay=False),
]
CorpusDir = Annotated[
    Path | None, typer.Option("--corpus", help="Audio store of data_prep.", exists=True, file_okay=False)
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only about so many questions, for a quick look.")]
Out = Annotated[Path, typer.Option(help="Folder of the results.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed draws other recordings and wrong options.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder for features of frozen encoders; the weights' home if not given.")
]
Split = Annotated[
    Literal["test", "dev"], typer.Option(help="Recordings to ask about: dev while developing, test for figures.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, ...")]


@app.callback()
def main() -> None:
    """Measure what a model hears.

    Benchmarks: `list` names them, `prepare` turns a download into items, `run` asks a model, judges, scores and
    reports; `judge`, `score`, `report` and `compare` work on what a run has kept (docs/evaluation.md).

    Our corpus: `choice`, `open`, `presence` and so on each write NAME.json, NAME.md and their questions one by one.
    """


def judge(name: str, options: Options) -> list[Path]:
    """Run one evaluation and write its result."""
    from eval.results import write
    from eval.session import Session

    session = Session(options)
    result = registry.EVALUATIONS[name].load()(session)
    session.describe(name, result)
    return write(result, options.out)


def _guarded(work: Callable[[], list[Path]]) -> None:
    """Run and say what was written; typed errors end with code 2."""
    console = Console(stderr=True)
    try:
        written = work()
    except AlmError as fault:
        console.print(f"[red]error:[/red] {fault}", highlight=False)
        raise typer.Exit(2) from fault
    for path in written:
        typer.echo(path)


def _register(name: str) -> None:
    def command(
        preset: Preset = "tiny",
        adapter: Adapter = None,
        corpus: CorpusDir = None,
        limit: Limit = None,
        out: Out = Path("docs/results"),
        seed: Seed = 0,
        split: Split = "test",
        cache: Cache = None,
        device: Device = "cpu",
    ) -> None:
        options = Options(preset, adapter, corpus, limit, out, seed, split, cache, device)
        _guarded(lambda: judge(name, options))

    app.command(name, help=registry.EVALUATIONS[name].help)(command)


for _name in registry.EVALUATIONS:
    _register(_name)
app.command()(make)
app.command()(rows)


harness.register(app)


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Folders of scored runs; without any, the results of our corpus.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page over all runs; `report` if not given.", show_default=False)
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/results"),
    page: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/results.md"),
    images: Annotated[Path, typer.Option(help="Folder of the pictures, beside the page.")] = Path("docs/img"),
) -> None:
    """Write reports of runs again, and a page over several; without runs, join the corpus's results into one page.

    \b
    alm eval report runs/tiny-mmau
    alm eval report runs/tiny-mmau runs/rival-mmau --out runs/page
    alm eval report --results docs/results
    """
    if runs:
        _guarded(lambda: harness.report_runs(runs, out))
        return
    from eval.report import write

    _guarded(lambda: [write(results, page, images)])


@app.command()
def schemes(
    folders: Annotated[
        list[Path], typer.Argument(help="Result folders, one for each adapter.", exists=True, file_okay=False)
    ],
    out: Out = Path("docs/results"),
) -> None:
    """Compare adapters: a table from what `tokens --adapter DIR --out FOLDER` wrote for each."""
    from eval.schemes import page, read_run

    def work() -> list[Path]:
        text = page([read_run(f) for f in folders])
        out.mkdir(parents=True, exist_ok=True)
        place = out / "schemes.md"
        place.write_text(text, encoding="utf-8")
        typer.echo(text)
        return [place]

    _guarded(work)
