"""`alm data tasks`, `alm data measure` and `alm data make`: closed-ended rows out of samples."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from alm.terminal import console, printable, progress_bars, write_json

if TYPE_CHECKING:
    from data_prep.makers import MakeReport

SampleFile = Annotated[
    Path,
    typer.Argument(
        metavar="SAMPLES",
        help="samples.jsonl as `alm data read --out` writes it, or a folder: an audio store of this project.",
        show_default=False,
    ),
]
T = TypeVar("T")
Split = Literal["train", "dev", "test"]


def tasks(as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False) -> None:
    """List the tasks that rows can be made of, with their families and shares."""
    from data_prep.makers import TASKS

    rows = [
        {"name": one.name, "family": one.family, "about": one.about, "share": one.share, "balanced_by": one.by}
        for one in TASKS.values()
    ]
    if as_json:
        write_json(rows, indent=2)
        return
    for row in rows:
        sys.stdout.write(f"{row['family']:<11} {row['name']:<16} {row['share']:>4g}  {row['about']}\n")


def make(
    source: SampleFile,
    out: Annotated[Path, typer.Option("--out", help="File of rows to write.", show_default=False)],
    split: Annotated[
        Split, typer.Option("--split", help="Whose samples; the others only tell what train has.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="Another seed makes other rows.")] = 0,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="YAML file: which tasks, how many rows, negatives, tags.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", min=0, help="How many rows in all; instead of the plan's.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Make the rows and count them; write nothing.")] = False,
) -> None:
    """Make closed-ended rows of every task that the samples allow.

    \b
    alm data make corpus --out rows.jsonl --rows 10000
    alm data make samples.jsonl --out rows.jsonl --split test --plan plan.yaml
    """
    import dataclasses

    from data_prep.cli import guarded
    from data_prep.makers import MakeReport, TaskPlan, make_records, read_plan
    from data_prep.records import beside, write_records
    from data_prep.sample_files import samples_at

    with guarded():
        wanted = read_plan(plan) if plan is not None else TaskPlan()
        wanted = wanted if rows is None else dataclasses.replace(wanted, rows=rows)
        report = MakeReport()
        made = (beside(r, out.parent) for r in make_records(samples_at(source), wanted, seed, split, report))
        with _counted(made, f"{split} rows", wanted.rows or None) as rows_made:
            total = sum(1 for _ in rows_made) if dry_run else write_records(rows_made, out)
    _show(report, total, "" if dry_run else str(out))


def measure(
    source: SampleFile,
    out: Annotated[Path, typer.Option("--out", help="File of samples to write.", show_default=False)],
) -> None:
    """Measure pitch, level and speed of speech and how sounds sound, and write the samples with it.

    Interrupt it at any time: OUT.measured keeps what was measured, and the next run goes on.
    """
    from data_prep.atomic import write_text
    from data_prep.cli import guarded
    from data_prep.makers.measure import MeasureReport
    from data_prep.makers.measure import measure as measured
    from data_prep.sample_files import samples_at
    from data_prep.samples import to_json

    with guarded():
        report = MeasureReport()
        found = measured(samples_at(source), out.with_name(out.name + ".measured"), report)
        with _counted(found, "samples", None) as samples:
            lines = [json.dumps(to_json(one), ensure_ascii=False) + "\n" for one in samples]
        write_text(out, "".join(lines))
    lost = sum(report.lost.values())
    console().print(f"{len(lines)} samples: {report.measured} measured, {report.kept} known, {lost} could not be read")


@contextmanager
def _counted(items: Iterable[T], what: str, total: int | None) -> Iterator[Iterator[T]]:
    """The items, with a bar that counts them."""
    with progress_bars() as bar:
        task = bar.add_task(what, total=total, note="")

        def counted() -> Iterator[T]:
            for item in items:
                yield item
                bar.advance(task)

        yield counted()


def _show(report: MakeReport, total: int, where: str) -> None:
    """What was made, by task; what the questions did not fit; what was lost."""
    out = console()
    for name, count in sorted(report.rows.items()):
        unfit = f" ({report.unfit[name]} did not fit)" if report.unfit[name] else ""
        out.print(f"{name:<16} {count:>7}{unfit}")
    for line in report.shown:
        out.print(printable(line))
    written = f", written to {printable(where)}" if where else "; nothing is written"
    out.print(f"{total} rows of {report.samples} samples{written}")
