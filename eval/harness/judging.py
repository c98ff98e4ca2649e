"""The judge stage: graded answers, one record a grade; what a judge did not say is asked again, never scored silently.

The judge is a model like any other (`eval.harness.models`), asked in writing: a local one, or an endpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eval.harness.answers import Answered, Judged
from eval.harness.asking import Asked
from eval.harness.generate import ERRORS_IN_A_ROW, GenerateError, Outcome, Report, quiet
from eval.harness.items import Item, Message, OpenWant
from eval.harness.models import Model
from eval.harness.runs import Run
from eval.harness.store import StageWriter, records

STAGE = "judge"
TRIES = 3
"""A judge that says nothing that can be read is asked so many times in one run of the stage, with other seeds."""
RETRY_TEMPERATURE = 0.3
"""The same question at temperature 0 would get the same answer again."""


@dataclass(frozen=True)
class JudgeQuestion:
    """One thing that a judge is asked about one answer."""

    prompt: str
    read: Callable[[str], float | None]
    """The grade in what the judge says; None if there is none."""
    order: int = 0
    """1 where two answers are shown the other way round."""
    repeat: int = 0
    """Counts independent gradings of the same."""
    max_tokens: int = 256
    temperature: float = 0.0


Questions = Callable[[Item, Answered], Sequence[JudgeQuestion]]


def judge_key(answered: Answered, question: JudgeQuestion, rater: str) -> str:
    """Hash of all that a grade depends on."""
    parts = [answered.id, answered.key, answered.text, question.prompt, question.order, question.repeat, rater]
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]


@dataclass(frozen=True)
class _Open:
    item: Item
    key: str
    question: JudgeQuestion


def judge(
    run: Run, condition_name: str, judge_model: Model, rater: str, questions: Questions, report: Report = quiet
) -> Outcome:
    """Ask the judge for every grade that is not there yet.

    Args:
        rater: the judge's name with its date or revision; part of every record.

    Raises:
        GenerateError: the judge gives nothing but errors.
        ConfigError: it cannot be asked at all, or another process judges the same run.
    """
    wanted = list(_wanted(run, condition_name, rater, questions))
    graded = {j.key for j in records(run.place(STAGE, condition_name), Judged) if j.grade is not None}
    left = {one.key: one for one in wanted if one.key not in graded}
    outcome = Outcome(len(wanted), len(wanted) - len(left))
    report(outcome)
    if not left:
        return outcome
    with StageWriter[Judged](run.place(STAGE, condition_name)) as writer:
        for attempt in range(TRIES):
            for record in _grades(judge_model, rater, left, attempt):
                writer.add(record)
                outcome.done += record.grade is not None
                outcome.failed = len(left)
                report(outcome)
    return outcome


def _wanted(run: Run, condition_name: str, rater: str, questions: Questions) -> Iterator[_Open]:
    answers = run.answers(condition_name, run.keys(condition_name, run.asked_items(condition_name)))
    for item in run.prepared.items:
        if (answered := answers.get(item.id)) is not None and not answered.error:
            yield from (_Open(item, judge_key(answered, q, rater), q) for q in questions(item, answered))


def _grades(model: Model, rater: str, left: dict[str, _Open], attempt: int) -> Iterator[Judged]:
    """A record for each question that is open; what is graded is taken off `left`."""
    in_a_row = 0
    for said in model.answers([_asked(one, attempt) for one in left.values()]):
        one = left[said.id]
        grade = None if said.error else one.question.read(said.text)
        error = said.error or ("" if grade is not None else "no grade in what the judge said")
        if grade is not None:
            del left[said.id]
        yield Judged(
            id=one.item.id, key=said.id, rater=rater, order=one.question.order, raw=said.text, grade=grade, error=error
        )
        in_a_row = in_a_row + 1 if said.error else 0
        if in_a_row >= ERRORS_IN_A_ROW:
            raise GenerateError(f"the judge {rater} failed {in_a_row} times in a row, the last time with: {said.error}")


def _asked(one: _Open, attempt: int) -> Asked:
    question = one.question
    item = Item(id=one.key, messages=(Message(role="user", content=question.prompt),), want=OpenWant())
    said = ({"role": "user", "content": question.prompt},)
    temperature = max(question.temperature, RETRY_TEMPERATURE) if attempt else question.temperature
    seed = TRIES * question.repeat + attempt
    return Asked(item, STAGE, one.key, said, (), question.max_tokens, temperature, seed)


def grades_of_today(
    run: Run, condition_name: str, answers: Mapping[str, Answered], questions: Questions
) -> Iterator[Judged]:
    """What is kept about the answers and prompts of today, by the rater with most grades if there are several."""
    kept = [j for j in records(run.place(STAGE, condition_name), Judged) if j.grade is not None and j.id in answers]
    counts = Counter(j.rater for j in kept)
    if not counts:
        return
    rater = min(counts, key=lambda name: (-counts[name], name))
    last = {j.key: j for j in kept if j.rater == rater}
    for item in run.prepared.items:
        if (answered := answers.get(item.id)) is not None:
            keys = [judge_key(answered, q, rater) for q in questions(item, answered)]
            yield from (last[key] for key in keys if key in last)


def by_id(found: Iterable[Judged]) -> dict[str, list[Judged]]:
    grouped: dict[str, list[Judged]] = defaultdict(list)
    for record in found:
        grouped[record.id].append(record)
    return grouped
