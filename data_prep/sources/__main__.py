"""`python -m data_prep.sources`: fetch the extra recordings; for who writes rules, scan sources anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alm.errors import AlmError
from data_prep.atomic import remove_leftovers, write_text
from data_prep.cli import console, progress
from data_prep.corpus import MANIFEST_DIR, read_index, write_index
from data_prep.fetch import FetchReport
from data_prep.sources import credits, rescan
from data_prep.sources.catalog import load_catalog
from data_prep.sources.extra_manifest import read_extra, write_extra
from data_prep.sources.gather import Places, by_source, gather

app = typer.Typer(no_args_is_help=True, add_completion=False)
OutDir = Annotated[Path, typer.Option("--out", help="Folder of the audio store; may be the one of the first corpus.")]
Mirrors = Annotated[
    list[Path] | None,
    typer.Option("--git-mirror", help="Folder of git directories called owner+name; may be repeated."),
]
Debs = Annotated[list[Path] | None, typer.Option("--debs", help="Folder of Debian packages; may be repeated.")]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]


def merge_index(report: FetchReport, target: Path) -> None:
    """Put the gathered clips into `clips.jsonl` of the store, beside those of other packages."""
    index = target / "clips.jsonl"
    mine = {item.clip.id: item for item in report.stored}
    packages = {item.clip.package for item in report.stored}
    others = [item for item in read_index(index) if item.clip.package not in packages] if index.is_file() else []
    merged = sorted([*others, *mine.values()], key=lambda item: item.clip.id)
    write_index(merged, index)


@app.command()
def fetch(out: OutDir, git_mirror: Mirrors = None, debs: Debs = None, offline: Offline = False) -> None:
    """Fetch every source of the manifest at its exact version and add its clips to the store."""
    report = FetchReport()
    try:
        remove_leftovers(out)
        catalog, clips = load_catalog(), read_extra()
        places = Places(out, tuple(git_mirror or ()), tuple(debs or ()), offline)
        with progress() as bar:
            task = bar.add_task("sources", total=len(by_source(clips, catalog)))
            gather(
                clips, catalog, places, report, lambda source: bar.update(task, description=source.source, advance=1)
            )
        merge_index(report, out)
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault
    wrong = len([item for item in report.stored if not item.sha_match])
    console().print(f"{len(report.stored)} clips in the store, {wrong} differ from the manifest")
    for package, reason in report.missing_packages.items():
        console().print(f"[yellow]left out {package}: {reason}[/yellow]")


@app.command()
def scan(
    out: OutDir,
    against: Annotated[Path, typer.Option("--against", help="Store of the first corpus, to find copies of its clips.")],
    git_mirror: Mirrors = None,
    debs: Debs = None,
    offline: Offline = False,
) -> None:
    """Apply the rules to all sources, write the store, the manifest and the list of credits."""
    try:
        catalog = load_catalog()
        places = Places(out, tuple(git_mirror or ()), tuple(debs or ()), offline)
        curated = rescan.rescan(catalog, places, against, lambda text: console().print(text))
        write_extra(curated.clips)
        write_text(MANIFEST_DIR / "ATTRIBUTION.md", credits.attribution(catalog, curated.clips))
    except AlmError as fault:
        console().print(f"[red]error:[/red] {fault}")
        raise typer.Exit(2) from fault
    console().print(f"{len(curated.clips)} clips; {len(curated.dropped)} left out by the curation")


if __name__ == "__main__":
    app()
