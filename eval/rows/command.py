"""`alm eval rows`: instruction rows as prepared benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alm.terminal import console, printable, progress_bars
from eval.harness.guarding import guarded


def rows(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of instruction rows, one a line, all in one folder.", exists=True, dir_okay=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder in which one folder for each kind of answer is made.")],
    split: Annotated[str, typer.Option(help="Rows of this split.")] = "test",
    most: Annotated[int, typer.Option(min=1, help="Questions of each task at most.")] = 40,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given again.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other rows.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Turn held-out instruction rows into prepared benchmarks: free answers, graded by what the rows know.

    Rows of `alm data make` are graded by task: choices, counts, times within a tolerance, spans and event tables by
    overlap, named sounds by F1, words and transcripts. Rows of other origin go by the shape of their answer: options,
    yes or no, a few words. What no rule can grade is left out and told. Other formats become rows by
    `alm data convert`.

    \b
    alm eval rows corpus/mix-test-store.jsonl corpus/mix-test-composed.jsonl --out prepared/mix
    alm eval run --bench prepared/mix/seconds --model tiny --out runs/seconds
    """
    with guarded():
        from eval.rows.making import RowsOrder, lines, make

        with progress_bars(quiet=quiet) as bars:
            bar = bars.add_task("hashing recordings", total=None, note="")
            order = RowsOrder(tuple(files), out, split, most, tuple(task or ()), seed)
            made = make(order, lambda done, total: bars.update(bar, total=total, completed=done))
        for line in lines(made.lost):
            console().print(printable(line), highlight=False)
        for one in made.sets:
            typer.echo(f"{one.folder}  {len(one.items)} questions, hash {one.hash}")
