"""Judge and score a whole run: all its conditions."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from eval.harness.asking import identity_hash
from eval.harness.endpoint import EndpointModel
from eval.harness.generate import Report
from eval.harness.judging import Questions, by_id, grades_of_today, judge
from eval.harness.making import ModelWish
from eval.harness.models import Model
from eval.harness.nearness import near_records
from eval.harness.runs import Run
from eval.harness.scoring import JudgeMissing, Kinds, score_condition
from eval.harness.summary import summarise, write_summary
from eval.kinds import KINDS

_DATED = re.compile(r"\d{4}-?\d{2}-?\d{2}|\d{6}")


def rater_name(model: Model, revision: str = "") -> str:
    """A judge's name that says exactly which one it is.

    Raises:
        ConfigError: an endpoint's name holds no date and no revision is given.
    """
    if not isinstance(model, EndpointModel):
        return f"{model.name}@{identity_hash(model.identity)[:12]}"
    if revision:
        return f"{model.name}@{revision}"
    if not _DATED.search(model.name):
        raise ConfigError(
            f"--judge {model.name}: an undated name means another model next year; give a dated name, or say which "
            "one it is with --judge-revision"
        )
    return model.name


def wants_judge(run: Run) -> bool:
    """Whether any item is graded by a judge."""
    return any(getattr(item.want, "judge", None) is not None for item in run.prepared.items)


def judge_run(
    run: Run,
    wish: ModelWish,
    revision: str,
    progress: Callable[[str], AbstractContextManager[Report]],
) -> None:
    """Ask the judge for every grade of every condition that is not there yet.

    Raises:
        ConfigError: the judge cannot be asked, or its name is not exact.
        GenerateError: it gives nothing but errors.
    """
    model = judge_of(wish)
    rater = rater_name(model, revision)
    try:
        for name in run.conditions:
            with progress(f"judging ({name})") as report:
                judge(run, name, model, rater, questions_of(run), report)
    finally:
        model.close()


def judge_of(wish: ModelWish) -> Model:
    """The judge: an endpoint, a folder with a language model, or a preset."""
    from eval.judges.folder import FolderJudge

    if not wish.endpoint and Path(wish.model).is_dir():
        return FolderJudge(Path(wish.model), wish.device)
    return wish.made()


def questions_of(run: Run) -> Questions:
    """What a judge is asked about the answers of a run."""
    from eval.judges import questions

    return questions


def score_run(run: Run, judge_missing: JudgeMissing = "wait", kinds: Kinds = KINDS) -> dict[str, Any]:
    """Score every condition and write the summary; gives it."""
    with without_collector():
        return _scored_run(run, judge_missing, kinds)


@contextmanager
def without_collector() -> Iterator[None]:
    """Rows are many and hold no cycles: looking for some again and again costs a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _scored_run(run: Run, judge_missing: JudgeMissing, kinds: Kinds) -> dict[str, Any]:
    scored = []
    for name in run.conditions:
        items = run.asked_items(name)
        answers = run.answers(name, run.keys(name, items))
        judged = list(near_records(run, name, answers))
        if wants_judge(run):
            judged += grades_of_today(run, name, answers, questions_of(run))
        scored.append(score_condition(run, name, answers, by_id(judged), judge_missing, kinds))
    summary = summarise(run, scored, kinds)
    write_summary(run, summary)
    return summary
