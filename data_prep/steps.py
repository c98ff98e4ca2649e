"""The steps of data preparation with their progress bars; the command line calls them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from data_prep import build as building
from data_prep import compose, corpus
from data_prep import fetch as fetching
from data_prep import scenes as composing
from data_prep import speech as speaking
from data_prep.atomic import link_or_copy, remove_leftovers
from data_prep.ontology import load_ontology
from data_prep.sources import gather as gathering
from data_prep.sources.catalog import load_catalog
from data_prep.sources.extra_manifest import read_extra


def console() -> Console:
    """Messages go to stderr, so that stdout stays for data."""
    return Console(stderr=True)


def progress() -> Progress:
    """A bar with counts and time."""
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console())


def show(report: fetching.FetchReport) -> None:
    """What a fetch brought and what it left out."""
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


def fetch(fetcher: fetching.Fetcher, small: bool) -> fetching.FetchReport:
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


def gather(out: Path, mirrors: tuple[Path, ...], debs: tuple[Path, ...], offline: bool) -> fetching.FetchReport:
    """Every further source at its exact version, added to the store; the index is written last."""
    remove_leftovers(out)
    report = fetching.FetchReport()
    catalog, clips = load_catalog(), read_extra()
    places = gathering.Places(out, mirrors, debs, offline)
    with progress() as bar:
        task = bar.add_task("sources", total=len(gathering.by_source(clips, catalog)))
        gathering.gather(
            clips, catalog, places, report, lambda source: bar.update(task, description=source.source, advance=1)
        )
    corpus.merge_index(out, report.stored, corpus.load_clips())
    return report


def merge(out: Path, other: Path) -> list[corpus.StoredClip]:
    """Recordings first, the index last."""
    taken = list(corpus.read_index(other / "clips.jsonl"))
    for item in taken:
        if not (out / item.audio).is_file():
            link_or_copy(other / item.audio, out / item.audio)
    return corpus.merge_index(out, taken, corpus.load_clips())


def scenes(out: Path, seed: int, counts: dict[str, int]) -> None:
    """Scenes of every split that wants any."""
    items = list(corpus.read_index(out / "clips.jsonl"))
    ontology = load_ontology()
    with progress() as bar:
        for split, total in counts.items():
            if total:
                task = bar.add_task(f"{split} scenes", total=total)
                pool = composing.make_pool(out, items, split, ontology)
                compose.compose(pool, total, seed, partial(bar.advance, task))


def speak(out: Path, seed: int, counts: dict[str, int]) -> None:
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


def build(out: Path, seed: int, counts: dict[str, int], checksums: bool) -> None:
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
