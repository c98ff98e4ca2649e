"""`alm data sources` and `alm data read`: which data sets there are readers for, and what a download holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from alm.errors import ConfigError
from alm.terminal import console, printable, progress_bars, write_json


def sources(
    name: Annotated[str | None, typer.Argument(help="One source in detail; else all.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the table of the documentation.")] = False,
) -> None:
    """List the data sets that can be read: size, licence, how to get them, the layout that is expected.

    \b
    alm data sources
    alm data sources librispeech
    """
    from data_prep.cli import guarded
    from data_prep.readers import SOURCES, listing, source_of

    with guarded():
        found = [source_of(name)] if name is not None else list(SOURCES.values())
    if as_json:
        rows = [listing.facts(one) for one in found]
        write_json(rows[0] if name is not None else rows, indent=2)
    elif markdown:
        sys.stdout.write(listing.markdown(found))
    else:
        told = [listing.long(one) if name is not None else listing.short(one) for one in found]
        sys.stdout.write("\n".join(told) + "\n")


def read(
    name: Annotated[str, typer.Argument(help="The source, as `alm data sources` calls it.", show_default=False)],
    root: Annotated[Path, typer.Option("--from", help="Folder of the official download.", show_default=False)],
    audio_root: Annotated[
        Path | None,
        typer.Option("--audio-root", help="Where the recordings are, if not in their official place."),
    ] = None,
    path_map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="BEGIN=FOLDER", help="What a beginning of paths is replaced by; repeatable."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="One of the source's own splits; may be repeated; else all.")
    ] = None,
    check_files: Annotated[bool, typer.Option(help="Whether a recording that is not there is counted as lost.")] = True,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for samples.jsonl and lost.jsonl, which lists every loss.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """Read an official download and report: samples by split, what was lost and why. Nothing of it is changed.

    \b
    alm data read librispeech --from LibriSpeech --split dev-clean
    alm data read teleantifraud --from TeleAntiFraud --map /data/calls/=audio --out read
    """
    from data_prep.cli import guarded
    from data_prep.readers import running, source_of
    from data_prep.readers.base import ReadOptions

    with guarded():
        source = source_of(name)
        options = ReadOptions(tuple(split or ()), audio_root, _mapped(path_map), check_files)
        with _counting(name, quiet=as_json) as advance:
            report = running.read_all(source, root.absolute(), options, out, advance)
    if as_json:
        write_json(running.as_json(source, report), indent=2)
    else:
        sys.stdout.write(printable("\n".join(running.lines(source, report))) + "\n")
        if out is not None:
            console().print(f"written: {printable(str(out / running.SAMPLES))} and {running.LOST}")


def _mapped(pairs: list[str] | None) -> dict[str, str]:
    found = {}
    for pair in pairs or ():
        begin, sign, folder = pair.partition("=")
        if not begin or not sign or not folder:
            raise ConfigError(f"--map {pair}: must be BEGIN=FOLDER, as in /data/calls/=audio")
        found[begin] = folder
    return found


@contextmanager
def _counting(name: str, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A count of rows on a terminal; how many there will be is not known before the end."""
    with progress_bars(quiet=quiet) as bars:
        task = bars.add_task(f"reading {name}", total=None, note="")
        yield lambda: bars.advance(task)
