"""The same questions under several conditions: with the recording, with evidence, without it, with another one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eval.answering import Prompt, Question
from eval.items import Item
from eval.metrics import argmax, share
from eval.results import Figure
from eval.session import Session

CONDITIONS = {
    "heard": "recording",
    "evidence": "recording and evidence",
    "alone": "no recording (text-only control)",
    "shuffled": "another recording (control)",
}


@dataclass(frozen=True)
class Style:
    """How the answers of one kind of question are scored."""

    candidates: Callable[[Item], list[str]]
    """One answer for each option, to compare by likelihood."""
    read: Callable[[str, Item], int | None]
    """Which option a free answer means."""
    closed: bool = True
    """Whether candidates are whole answers or beginnings."""
    max_new_tokens: int = 24


@dataclass
class Column:
    """All answers under one condition, in one way of answering."""

    key: str
    label: str
    chosen: list[int | None]
    answers: list[str] | None = None
    scores: list[list[float]] | None = None
    """Log-likelihood of each option of each question."""

    def right(self, items: Sequence[Item]) -> list[bool]:
        return [c == i.gold for c, i in zip(self.chosen, items, strict=True)]

    def figure(self, items: Sequence[Item]) -> Figure:
        """Accuracy; answers that name no option are wrong and reported."""
        note = ""
        if self.answers is not None:
            unread = sum(c is None for c in self.chosen) / max(1, len(items))
            note = f"{100 * unread:.0f} % name no option"
        return Figure(self.key, self.label, share(self.right(items), [i.source for i in items]), note=note)


def swapped(items: Sequence[Item], seed: int) -> list[Question]:
    """Each question with the recordings of another item of another class and other recordings."""
    rng = random.Random(f"swap-{seed}")
    order = rng.sample(range(len(items)), len(items))
    found = []
    for place, item in enumerate(items):
        donors = (items[order[(place + step) % len(items)]] for step in range(len(items)))
        donor = next((d for d in donors if d.kind != item.kind and not set(d.sounds) & set(item.sounds)), None)
        donor = donor or items[(place + 1) % len(items)]
        found.append(replace(item.question, sounds=donor.sounds))
    return found


def questions_of(items: Sequence[Item], condition: str, seed: int) -> list[Question]:
    """The questions as one condition asks them."""
    if condition == "alone":
        return [replace(i.question, sounds=()) for i in items]
    return swapped(items, seed) if condition == "shuffled" else [i.question for i in items]


@dataclass(frozen=True)
class Asked:
    """Questions made ready under one condition, to be answered in one way or another."""

    session: Session
    items: Sequence[Item]
    condition: str
    prompts: list[Prompt]

    @property
    def label(self) -> str:
        return CONDITIONS[self.condition]

    def likelihood(self, style: Style) -> Column:
        """The likeliest option."""
        candidates = [style.candidates(i) for i in self.items]
        with self.session.progress(f"likelihood, {self.label[:20]}", len(self.items)) as advance:
            scored = self.session.answerer.loglik(self.prompts, candidates, style.closed, advance)
        scores = [[s for s, _ in row] for row in scored]
        label = f"{self.label}, likeliest option"
        return Column(f"{self.condition}_likelihood", label, [argmax(row) for row in scores], scores=scores)

    def said(self, style: Style) -> Column:
        """The option that the free answer names."""
        with self.session.progress(f"answers, {self.label[:24]}", len(self.items)) as advance:
            answers = self.session.answerer.generate(self.prompts, style.max_new_tokens, advance)
        chosen = [style.read(a, i) for a, i in zip(answers, self.items, strict=True)]
        return Column(f"{self.condition}_said", f"{self.label}, free answer", chosen, answers)


def ask(session: Session, items: Sequence[Item], condition: str) -> Asked:
    """Hear what a condition needs and make its prompts."""
    questions = questions_of(items, condition, session.options.seed)
    return Asked(session, items, condition, prompts_of(session, questions, condition))


def prompts_of(session: Session, questions: Sequence[Question], condition: str) -> list[Prompt]:
    """Prompts of questions, with evidence in the condition of that name."""
    label = CONDITIONS[condition]
    with session.progress(f"listening, {label[:24]}", len(questions)) as advance:
        session.answerer.listen(questions, advance)
    prompts = []
    with session.progress(f"prompts, {label[:26]}", len(questions)) as advance:
        for question in questions:
            prompts.append(session.answerer.prompt(question, condition == "evidence"))
            advance(1)
    return prompts


def all_columns(session: Session, items: Sequence[Item], style: Style) -> list[Column]:
    """Every condition that a table of accuracy shows."""
    columns = []
    for condition in ("heard", "evidence"):
        asked = ask(session, items, condition)
        columns += [asked.likelihood(style), asked.said(style)]
    columns += [ask(session, items, c).likelihood(style) for c in ("alone", "shuffled")]
    named = {c.key: c for c in columns}
    alone = named["alone_likelihood"]
    return [*columns, *(relative(named[f"{c}_likelihood"], alone) for c in ("heard", "evidence"))]


def relative(column: Column, alone: Column) -> Column:
    """The option whose likelihood the recording raises most.

    What the language model finds likely without any recording is taken off, as in pointwise mutual information scoring
    (Holtzman et al. 2021): short and common options have no advantage.
    """
    pairs = zip(column.scores or [], alone.scores or [], strict=True)
    scores = [[a - b for a, b in zip(own, base, strict=True)] for own, base in pairs]
    key, label = column.key.replace("likelihood", "relative"), column.label.split(",")[0]
    return Column(key, f"{label}, option made likelier most", [argmax(row) for row in scores], scores=scores)


def item_rows(items: Sequence[Item], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """One row a question: what was asked, what is right, what each column chose and said."""
    rows = []
    for index, item in enumerate(items):
        row: dict[str, Any] = {
            "id": item.id, "question": item.question.text, "gold": item.gold, "kind": item.kind, "source": item.source,
            **item.facts,
        }  # fmt: skip
        row["chosen"] = {c.key: c.chosen[index] for c in columns}
        row["answers"] = {c.key: c.answers[index] for c in columns if c.answers is not None}
        rows.append(row)
    return rows
