"""`alm data copies` and `alm data leaks`: recordings that occur twice, and benchmarks' among those of training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from data_prep.copies.leaks import LeakReport
    from data_prep.copies.search import CopyReport

Work = Annotated[
    Path | None,
    typer.Option("--work", help="Folder for the index, to go on with later; OUT with `.work`.", show_default=False),
]
Score = Annotated[float, typer.Option("--least-score", min=4.0, help="-log10 of the chance of an accident.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be compared; read no recording.")]
_HINT = "Recordings without any landmark (silence, steady noise) are compared by their samples alone."


@contextmanager
def _bar(text: str, total: int) -> Iterator[Callable[[int], None]]:
    from data_prep.steps import progress

    with progress() as bars:
        task = bars.add_task(text, total=total)
        yield lambda count: bars.advance(task, count)


def copies(
    places: Annotated[list[Path], typer.Argument(help="Files of records, or folders.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write copies.json.", show_default=False)] = None,
    work: Work = None,
    least_score: Score = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    dry_run: DryRun = False,
) -> None:
    """Find recordings that occur more than once: the same samples, or re-encoded, re-pitched, cut or mixed copies.

    Writes copies.json beside the first place, where `alm data inspect` and `alm data report` find it. Interrupt it
    at any time: the next run goes on.

    \b
    alm data copies corpus
    alm data copies train.jsonl test.jsonl --out copies.json --workers 4
    """
    from data_prep.atomic import write_text
    from data_prep.cli import guarded
    from data_prep.copies.matching import CopyLimits
    from data_prep.copies.recordings import recordings_of
    from data_prep.copies.search import copies_among
    from data_prep.steps import console

    with guarded():
        found = recordings_of(*places)
        target = out or _beside(places[0], "copies.json")
        if dry_run:
            console().print(f"{len(found)} recordings would be compared; {target} would be written")
            return
        with _bar("recordings, twice each", 2 * len(found)) as advance:
            report = copies_among(found, _work(work, target), CopyLimits(least_score), advance, workers)
        write_text(target, json.dumps(report.to_json(), ensure_ascii=False, indent=1) + "\n")
        for line in _copies_told(report):
            console().print(line, highlight=False, markup=False)
        console().print(f"written: {target}", highlight=False, markup=False)


def leaks(
    training: Annotated[list[Path], typer.Argument(help="Training records or recordings.", show_default=False)],
    against: Annotated[
        list[str],
        typer.Option("--against", metavar="NAME=PLACE", help="Benchmark: a file of records, or a folder."),
    ],
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="NAME", help="Benchmark whose items may be trained on.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write leaks.json.", show_default=False)] = None,
    clean: Annotated[
        Path | None,
        typer.Option("--clean", help="Write the training records without those that leak.", show_default=False),
    ] = None,
    work: Work = None,
    least_score: Score = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    dry_run: DryRun = False,
) -> None:
    """Refuse training recordings that share sound with a benchmark's; exit code 2 when there are any.

    \b
    alm data leaks train.jsonl --against esc50=ESC-50/audio
    alm data leaks train.jsonl --against esc50=ESC-50/audio --clean clean.jsonl
    alm data leaks train.jsonl --against esc50=ESC-50/audio --allow esc50
    """
    from data_prep.atomic import write_text
    from data_prep.cli import guarded
    from data_prep.copies.leaks import check_leaks
    from data_prep.copies.matching import CopyLimits
    from data_prep.copies.recordings import recordings_of
    from data_prep.steps import console

    with guarded():
        found = recordings_of(*training)
        benchmarks = {name: recordings_of(place) for name, place in map(_named, against)}
        target = out or _beside(training[0], "leaks.json")
        total = sum(len(items) + len(found) for items in benchmarks.values())
        if dry_run:
            console().print(f"{total} recordings would be read; {target} would be written")
            return
        with _bar("recordings", total) as advance:
            report = check_leaks(
                found, benchmarks, _work(work, target),
                allow=allow or (), limits=CopyLimits(least_score), advance=advance, workers=workers,
            )  # fmt: skip
        write_text(target, json.dumps(report.to_json(), ensure_ascii=False, indent=1) + "\n")
        console().print(f"written: {target}", highlight=False, markup=False)
        if clean:
            _write_clean(report, training, clean)
        else:
            report.refuse()
        console().print("no leak that is not allowed", highlight=False)


def _write_clean(report: LeakReport, training: list[Path], clean: Path) -> None:
    """The records of one file, without those that use a leaking recording."""
    from data_prep.errors import CorpusError
    from data_prep.records import read_records, write_records
    from data_prep.steps import console

    if len(training) != 1 or not training[0].is_file():
        raise CorpusError(f"--clean {clean}: needs one file of training records; give one file, not a folder")
    if clean.resolve().parent != training[0].resolve().parent:
        raise CorpusError(f"--clean {clean}: must lie in the folder of {training[0]}, or its paths would not hold")
    rows = list(read_records(training[0], absolute=False))
    kept = [row for row in rows if not report.leaking.intersection(row.audios)]
    write_records(kept, clean)
    console().print(f"{clean}: {len(kept)} records, {len(rows) - len(kept)} left out", highlight=False, markup=False)


def _copies_told(report: CopyReport) -> Iterator[str]:
    same = sum(pair.same_samples for pair in report.pairs)
    yield f"{report.recordings} recordings, {report.seconds / 3600:.2f} h"
    yield f"{same} pairs with the same samples, {len(report.pairs) - same} near copies, {len(report.groups)} groups"
    yield f"{len(report.across_splits)} pairs lie on two sides of a split"
    if report.unreadable:
        name, reason = next(iter(report.unreadable.items()))
        yield f"{len(report.unreadable)} recordings cannot be read, such as {name}: {reason}"
    yield _HINT


def _named(text: str) -> tuple[str, Path]:
    from data_prep.errors import CorpusError

    name, equals, place = text.partition("=")
    if not (name and equals and place) or not name.replace("-", "").replace("_", "").isalnum():
        raise CorpusError(f"--against {text[:80]!r}: must be NAME=PLACE, the name of letters, digits, - and _")
    return name, Path(place)


def _beside(place: Path, name: str) -> Path:
    return (place if place.is_dir() else place.parent) / name


def _work(given: Path | None, target: Path) -> Path:
    return given or target.with_name(target.name + ".work")
