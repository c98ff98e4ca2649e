"""`python -m data_prep.sources`: for who writes rules, scan all sources anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_prep.atomic import write_text
from data_prep.cli import Debs, Mirrors, Offline, guarded
from data_prep.corpus import MANIFEST_DIR
from data_prep.sources import credits, rescan
from data_prep.sources.catalog import load_catalog
from data_prep.sources.extra_manifest import write_extra
from data_prep.sources.gather import Places
from data_prep.steps import console

app = typer.Typer(no_args_is_help=True, add_completion=False)
OutDir = Annotated[Path, typer.Option("--out", help="Folder of the audio store; may be the one of the first corpus.")]


@app.callback()
def sources() -> None:
    """Rules of the further sources."""


@app.command()
def scan(
    out: OutDir,
    against: Annotated[Path, typer.Option("--against", help="Store of the first corpus, to find copies of its clips.")],
    git_mirror: Mirrors = None,
    debs: Debs = None,
    offline: Offline = False,
) -> None:
    """Apply the rules to all sources, write the store, the manifest and the list of credits."""
    with guarded():
        catalog = load_catalog()
        places = Places(out, tuple(git_mirror or ()), tuple(debs or ()), offline)
        curated = rescan.rescan(catalog, places, against, lambda text: console().print(text))
        write_extra(curated.clips)
        write_text(MANIFEST_DIR / "ATTRIBUTION.md", credits.attribution(catalog, curated.clips))
        console().print(f"{len(curated.clips)} clips; {len(curated.dropped)} left out by the curation")


if __name__ == "__main__":
    app()
