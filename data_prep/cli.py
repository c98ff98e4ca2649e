"""Command line of data preparation. Heavy imports live inside the commands: `alm --help` imports this module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from alm.errors import AlmError
from data_prep.commands import composed as composed_commands
from data_prep.commands import copies as copies_commands
from data_prep.commands import formats as formats_commands
from data_prep.commands import generation as generation_commands
from data_prep.commands import inspecting as inspecting_commands
from data_prep.commands import makers as makers_commands
from data_prep.commands import shards as shards_commands
from data_prep.commands import sources as sources_commands

app = typer.Typer(no_args_is_help=True, add_completion=False)
MANIFEST = Path(__file__).parent / "manifest" / "clips.csv.gz"
OutDir = Annotated[Path, typer.Option("--out", help="Folder of the audio store; made when absent.")]
Debs = Annotated[
    list[Path] | None, typer.Option("--debs", help="Folder with packages already downloaded; may be repeated.")
]
Mirrors = Annotated[
    list[Path] | None,
    typer.Option("--git-mirror", help="Folder of git directories called owner+name; may be repeated."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing; use --debs, --git-mirror and OUT.")]


@contextmanager
def guarded() -> Iterator[None]:
    """A typed error becomes one line and exit code 2."""
    try:
        yield
    except AlmError as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise typer.Exit(2) from fault


@app.callback()
def main() -> None:
    """Prepare recordings and instruction records: fetch the corpus by name, build scenes and records."""


app.command("sources")(sources_commands.sources)
app.command("read")(sources_commands.read)
app.command("compose")(composed_commands.compose)
app.command("pseudo-label")(composed_commands.pseudo_label)
app.command("copies")(copies_commands.copies)
app.command("leaks")(copies_commands.leaks)
app.command("inspect")(inspecting_commands.inspect)
app.command("report")(inspecting_commands.report)
app.command("convert")(formats_commands.convert)
app.command("validate")(formats_commands.validate)


@app.command()
def fetch(
    out: OutDir,
    debs: Debs = None,
    git_mirror: Mirrors = None,
    small: Annotated[bool, typer.Option("--small", help="Only a small first set of packages (150 MB).")] = False,
    offline: Offline = False,
    python_only: Annotated[bool, typer.Option("--python-only", help="Read packages without dpkg-deb.")] = False,
) -> None:
    """Download the packages by name (no root) and the repositories by commit; write OUT/audio and OUT/clips.jsonl.

    Interrupt it at any time: the next run goes on where it stopped. A source that cannot be had is left out with a
    message; run the command again to try it again.
    """
    from data_prep import steps
    from data_prep.fetch import Fetcher

    with guarded():
        steps.show(steps.fetch(Fetcher(out, tuple(debs or ()), offline, not python_only), small))
        if not small:
            steps.show(steps.gather(out, tuple(git_mirror or ()), tuple(debs or ()), offline))


@app.command()
def merge(
    out: OutDir,
    other: Annotated[Path, typer.Option("--from", help="Another audio store, with its clips.jsonl.")],
) -> None:
    """Take the clips of another store into OUT: links or copies its recordings and lists them in OUT/clips.jsonl."""
    from data_prep import steps

    with guarded():
        rows = steps.merge(out, other)
        steps.console().print(f"{len(rows)} clips in {out}")


@app.command()
def scenes(
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Another seed composes other scenes.")] = 0,
    train: Annotated[int, typer.Option(min=0, help="Number of train scenes.")] = 6000,
    dev: Annotated[int, typer.Option(min=0, help="Number of dev scenes.")] = 300,
    test: Annotated[int, typer.Option(min=0, help="Number of test scenes.")] = 600,
) -> None:
    """Compose scenes with known events out of the store: OUT/scenes/SPLIT.jsonl and their recordings.

    The same seed and store give the same scenes. Interrupt it at any time: the next run goes on.
    """
    from data_prep import steps

    with guarded():
        steps.scenes(out, seed, {"train": train, "dev": dev, "test": test})


@app.command()
def speak(
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Another seed makes other sentences.")] = 0,
    train: Annotated[int, typer.Option(min=0, help="Number of train sentences (eSpeak NG).")] = 3000,
    dev: Annotated[int, typer.Option(min=0, help="Number of dev sentences (eSpeak NG).")] = 100,
    test: Annotated[int, typer.Option(min=0, help="Number of test sentences (Flite).")] = 200,
) -> None:
    """Synthesize English sentences into the store: OUT/speech/SPLIT.jsonl. Engines that are absent are skipped."""
    from data_prep import steps

    with guarded():
        steps.speak(out, seed, {"train": train, "dev": dev, "test": test})


@app.command()
def rows(
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Another seed makes other records.")] = 0,
    train_records: Annotated[int, typer.Option("--train-records", min=0, help="Number of train records.")] = 60000,
    dev_records: Annotated[int, typer.Option("--dev-records", min=0, help="Number of dev records.")] = 600,
    test_records: Annotated[int, typer.Option("--test-records", min=0, help="Number of test records.")] = 2000,
    checksums: Annotated[bool, typer.Option(help="Write SHA256SUMS over everything that the records use.")] = True,
) -> None:
    """Write OUT/train.jsonl, dev.jsonl, test.jsonl, build_report.json and SHA256SUMS out of the store.

    Run `fetch` before, and `scenes` and `speak` for the tasks that need them.
    """
    from data_prep import steps

    with guarded():
        steps.build(out, seed, {"train": train_records, "dev": dev_records, "test": test_records}, checksums)


@app.command()
def check(out: OutDir) -> None:
    """Read back everything that `rows` wrote; exit code 2 when a row, a recording or the split does not hold."""
    from data_prep.build import check_files
    from data_prep.steps import console

    with guarded():
        by_split = check_files(out)
        found = ", ".join(f"{split}: {len(records)} records" for split, records in by_split.items())
        console().print(f"{found}: all good")


@app.command()
def curate(
    catalogue: Annotated[Path, typer.Argument(help="Gzip CSV that names every labelled recording of the packages.")],
    target: Annotated[Path, typer.Option("--to", help="Manifest to write.")] = MANIFEST,
) -> None:
    """Make the manifest of the first corpus anew from a full catalogue (for maintainers)."""
    from data_prep.corpus import write_manifest
    from data_prep.curate import curate, read_catalogue
    from data_prep.ontology import load_ontology
    from data_prep.steps import console

    with guarded():
        clips = curate(read_catalogue(catalogue), load_ontology())
        write_manifest(clips, target)
        console().print(f"{len(clips)} clips in {target}")


app.command("build")(shards_commands.build)
app.command("shard")(shards_commands.shard)
app.command("shards")(shards_commands.shards)
app.command("tasks")(makers_commands.tasks)
app.command("measure")(makers_commands.measure)
app.command("make")(makers_commands.make)
app.command("generate")(generation_commands.generate)
