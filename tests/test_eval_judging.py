"""Judging: gaps are asked again and never scored silently; stale grades do not count; orders are kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import harness_helpers as toys
import pytest
from harness_helpers import ScriptModel, toy, toy_run

from eval.harness.answers import Answered, Judged
from eval.harness.asking import Asked
from eval.harness.generate import GenerateError, generate
from eval.harness.items import Item, OpenWant
from eval.harness.judging import TRIES, JudgeQuestion, by_id, grades_of_today, judge
from eval.harness.runs import Run
from eval.harness.store import records


def grade(text: str) -> float | None:
    return float(text) if text.isdigit() else None


def questions(item: Item, answered: Answered) -> Sequence[JudgeQuestion]:
    """Each answer in both orders."""
    return [JudgeQuestion(f"Grade {answered.text} ({order})", grade, order) for order in (0, 1)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "data").mkdir()
    made = toys.items(tmp_path / "data", 4, 2, lambda n: OpenWant(references=("yes",)))
    prepared, model = toy(tmp_path, made=made), ScriptModel(lambda one: f"answer {one.item.id}")
    found = toy_run(tmp_path / "run", prepared, model)
    generate(found, model)
    return found


def of_today(run: Run) -> dict[str, list[Judged]]:
    answers = run.answers("heard", run.keys("heard", run.prepared.items))
    return by_id(grades_of_today(run, "heard", answers, questions))


def test_every_grade_is_asked_once(run: Run) -> None:
    judging = ScriptModel(lambda one: "4")
    outcome = judge(run, "heard", judging, "judge-1", questions)
    assert (outcome.total, outcome.done, outcome.failed) == (8, 8, 0)
    assert {len(own) for own in of_today(run).values()} == {2}
    assert {j.order for own in of_today(run).values() for j in own} == {0, 1}
    again = ScriptModel(lambda one: "5")
    assert judge(run, "heard", again, "judge-1", questions).already == 8 and not again.asked


def test_what_cannot_be_read_is_asked_again_with_another_seed(run: Run) -> None:
    judging = ScriptModel(lambda one: "hmm" if one.seed == 0 else "3")
    outcome = judge(run, "heard", judging, "judge-1", questions)
    assert (outcome.done, outcome.failed) == (8, 0) and {a.seed for a in judging.asked} == {0, 1}
    assert all(a.temperature > 0 for a in judging.asked if a.seed), "at 0 it would say the same again"
    kept = list(records(run.place("judge", "heard"), Judged))
    assert len(kept) == 16 and sum(j.grade is None for j in kept) == 8


def test_gaps_stay_gaps_and_are_filled_later(run: Run) -> None:
    def says(one: Asked) -> str:
        return "hmm" if "q00002" in one.messages[0]["content"] else "3"

    outcome = judge(run, "heard", ScriptModel(says), "judge-1", questions)
    assert (outcome.done, outcome.failed) == (6, 2) and "q00002" not in of_today(run)
    tried = [j for j in records(run.place("judge", "heard"), Judged) if j.id == "q00002"]
    assert len(tried) == 2 * TRIES and all(j.grade is None and j.error for j in tried)
    later = ScriptModel(lambda one: "1")
    assert judge(run, "heard", later, "judge-1", questions).done == 2 and len(later.asked) == 2
    assert len(of_today(run)) == 4


def test_grades_of_other_answers_prompts_and_judges_do_not_count(run: Run) -> None:
    judge(run, "heard", ScriptModel(lambda one: "4"), "judge-1", questions)

    def reworded(item: Item, answered: Answered) -> Sequence[JudgeQuestion]:
        return [JudgeQuestion(f"Please grade {answered.text}", grade)]

    answers = run.answers("heard", run.keys("heard", run.prepared.items))
    assert not list(grades_of_today(run, "heard", answers, reworded))
    changed = {k: a.model_copy(update={"text": "other"}) for k, a in answers.items()}
    assert not list(grades_of_today(run, "heard", changed, questions))
    judge(run, "heard", ScriptModel(lambda one: "5"), "judge-2", reworded)
    assert {j.rater for own in of_today(run).values() for j in own} == {"judge-1"}, "two judges are not mixed"


def test_a_judge_that_only_fails_stops_the_stage(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = toys.items(tmp_path / "data", 20, 2, lambda n: OpenWant(references=("yes",)))
    model = ScriptModel(lambda one: "x")
    run = toy_run(tmp_path / "run", toy(tmp_path, made=made), model)
    generate(run, model)
    with pytest.raises(GenerateError, match="judge-1 failed"):
        judge(run, "heard", ScriptModel(fails=lambda one: True), "judge-1", questions)
    assert not of_today(run)


def test_failed_answers_are_not_judged(run: Run) -> None:
    other = ScriptModel(fails=lambda one: True)
    generate(run, other, "text-only")
    judging = ScriptModel(lambda one: "4")
    assert judge(run, "text-only", judging, "judge-1", questions).total == 0 and not judging.asked
