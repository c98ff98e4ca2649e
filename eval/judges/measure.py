"""How good a judge is: `python -m eval.judges.measure [FOLDER]` lets it grade invented answers whose grades are known.

Few and plain, so that a judge that fails here is no judge; one that passes may still fail on hard answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.harness.answers import Answered
from eval.harness.asking import Asked
from eval.harness.items import Item, JudgeSpec, Message, OpenWant
from eval.harness.models import Model
from eval.judges.agreement import Agreement, agreement
from eval.judges.asking import questions
from eval.judges.prompting import judge_prompt

ITEMS = Path(__file__).parents[1] / "data" / "judge_check.jsonl"


@dataclass(frozen=True)
class Known:
    """An item with an answer and the grade that it deserves."""

    item: Item
    answered: Answered
    grade: float
    prompt: str


def known_items() -> list[Known]:
    """Invented ones."""
    found = []
    for number, line in enumerate(ITEMS.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        spec = JudgeSpec(prompt=row["prompt"], scale=judge_prompt(row["prompt"]).scale)
        want = OpenWant(references=(row["reference"],), context=row["context"], judge=spec)
        item = Item(id=f"{number:03d}", messages=(Message(role="user", content=row["question"]),), want=want)
        answered = Answered(id=item.id, key=item.id, text=row["answer"])
        found.append(Known(item, answered, float(row["grade"]), row["prompt"]))
    return found


@dataclass(frozen=True)
class Measured:
    """What a judge makes of the items of one prompt."""

    prompt: str
    items: int
    read: int
    """Replies with a grade."""
    agreement: Agreement | None
    """Over those; None where there is none."""


def measured(judge: Model, known: Sequence[Known]) -> list[Measured]:
    """By prompt."""
    grades = dict(_grades(judge, known))
    found = []
    for name in sorted({k.prompt for k in known}):
        own = [k for k in known if k.prompt == name]
        person = {k.item.id: k.grade for k in own}
        given = {i: grades[i] for i in person if i in grades}
        found.append(Measured(name, len(own), len(given), agreement(given, person) if given else None))
    return found


def _grades(judge: Model, known: Sequence[Known]) -> list[tuple[str, float]]:
    asked = {k.item.id: questions(k.item, k.answered)[0] for k in known}
    wire = [
        Asked(k.item, "judge", k.item.id, ({"role": "user", "content": q.prompt},), (), q.max_tokens, q.temperature, 0)
        for k in known
        for q in [asked[k.item.id]]
    ]
    replies = [(a.id, asked[a.id].read(a.text)) for a in judge.answers(wire) if not a.error]
    return [(name, grade) for name, grade in replies if grade is not None]


def table(rows: Sequence[Measured]) -> str:
    """Markdown."""
    lines = ["| prompt | answers | grades read | same | alpha | right order | too high by |", f"|{'---|' * 7}"]
    for row in rows:
        found = row.agreement
        cells = ["-"] * 4
        if found:
            alpha, order = (f"{v:.2f}" if v is not None else "-" for v in (found.alpha, found.order))
            cells = [f"{found.same:.0%}", alpha, order, f"{found.bias:+.2f}"]
        lines.append(f"| {row.prompt} | {row.items} | {row.read} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(folder: Path | None = None) -> None:
    from alm import weights
    from eval.judges.folder import FolderJudge

    judge = FolderJudge(folder or weights.ensure("tiny").llm)
    sys.stdout.write(f"{judge.name} {judge.identity['sha256']}\n\n{table(measured(judge, known_items()))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
