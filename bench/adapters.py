"""Adapters side by side on the corpus's test split through `alm eval`: `python -m bench.adapters NAME=FOLDER ...`.

The first name is what the others are compared with. A name that is given more than once stands for several seeds:
its figures are their mean. Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import typer

from bench.harness import answered, command_block, headline, made
from eval.harness.compare import scored
from eval.harness.runs import read_run
from eval.harness.summary import read_summary
from eval.metrics import mean as estimated
from eval.results import between, markdown_table, shown
from training.score import named_adapter

SETS = ("choice", "presence", "order", "count", "label-open", "caption", "transcript")
HEARD = "heard"
TITLE = "Adapters side by side"
Adapters = Mapping[str, Sequence[Path]]


def named(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Folders of each name; raises as `named_adapter` does."""
    found: dict[str, list[Path]] = {}
    for name, folder in map(named_adapter, texts):
        found.setdefault(name, []).append(folder)
    return found


def runs_of(adapters: Adapters, out: Path, name: str, of: str) -> list[Path]:
    """Folders of the runs of a set with each seed of a name."""
    return [out / f"{of}-{seed}" / name for seed in range(1, len(adapters[of]) + 1)]


def ask_all(adapters: Adapters, out: Path, sets: Mapping[str, Path], options: Sequence[str]) -> None:
    """Ask every adapter every set."""
    for name, bench in sets.items():
        for of, folders in adapters.items():
            for folder, run in zip(folders, runs_of(adapters, out, name, of), strict=True):
                answered(bench, run, "--adapter", folder, "--condition", HEARD, *options)


def differences(mine: Sequence[Path], other: Sequence[Path]) -> Any:
    """`mine` minus `other`, right answers of an item averaged over seeds; None where items are not graded alone."""
    first, second = (_right(runs) for runs in (mine, other))
    items = [i for i in read_run(mine[0]).prepared.items if i.id in first and i.id in second]
    if not items:
        return None
    return estimated([first[i.id] - second[i.id] for i in items], [i.cluster for i in items])


def _right(runs: Sequence[Path]) -> dict[str, float]:
    """Share of seeds by which each item was answered right, by the robust rule."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for key, one in scored(read_run(run), HEARD).items():
            if one.robust is not None:
                found.setdefault(key, []).append(float(one.robust))
    return {key: mean(values) for key, values in found.items() if len(values) == len(runs)}


def rows_of(adapters: Adapters, out: Path, names: Sequence[str]) -> Iterator[list[Any]]:
    """A line for each set: its measure, each name's figure, and how each but the first differs from it."""
    first, *others = adapters
    for name in names:
        runs = {of: runs_of(adapters, out, name, of) for of in adapters}
        summaries = {of: [read_summary(run) for run in own] for of, own in runs.items()}
        measure = headline(summaries[first][0], HEARD)
        if measure is None:
            continue
        less = "" if measure["better"] > 0 else " (less is better)"
        line = [name, summaries[first][0]["run"]["bench"]["items"], f"{measure['label']}{less}"]
        for own in summaries.values():
            line.append(_figure([m["value"] for m in (headline(s, HEARD) for s in own) if m], measure["unit"]))
        for of in others:
            found = differences(runs[of], runs[first])
            spread = "" if found is None else between(found.source_low, found.source_high)
            line.append("" if found is None else f"{100 * found.value:+.1f} ({spread})")
        yield line


def _figure(values: Sequence[float], unit: str) -> str:
    spread = f" ± {shown(stdev(values), unit)}" if len(values) > 1 else ""
    return shown(mean(values), unit) + spread


def page(adapters: Adapters, out: Path, names: Sequence[str], title: str, command: str) -> str:
    """Markdown."""
    first, *others = adapters
    header = ("set", "questions", "measure", *adapters, *(f"{o} minus {first}" for o in others))
    seeds = ", ".join(f"{of}: {len(folders)}" for of, folders in adapters.items())
    return "\n".join([
        f"# {title}",
        "",
        "Recordings of packages that training never saw, through `alm eval run --condition heard`; the robust rule.",
        f"Seeds: {seeds}; ± is their standard deviation. Differences are in points, paired by question, with 95 %",
        "intervals over whole source packages; sets that are measured as a whole have none.",
        "",
        *markdown_table(header, list(rows_of(adapters, out, names))),
        "",
        "Made by",
        *command_block(command),
    ])  # fmt: skip


def main(
    adapters: Annotated[list[str], typer.Argument(help="NAME=FOLDER; the first is compared with.", show_default=False)],
    corpus: Annotated[Path, typer.Option(help="Folder that `python -m data_prep fetch` filled.", exists=True)],
    to: Annotated[Path, typer.Option(help="Page to write.")],
    title: Annotated[str, typer.Option(help="Of the page.")] = TITLE,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/adapters"),
    prepared: Annotated[Path, typer.Option(help="Folder of the questions.")] = Path("runs/harness/prepared"),
    only: Annotated[list[str] | None, typer.Option("--set", help="Only this set; may be repeated.")] = None,
    evidence: Annotated[bool, typer.Option(help="Give events and transcript as text.")] = True,
    rows: Annotated[int, typer.Option(min=1, help="Answers that are written in step.")] = 64,
) -> None:
    """Ask all adapters all sets, and write the page."""
    found, wanted = named(adapters), only or list(SETS)
    sets = {name: folder for name, folder in made(corpus, prepared).items() if name in wanted}
    options = ("--rows", str(rows), "--evidence" if evidence else "--no-evidence")
    ask_all(found, out, sets, options)
    told = [] if evidence else ["--no-evidence"]
    told += [f"--title {shlex.quote(title)}"] if title != TITLE else []
    where = [f"--prepared {prepared}", f"--out {out}", f"--to {to}"]
    given = [*adapters, "--corpus CORPUS", *(f"--set {s}" for s in only or ()), *told, *where]
    to.write_text(page(found, out, list(sets), title, f"python -m bench.adapters {' '.join(given)}"), encoding="utf-8")
    sys.stdout.write(to.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
