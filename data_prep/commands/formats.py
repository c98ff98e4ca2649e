"""`alm data convert` and `alm data validate`: rows of other projects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alm.errors import ConfigError, RecordError
from alm.terminal import console, printable, write_json

if TYPE_CHECKING:
    from data_prep.formats import BadRow, Losses, ReadRows, RowReport
    from data_prep.records import Record

FormatName = Literal["alm", "openaqa", "swift", "llamafactory", "af3", "kimi", "salmonn2", "csv", "parquet"]
From = Annotated[FormatName, typer.Option("--from", help="What the rows are written for.", show_default=False)]
AudioRoot = Annotated[
    Path | None,
    typer.Option("--audio-root", help="Where relative paths begin; else the folder of the file.", show_default=False),
]
Maps = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="BEGIN=FOLDER", help="What a beginning of paths is replaced by; may be repeated."),
]
CheckFiles = Annotated[bool, typer.Option("--check-files", help="A recording that is not there makes its row wrong.")]
NewIds = Annotated[bool, typer.Option("--new-ids", help="Number the rows anew; their ids stay in meta.")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]
ROW_WRONG = 2


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File of rows.", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.", show_default=False)],
    from_format: From,
    to_format: Annotated[FormatName, typer.Option("--to", help="What to write them for.", show_default=False)],
    audio_root: AudioRoot = None,
    path_map: Maps = None,
    check_files: CheckFiles = False,
    new_ids: NewIds = False,
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="Of rows that tell none.")] = "train",
    origin: Annotated[str, typer.Option("--source", help="Data set of rows that tell none.")] = "unknown",
    licence: Annotated[str, typer.Option(help="Of rows that tell none.")] = "unknown",
    on_bad: Annotated[Literal["stop", "skip"], typer.Option(help="What to do when a row is wrong.")] = "stop",
    lossless: Annotated[bool, typer.Option("--lossless", help="Write nothing if something would be lost.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come of it; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a file of rows from one project's format to another's, as a stream.

    Says how many rows lost which field, and which rows the target cannot hold.
    OUT is whole or absent. Names ending in .json become one JSON list, others a
    row a line. Exit code 2: a row is wrong (and --on-bad is stop), or something
    would be lost (and --lossless is given).

    \b
    alm data convert openaqa.json train.jsonl --from openaqa --to alm --map /authors/disk/=audio/
    alm data convert train.jsonl train.json --from alm --to llamafactory
    """
    from data_prep.cli import guarded
    from data_prep.formats import FORMATS, RowReport

    with guarded(), _progress(source, "converting", quiet=as_json) as advance:
        options = _options(audio_root, path_map, check_files, new_ids, split, origin, licence, advance)
        if source.resolve() == target.resolve():
            raise ConfigError(f"{target}: is the file that is read; name another one to write")
        report, written = RowReport(), FORMATS[to_format]
        rows = FORMATS[from_format].read(source, options)
        records = report.taken(rows if dry_run or on_bad == "skip" else _until_bad(rows))
        if dry_run:
            losses = written.losses(records, lossless=lossless)
        else:
            losses = written.write(records, target, lossless=lossless)
    _tell(report, losses, "" if dry_run else written.advice(target), as_json=as_json)
    if report.bad and on_bad == "stop":
        raise typer.Exit(ROW_WRONG)


def validate(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="File of rows.", show_default=False)],
    from_format: From,
    audio_root: AudioRoot = None,
    path_map: Maps = None,
    check_files: CheckFiles = False,
    new_ids: NewIds = False,
    as_json: AsJson = False,
) -> None:
    """Check every row of a file: file, line, field, value and remedy of those that are wrong.

    Exit code 0: all rows are right; 2: a row is wrong, or the file cannot be read.

    \b
    alm data validate openaqa.json --from openaqa --map /authors/disk/=audio/ --check-files
    """
    from data_prep.cli import guarded
    from data_prep.formats import FORMATS, RowReport

    report = RowReport()
    with guarded(), _progress(source, "checking", quiet=as_json) as advance:
        options = _options(audio_root, path_map, check_files, new_ids, advance=advance)
        for _ in report.taken(FORMATS[from_format].read(source, options)):
            pass
    _tell(report, as_json=as_json)
    if report.bad:
        raise typer.Exit(ROW_WRONG)


def _options(
    audio_root: Path | None,
    path_map: list[str] | None,
    check_files: bool,
    new_ids: bool,
    split: str = "train",
    source: str = "unknown",
    licence: str = "unknown",
    advance: Callable[[int], None] = lambda done: None,
) -> ReadRows:
    from data_prep.formats import ReadRows

    pairs = [one.partition("=") for one in path_map or ()]
    for begin, sign, folder in pairs:
        if not begin or not sign or not folder:
            raise ConfigError(f"--map {begin}{sign}{folder}: must be BEGIN=FOLDER, as in /authors/disk/=audio/")
    mapped = {begin: folder for begin, _, folder in pairs}
    return ReadRows(audio_root, mapped, check_files, split, source, licence, new_ids, advance)


def _until_bad(rows: Iterator[Record | BadRow]) -> Iterator[Record | BadRow]:
    from data_prep.formats import BadRow

    for one in rows:
        if isinstance(one, BadRow):
            raise RecordError(f"{one}. Nothing is written; --on-bad skip leaves such rows out")
        yield one


@contextmanager
def _progress(source: Path, what: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the file, where there is a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    screen = console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=quiet or not screen.is_terminal) as bars:
        task = bars.add_task(what, total=source.stat().st_size if source.is_file() else None)
        yield lambda done: bars.advance(task, done)


def _tell(report: RowReport, losses: Losses | None = None, advice: str = "", *, as_json: bool) -> None:
    from data_prep.formats.paths import REMEDY

    bad = sum(report.bad.values())
    if as_json:
        write_json(
            {
                "rows": report.good + bad,
                "good": report.good,
                "bad": report.bad,
                "splits": report.splits,
                "bad_rows": report.shown,
                "losses": losses,
            }
        )
        return
    screen = console()
    for row in report.shown:
        screen.print(printable(str(row), keep=""))
    told = ", ".join(f"{name}: {count}" for name, count in report.bad.most_common())
    told = f" ({told})" if told else ""
    screen.print(printable(f"{report.good + bad} rows: {report.good} good, {bad} wrong{told}"))
    for line in _loss_lines(losses) if losses is not None else ():
        screen.print(printable(line, keep=""))
    if report.gone:
        told = f"{len(report.gone)} of the first recordings are not there, such as {report.gone[0]}; {REMEDY}"
        screen.print(printable(f"{told}; --check-files looks for all", keep=""))
    if advice:
        screen.print(advice)


def _loss_lines(losses: Losses) -> Iterator[str]:
    yield f"{losses.written} written for {losses.target}" + ("" if losses else "; nothing is lost")
    for reason, count in losses.refused.most_common():
        yield f"  left out, {count}: {reason}"
    for line in losses.shown:
        yield f"    {line}"
    for name, count in losses.fields.most_common():
        yield f"  lost in {count} rows: {name}"
