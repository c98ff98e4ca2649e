"""The score stage: what every answer is worth, answers that need no model beside them; loads no model.

Rows are always taken in the order of their ids, so that the order of files, shards and batches changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from alm.errors import ConfigError, RecordError
from eval.harness.answers import Answered, Judged
from eval.harness.items import ChoiceWant, Item, LabelWant
from eval.harness.runs import Run
from eval.harness.store import replace_records
from eval.kinds import KINDS
from eval.kinds.base import Kind, Row, Surroundings

JudgeMissing = Literal["wait", "zero"]
Kinds = Mapping[str, Kind]
T = TypeVar("T")
SEEN_DIGITS = 16
"""Of a SHA-256 are enough to tell a recording."""


@dataclass(frozen=True)
class Scores:
    """Everything about one condition."""

    condition: str
    rows: tuple[Row, ...]
    """One for each item of the run, in the order of ids."""

    @property
    def by_kind(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.item.want.kind].append(row)
        return dict(sorted(found.items()))

    @property
    def unjudged(self) -> int:
        """Answers that wait for a grade; those that were said to be worth nothing without one do not."""
        return sum(waits(r) for r in self.rows)

    @property
    def missing(self) -> int:
        return sum(r.scored.status == "missing" for r in self.rows)


def waits(row: Row) -> bool:
    """Whether an answer has no figure because a grade is missing."""
    return row.scored.status == "unjudged" and row.scored.robust is None


def score_condition(
    run: Run,
    condition_name: str,
    answers: Mapping[str, Answered],
    judged: Mapping[str, Sequence[Judged]],
    judge_missing: JudgeMissing = "wait",
    kinds: Kinds = KINDS,
) -> Scores:
    """Score one condition of a run and write `score.CONDITION.jsonl`.

    Args:
        answers: the answer of each item that has one.
        judged: the grades of each answer by id; only those that are about the answer of today.
        judge_missing: whether an answer without a grade waits for one, or is worth nothing.
    """
    items = run.prepared.items[: run.card.limit]
    rows = scored_rows(items, answers, judged, run.prepared.around, judge_missing, kinds)
    scores = Scores(condition_name, tuple(rows))
    replace_records(run.place("score", condition_name), (r.scored for r in scores.rows))
    return scores


def scored_rows(
    items: Iterable[Item],
    answers: Mapping[str, Answered],
    judged: Mapping[str, Sequence[Judged]],
    around: Surroundings,
    judge_missing: JudgeMissing = "wait",
    kinds: Kinds = KINDS,
) -> list[Row]:
    """A row for each item, in the order of ids."""
    rows = []
    for item in sorted(items, key=lambda i: i.id):
        answered = answers.get(item.id)
        grades = sorted(judged.get(item.id, ()), key=lambda j: (j.rater, j.order, j.key))
        scored = kind_of(item, kinds).score(item, answered, grades, around)
        if judge_missing == "zero" and scored.status == "unjudged":
            scored = scored.model_copy(update={"official": 0.0, "robust": 0.0})
        rows.append(Row(item, answered, scored))
    return rows


def kind_of(item: Item, kinds: Kinds = KINDS) -> Kind:
    """
    Raises:
        ConfigError: there is no such kind of task here.
    """
    if (kind := kinds.get(item.want.kind)) is None:
        known = ", ".join(kinds)
        raise ConfigError(f"item {item.id!r}: nothing here scores the kind {item.want.kind!r}; known: {known}")
    return kind


def baseline_rows(rows: Sequence[Row], around: Surroundings, kinds: Kinds = KINDS) -> dict[str, list[Row]]:
    """What answers that need no model would be worth, by their names; rows of one kind.

    A baseline is there only if it answers every row, and if no judge is needed for it.
    """
    kind, common = kind_of(rows[0].item, kinds), majority([r.item for r in rows])
    found: dict[str, list[Row]] = defaultdict(list)
    for item in (r.item for r in rows):
        told = {"majority": common[item.id]} if item.id in common else {}
        known: dict[str, Row] = {}  # the commonest answer is often the first
        for name, text in {**told, **kind.baselines(item, around)}.items():
            if text not in known:
                answered = Answered(id=item.id, key="baseline", text=text, finish="stop")
                known[text] = Row(item, answered, kind.score(item, answered, (), around))
            found[name].append(known[text])
    whole = {name: own for name, own in sorted(found.items()) if len(own) == len(rows)}
    return {name: own for name, own in whole.items() if not any(r.scored.status == "unjudged" for r in own)}


def majority(items: Sequence[Item]) -> dict[str, str]:
    """The answer that is right most often, given to every item: a place among choices, or a label."""
    places = Counter(i.want.answer for i in items if isinstance(i.want, ChoiceWant))
    labels = Counter(i.want.labels for i in items if isinstance(i.want, LabelWant))
    said: dict[str, str] = {}
    commonest: tuple[str, ...] = _most(labels) if labels else ()
    for item in items:
        if isinstance(item.want, ChoiceWant):
            said[item.id] = item.want.choices[min(_most(places), len(item.want.choices) - 1)]
        elif isinstance(item.want, LabelWant):
            said[item.id] = ", ".join(commonest)
    return said


def _most(counts: Counter[T]) -> T:
    """The commonest; of several the first in order, whatever the order they were counted in."""
    return min(counts, key=lambda value: (-counts[value], str(value)))


def trained_on(path: Path) -> frozenset[str]:
    """First 16 hex digits of the SHA-256 of recordings that a model has seen, from a file with one on each line.

    Raises:
        RecordError: a line does not begin with 16 hex digits or more.
    """
    found = set()
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if words := line.split():
                if not SEEN_DIGITS <= len(words[0]) <= 64 or set(words[0].lower()) - set("0123456789abcdef"):
                    raise RecordError(f"{path}, line {number}: {words[0][:20]!r} is no SHA-256; give one a line")
                found.add(words[0][:SEEN_DIGITS].lower())
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error}); give a file with a SHA-256 on each line") from None
    return frozenset(found)
