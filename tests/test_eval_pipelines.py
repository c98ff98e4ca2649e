"""Every benchmark's whole pipeline on its synthetic download: prepare, ask a miniature model, judge, score, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
from bench_fixtures import build
from harness_helpers import ScriptModel

from eval.benchmarks import BENCHMARKS, prepare
from eval.harness.answers import Answered
from eval.harness.asking import Asking
from eval.harness.conditions import chosen_conditions
from eval.harness.generate import generate
from eval.harness.grading import score_run, wants_judge
from eval.harness.items import Item, LabelWant, StructuredWant
from eval.harness.judging import judge
from eval.harness.making import make_run
from eval.harness.nearness import embed, wants_embedding
from eval.harness.ours import OwnModel
from eval.harness.prepared import Prepared
from eval.harness.report import as_csv, markdown, write_report
from eval.harness.scoring import scored_rows
from eval.harness.summary import read_summary
from eval.judges import questions

NAMES = sorted(BENCHMARKS)
Made = Callable[[str], Prepared]


@pytest.fixture(scope="module")
def model() -> Iterator[OwnModel]:
    assistant = tiny_model.assistant()
    made = OwnModel("miniature-2026-01-31", {"weights": "random"}, lambda: assistant, rows=16)
    yield made
    made.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    @cache
    def one(name: str) -> Prepared:
        folder = tmp_path_factory.mktemp(name)
        return prepare(name, build(name, folder / "in"), folder / "out", allow_lost=True)

    return one


def letters(texts: Sequence[str]) -> Any:
    """Unit vectors by letters, in the place of an embedder with weights."""
    counts = np.array([[1 + t.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts], dtype=float)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_pipeline_runs_to_its_report(name: str, model: OwnModel, made: Made, tmp_path: Path) -> None:
    prepared = made(name)
    run = make_run(tmp_path / "run", prepared, None, model, Asking(max_tokens=4))
    for condition in chosen_conditions(["heard", "text-only"], prepared.items):
        assert generate(run, model, condition).failed == 0
    if wants_embedding(run):
        for condition in run.conditions:
            embed(run, condition, lambda: letters, "letters")
    summary = score_run(run, "zero")
    assert {*summary["conditions"]} == {*run.conditions} and "heard" in run.conditions
    heard = summary["conditions"]["heard"]["kinds"]
    assert set(heard) == {i.want.kind for i in prepared.items}
    for kind in heard.values():
        assert any("robust" in measure["key"] for measure in kind["measures"])
    text = report_text(name, run.folder)
    assert prepared.card.version in text and prepared.card.licence in text


PICTURED = ("mmau", "vocalsound", "librispeech", "seld-2019", "compa-order", "air-chat", "audiocaps")
"""One of each kind: pictures take longer than all the rest."""


def report_text(name: str, folder: Path) -> str:
    """The report, with its pictures drawn for some."""
    if name in PICTURED:
        written = write_report(folder)
        assert len(written) > 2 and all(p.is_file() for p in written)
        return written[0].read_text(encoding="utf-8")
    summary = read_summary(folder)
    assert as_csv([summary]).count("\n") > 2
    return markdown(summary)


def right(item: Item, labels: Sequence[str]) -> Answered:
    """What a perfect model says."""
    want: Any = item.want
    said, loglik = "", None
    match want.kind:
        case "choice" | "pair":
            said = want.choices[want.answer]
        case "label" if want.mode == "loglik":
            loglik = tuple(0.0 if name in want.labels else -1e6 for name in labels)
        case "label":
            said = "; ".join(want.labels)
        case "transcript":
            said = want.reference
        case "open" | "caption":
            said = want.references[0] if want.references else ""
        case "structured":
            said = _structured(want)
    return Answered(id=item.id, key="right", text=said, finish="stop", loglik=loglik)


def _structured(want: StructuredWant) -> str:
    if want.form == "range":
        return str(int(want.answer[0]))
    if want.options.get("asked_unit") == "minutes":
        return f"{want.answer / 60:g} minutes"
    if want.form == "entities":
        return json.dumps([{"tag": tag, "phrase": phrase} for tag, phrase in want.answer])
    return json.dumps(want.answer, ensure_ascii=False) if want.form != "number" else f"{want.answer:g}"


def judged(want: Any) -> bool:
    return getattr(want, "judge", None) is not None or bool(getattr(want, "rules", ()))


def nearest(want: Any) -> bool:
    """Free captions are embedded; a ranking of labels names one of several."""
    return isinstance(want, LabelWant) and (want.mode == "open" or (want.mode == "loglik" and want.multi))


def scores(prepared: Prepared, answer: Callable[[Item, Sequence[str]], Answered]) -> list[tuple[Item, Any]]:
    """Of items that neither a judge nor an embedder is needed for."""
    around = prepared.around
    items = [i for i in prepared.items if not (judged(i.want) or nearest(i.want))]
    sets = {i.id: list(around.label_sets[i.want.label_set].labels) for i in items if isinstance(i.want, LabelWant)}
    answers = {i.id: answer(i, sets.get(i.id, ())) for i in items}
    return [(r.item, r.scored) for r in scored_rows(items, answers, {}, around)]


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_model_is_perfect(name: str, made: Made) -> None:
    """What readers want and what kinds score is the same thing; saying nothing is worth nothing."""
    prepared = made(name)
    for item, scored in scores(prepared, right):
        assert scored.status == "read" and (scored.robust or 1.0) == pytest.approx(1.0), (item.id, scored)
        assert scored.robust is None or scored.robust > 0, (item.id, scored)
    silent = scores(prepared, lambda item, labels: Answered(id=item.id, key="none", text="", finish="stop"))
    assert not any(scored.robust == 1.0 for _, scored in silent), "control"


def test_a_judge_is_asked_where_the_benchmark_has_one(made: Made, tmp_path: Path) -> None:
    """A judge that says nothing that can be read: the answers stay ungraded, and are not scored as zero."""
    prepared, model = made("air-chat"), ScriptModel(say=lambda one: "A tone, I think.")
    run = make_run(tmp_path / "run", prepared, None, model, Asking(max_tokens=4))
    generate(run, model, "heard")
    assert wants_judge(run)
    outcome = judge(run, "heard", model, "script-2026-01-31", questions)
    assert outcome.total == 2 * len(prepared.items), "both orders"
    assert score_run(run)["unjudged"]["heard"] == len(prepared.items)
    assert score_run(run, "zero")["conditions"]["heard"]["kinds"]["open"]["measures"], "control: on demand they are"
