"""`alm data inspect` and `alm data report`: looking at records, on a page or on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Place = Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="Records (.jsonl), or shards.", show_default=False)]


def inspect(
    place: Place,
    flags: Annotated[
        Path | None, typer.Option("--flags", help="Where flags are kept; flags.jsonl beside them.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 7861,
    auth: Annotated[
        str | None,
        typer.Option(envvar="ALM_INSPECT_AUTH", help="USER:PASSWORD that the page asks for.", show_default=False),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Open a page to listen to records, read them and flag what is wrong, with statistics and plots.

    \b
    alm data inspect corpus
    alm data inspect train.jsonl --port 8000 --no-browser
    """
    from data_prep.cli import guarded
    from data_prep.inspecting.opening import PageSettings, open_page

    with guarded():
        open_page(place, flags, PageSettings(host, port, auth, browser))


def report(
    place: Place,
    out: Annotated[Path, typer.Option("--out", help="Markdown file; its plots go into a folder beside it.")] = Path(
        "data-report.md"
    ),
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "Data report",
    check_files: Annotated[bool, typer.Option(help="Look whether every recording is there.")] = True,
) -> None:
    """Write what the page of `alm data inspect` shows as Markdown with plots.

    \b
    alm data report corpus --out docs/data-report.md
    """
    from data_prep.cli import guarded
    from data_prep.inspecting.report import write_report
    from data_prep.steps import console

    with guarded():
        for path in write_report(place, out, title, check_files=check_files):
            console().print(f"written: {path}", highlight=False, markup=False)
