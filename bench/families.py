"""Adapters task by task on held-out instruction rows, free answers graded: `python -m bench.families NAME=FOLDER ...`.

The questions are what `alm eval rows` made. The first name is what the last is compared with; the last is also asked
with each question's recordings exchanged for another question's, which shows what its answers owe to hearing. Stopped
at any moment, the same command goes on.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.adapters import HEARD
from bench.harness import answered, command_block
from eval.harness.compare import scored
from eval.harness.items import ChoiceWant, Item
from eval.harness.prepared import CARD
from eval.harness.runs import read_run
from eval.metrics import mean
from eval.results import between, markdown_table
from training.config import load_config
from training.score import named_adapter

SHUFFLED = "shuffled"
RULES = {
    "choice": "option", "count": "number", "seconds": "time", "spans": "overlap", "table": "segments",
    "sounds": "names", "words": "words", "said": "words right",
}  # fmt: skip
"""What an answer of each set is graded by, in a word."""


@dataclass(frozen=True)
class Asked:
    """One question with the grade, 0 to 1, that each name's answer got."""

    item: Item
    set: str
    grades: Mapping[str, float]

    @property
    def chance(self) -> float | None:
        want = self.item.want
        return 1 / len(want.choices) if isinstance(want, ChoiceWant) else None


def ask_all(adapters: Mapping[str, Path], sets: Mapping[str, Path], out: Path, rows: int) -> None:
    """Ask every adapter every set, and the last one the shuffled sets, too."""
    last = list(adapters)[-1]
    for of, folder in adapters.items():
        conditions = ("--condition", HEARD, *(("--condition", SHUFFLED) if of == last else ()))
        for name, bench in sets.items():
            answered(bench, out / of / name, "--adapter", folder, "--rows", str(rows), *conditions)


def graded(adapters: Sequence[str], sets: Sequence[str], out: Path) -> list[Asked]:
    """Questions that are graded one by one; those of sets with figures over all answers alone (captions) are none."""
    found = []
    for name in sets:
        own = {of: scored(read_run(out / of / name), HEARD) for of in adapters}
        own[SHUFFLED] = scored(read_run(out / adapters[-1] / name), SHUFFLED)
        for item in read_run(out / adapters[0] / name).prepared.items:
            grades = {of: one[item.id].robust for of, one in own.items() if item.id in one}
            if len(grades) == len(own) and all(g is not None for g in grades.values()):
                found.append(Asked(item, name, {of: float(g or 0.0) for of, g in grades.items()}))
    return found


def lines(asked: Sequence[Asked], adapters: Sequence[str], known: Sequence[str]) -> Iterator[list[Any]]:
    """A line for each task and kind of answer, then known and new ones together."""
    groups: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in asked:
        groups[one.item.tags["task"], one.set].append(one)
    for (task, name), own in sorted(groups.items()):
        new = " (new)" if known and task not in known else ""
        yield [f"`{task}`{new}", RULES.get(name, name), *_figures(own, adapters)]
    for title, inside in (("all known", True), ("all new", False)):
        own = [a for a in asked if (a.item.tags["task"] in known) == inside]
        if known and own:
            yield [f"**{title}**", "", *_figures(own, adapters)]


def _figures(own: Sequence[Asked], adapters: Sequence[str]) -> list[Any]:
    chances = [a.chance for a in own]
    chance = "" if None in chances else _share(c for c in chances if c is not None)
    means = [_share(a.grades[of] for a in own) for of in adapters]
    first, last = adapters[0], adapters[-1]
    return [len(own), chance, *means, _change(own, last, first), _share(a.grades[SHUFFLED] for a in own),
            _change(own, last, SHUFFLED)]  # fmt: skip


def _share(values: Any) -> str:
    kept = list(values)
    return f"{100 * sum(kept) / len(kept):.1f}"


def _change(own: Sequence[Asked], one: str, other: str) -> str:
    found = mean([a.grades[one] - a.grades[other] for a in own], [a.item.cluster for a in own])
    return f"{100 * found.value:+.1f} ({between(found.source_low, found.source_high)})"


def page(asked: Sequence[Asked], adapters: Sequence[str], known: Sequence[str], commands: Sequence[str]) -> str:
    """Markdown."""
    first, last = adapters[0], adapters[-1]
    header = (
        "task", "graded by", "questions", "chance", *adapters, f"{last} minus {first} (95 %)",
        f"{last}, other recordings", "heard minus other (95 %)",
    )  # fmt: skip
    return "\n".join([
        "# Free answers, task by task",
        "",
        "Test rows of the mix, recordings of packages that training never saw, asked through `alm eval run`; answers",
        "are written freely and graded, in per cent: an option, number or time (within its tolerance) is right or",
        "wrong; stretches of time and tables are worth their overlap (F1) with the true ones; named sounds the F1 of",
        "the names; transcripts the share of words that are right. \"Other recordings\" asks the same with recordings",
        "of another question. (new): a task that the first adapter was not trained on. In brackets 95 % intervals over",
        "source packages, those of a composed scene together.",
        "",
        *markdown_table(header, list(lines(asked, adapters, known))),
        "",
        "Made by",
        *command_block(*commands),
    ])  # fmt: skip


def main(
    adapters: Annotated[list[str], typer.Argument(help="NAME=FOLDER; the first is compared with.", show_default=False)],
    prepared: Annotated[Path, typer.Option(help="Folder that `alm eval rows --out` filled.", exists=True)],
    to: Annotated[Path, typer.Option(help="Page to write.")],
    before: Annotated[
        Path | None, typer.Option(help="Configuration that the first adapter was trained with: tells new tasks.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/rows"),
    rows: Annotated[int, typer.Option(min=1, help="Answers that are written in step.")] = 64,
    made_by: Annotated[str, typer.Option(help="How the questions were made, for the page.")] = "",
) -> None:
    """Ask all adapters all questions, and write the page."""
    found = dict(map(named_adapter, adapters))
    sets = {p.parent.name: p.parent for p in sorted(prepared.glob(f"*/{CARD}"))}
    known = sorted({t for s in load_config(before).stages for t in s.tasks}) if before else []
    ask_all(found, sets, out, rows)
    told = f" --before {before}" if before else ""
    command = f"python -m bench.families {' '.join(adapters)} --prepared {prepared}{told} --out {out} --to {to}"
    text = page(graded(list(found), list(sets), out), list(found), known, [c for c in (made_by, command) if c])
    to.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    typer.run(main)
