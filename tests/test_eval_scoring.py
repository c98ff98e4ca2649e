"""Scores of stored answers: nothing but items and answers changes them; controls, rates, seen items, reports."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness_helpers as toys
import pytest
from harness_helpers import ScriptModel, right_text, toy, toy_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alm.errors import ConfigError, RecordError
from eval.harness.answers import Answered, Judged, Scored
from eval.harness.asking import Asked
from eval.harness.compare import compare, write_comparison
from eval.harness.generate import Part, generate
from eval.harness.grading import score_run
from eval.harness.items import Item, JudgeSpec, OpenWant
from eval.harness.prepared import Prepared
from eval.harness.report import write_report
from eval.harness.runs import Run, read_run
from eval.harness.scoring import baseline_rows, majority, scored_rows
from eval.harness.store import StageWriter, records
from eval.harness.summary import read_summary
from eval.harness.together import write_together
from eval.kinds import KINDS
from eval.kinds.base import Measure, Row, Surroundings
from eval.metrics import share

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SAID = st.sampled_from(["dog", "B", "the answer is cat", "", "I'm sorry", "<think>x</think>owl", "dog or cat", "zebra"])


def figures(summary: dict[str, Any]) -> str:
    """All that is about scores, as one text to compare."""
    return json.dumps([summary["conditions"], summary["baselines"], summary["complete"]], sort_keys=True, default=str)


def scored(run: Run) -> str:
    found = score_run(run)
    for condition in found["conditions"].values():
        del condition["seconds"]
    return figures(found)


def answer_all(run: Run, prepared: Prepared, said: Sequence[str], condition: str = "heard", **more: Any) -> None:
    texts = dict(zip([i.id for i in prepared.items], said, strict=True))
    generate(run, ScriptModel(lambda one: texts[one.item.id], **more), condition)


# --- properties ---


@given(said=st.lists(SAID, min_size=10, max_size=10), order=st.permutations(range(10)), data=st.data())
@QUICK
def test_order_shards_resume_and_batches_change_no_score(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], order: list[int], data: st.DataObject
) -> None:
    """One run in one go, and one of reordered items in parts, interrupted, with repeated and stale records."""
    folder = tmp_path_factory.mktemp("runs")
    prepared = toy(folder / "plain", 10)
    plain = toy_run(folder / "plain" / "run", prepared)
    answer_all(plain, prepared, said)
    texts = dict(zip([i.id for i in prepared.items], said, strict=True))
    shutil.copytree(folder / "plain" / "data", folder / "other" / "data")
    other = toy(folder / "other", made=[prepared.items[n] for n in order])
    run = toy_run(folder / "other" / "run", other)
    failing = data.draw(st.sets(st.sampled_from(sorted(texts)), max_size=4))
    parts = data.draw(st.permutations(range(1, 4)))
    for number in parts:
        backwards = ScriptModel(lambda one: texts[one.item.id], lambda one: one.item.id in failing, backwards=True)
        generate(run, backwards, part=Part(number, 3))
    with StageWriter[Answered](run.place("generate", "heard")) as writer:
        writer.add(Answered(id="q00000", key="of another day", text="frog"))
    generate(run, ScriptModel(lambda one: texts[one.item.id]))
    assert scored(run) == scored(plain)
    assert scored(run) == scored(read_run(run.folder)), "scoring again gives the same bytes"


@given(said=st.lists(SAID, min_size=6, max_size=6), changed=st.integers(0, 5))
@QUICK
def test_a_changed_answer_is_seen(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], changed: int
) -> None:
    """Control of the property above: where an answer turns from wrong to right, figures move."""
    folder = tmp_path_factory.mktemp("runs")
    prepared = toy(folder, 6)
    run, other = toy_run(folder / "a", prepared), toy_run(folder / "b", prepared)
    wrong = [*said[:changed], "zebra", *said[changed + 1 :]]
    right = [*said[:changed], right_text(prepared.items[changed]), *said[changed + 1 :]]
    answer_all(run, prepared, wrong)
    answer_all(other, prepared, right)
    assert scored(run) != scored(other)


@given(judged=st.permutations(range(6)))
@QUICK
def test_the_order_of_grades_changes_no_score(tmp_path_factory: pytest.TempPathFactory, judged: list[int]) -> None:
    rows = [Judged(id="q00000", key=f"{n}", rater="r", order=n % 2, grade=n / 10) for n in range(6)]
    kind = ListensToOrder()
    item = toys.choice_item(0, toys.Clip(path="a.wav"), want=OpenWant(), official="")
    answers = {item.id: Answered(id=item.id, key="k", text="x")}
    found = scored_rows([item], answers, {item.id: [rows[n] for n in judged]}, Surroundings(), kinds={"open": kind})
    assert found[0].scored.value == [0.0, 0.2, 0.4, 0.1, 0.3, 0.5]


class ListensToOrder:
    """A kind that tells in which order it was given grades; waits where there is none."""

    name = "open"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        if not judged:
            return Scored(id=item.id, status="unjudged")
        grades = [j.grade for j in judged]
        return Scored(id=item.id, status="read", value=grades, robust=float(grades[0] or 0.0))

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        right = [bool(r.scored.robust) for r in rows]
        return [Measure("robust", "graded", share(right, [r.item.cluster for r in rows]))]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Any]:
        return []

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        return {"echo": "x"}


# --- what counts ---


def measures(summary: dict[str, Any], condition: str = "heard", kind: str = "choice") -> dict[str, dict[str, Any]]:
    return {m["key"]: m for m in summary["conditions"][condition]["kinds"][kind]["measures"]}


def test_missing_and_failed_answers_are_wrong_and_counted(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 12)
    run = toy_run(tmp_path / "run", prepared)
    model = ScriptModel(lambda one: "" if one.item.id == "q00002" else right_text(one.item))
    model.fails = lambda one: one.item.id == "q00001"
    generate(run, model, part=Part(1, 2))
    generate(run, model, part=Part(2, 2))
    with StageWriter[Answered](run.place("generate", "heard")) as writer:
        del writer
    files = run.answers_files("heard")
    kept = [line for f in files for line in f.read_text().splitlines() if '"q00000"' not in line]
    for file in files:
        file.unlink()
    run.place("generate", "heard").write_text("\n".join(kept) + "\n")
    summary = score_run(run)
    assert not summary["complete"] and summary["missing"] == {"heard": 1}
    assert measures(summary)["official"]["items"] == 12
    assert measures(summary)["robust"]["value"] == pytest.approx(9 / 12)
    shares = {name: rate["value"] for name, rate in summary["conditions"]["heard"]["rates"].items()}
    assert {k: round(v * 12) for k, v in shares.items()} == {"missing": 1, "error": 1, "empty": 1}


def test_both_rules_controls_and_tags_stand_beside_each_other(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path, 12), ScriptModel()
    run = toy_run(tmp_path / "run", prepared, model)
    for condition in ("heard", "text-only", "shuffled"):
        generate(run, model, condition)
    summary = score_run(run)
    assert summary["complete"] and list(summary["conditions"]) == ["heard", "shuffled", "text-only"]
    found = measures(summary)
    assert found["official"]["value"] == found["robust"]["value"] == 1.0 and found["chance"]["value"] == 0.25
    assert found["robust"]["low"] == pytest.approx(0.757, abs=0.01)
    assert set(summary["baselines"]["choice"]) == {"echo", "first", "majority"}
    tags = summary["conditions"]["heard"]["kinds"]["choice"]["tags"]
    assert set(tags) == {"category", "aspect"} and {m["key"] for m in tags["aspect"]["a"]} == {"official", "robust"}
    tables = summary["conditions"]["heard"]["kinds"]["choice"]["tables"]
    assert tables[-1]["title"] == "Confusions of places"


def test_the_majority_answer_is_the_commonest_whatever_the_order(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = toys.items(tmp_path / "data", 9)
    assert set(majority(made).values()) == {"dog"} and majority(made[::-1]) == majority(made)
    rows = scored_rows(made, {}, {}, Surroundings())
    found = baseline_rows(rows, Surroundings())
    assert sum(r.scored.robust or 0 for r in found["majority"]) == 3
    assert not any(r.scored.official for r in found["echo"])


def test_baselines_that_need_a_judge_are_left_out(tmp_path: Path) -> None:
    item = toys.choice_item(0, toys.Clip(path="a.wav"), want=OpenWant(), official="")
    rows = scored_rows([item], {}, {}, Surroundings(), "zero", {"open": ListensToOrder()})
    assert rows[0].scored.robust == 0.0 and rows[0].scored.status == "unjudged"
    assert baseline_rows(rows, Surroundings(), {"open": ListensToOrder()}) == {}


def test_seen_items_are_told_apart(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path, 12), ScriptModel()
    seen = tmp_path / "trained_on.txt"
    hashes = sorted({i.audios[0].sha256 for i in prepared.items})
    seen.write_text(f"{hashes[0].upper()}  a.wav\n\n{'0' * 64}\n")
    run = toy_run(tmp_path / "run", prepared, model, seen=seen)
    generate(run, model)
    tags = score_run(run)["conditions"]["heard"]["kinds"]["choice"]["tags"]
    assert {k: v[0]["items"] for k, v in tags["seen in training"].items()} == {"yes": 3, "no": 9}
    seen.write_text("not a hash\n")
    with pytest.raises(RecordError, match="line 1"):
        toy_run(tmp_path / "other", prepared, model, seen=seen)


def test_what_waits_for_a_judge_has_no_figures_yet(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    made = toys.items(tmp_path / "data", 4, 2, lambda n: OpenWant(references=("yes",)))
    prepared, model = toy(tmp_path, made=made), ScriptModel(lambda one: "yes")
    run = toy_run(tmp_path / "run", prepared, model)
    generate(run, model)
    waiting = score_run(run, kinds={"open": ListensToOrder()})
    assert waiting["unjudged"] == {"heard": 4} and not waiting["complete"] and not measures(waiting, kind="open")
    nothing = score_run(run, "zero", {"open": ListensToOrder()})
    assert measures(nothing, kind="open")["robust"]["value"] == 0.0 and nothing["complete"]
    assert nothing["conditions"]["heard"]["rates"]["unjudged"]["value"] == 1.0, "and it is told"


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    item = toys.choice_item(0, toys.Clip(path="a.wav"))
    with pytest.raises(ConfigError, match="scores the kind 'choice'"):
        scored_rows([item], {}, {}, Surroundings(), kinds={})


# --- reports ---


def full_run(folder: Path, prepared: Prepared, model: ScriptModel) -> Run:
    run = toy_run(folder, prepared, model)
    for condition in ("heard", "text-only", "shuffled"):
        generate(run, model, condition)
    score_run(run)
    return run


def test_a_report_says_what_the_summary_says(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 12)
    run = full_run(tmp_path / "run", prepared, ScriptModel(lambda one: "dog" if one.condition != "heard" else "cat"))
    paths = write_report(run.folder)
    page = (run.folder / "report.md").read_text()
    assert "# script on toy" in page and "heard" in page and "baseline `first`" in page and "CC0-1.0" in page
    rows = list(csv.DictReader((run.folder / "report.csv").open()))
    cells = {(r["condition"], r["tag"], r["measure"]): r["value"] for r in rows}
    assert float(cells["heard", "", "robust"]) == 0.25 and ("baseline:majority", "", "robust") in cells
    pictures = {p.name for p in paths if p.suffix == ".png"}
    assert {"choice.png", "choice.category.png", "choice.aspect.png", "choice.aspect.wheel.png"} <= pictures
    assert "choice.confusions-of-places.png" in pictures
    assert all(f"plots/{name}" in page and (run.folder / "plots" / name).stat().st_size > 1000 for name in pictures)
    before = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in write_report(run.folder)] == before, "the same bytes again"


def test_a_quick_look_is_told(tmp_path: Path) -> None:
    prepared, model = toy(tmp_path, 12), ScriptModel()
    run = toy_run(tmp_path / "run", prepared, model, limit=5)
    generate(run, model)
    assert measures(score_run(run))["robust"]["items"] == 5
    write_report(run.folder)
    assert "Only the first 5 items" in (run.folder / "report.md").read_text()


def test_likelihoods_give_a_calibration(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 12)
    run = toy_run(tmp_path / "run", prepared, asking=toys.Asking(loglik=True))
    keys = run.keys("heard", prepared.items)
    with StageWriter[Answered](run.place("generate", "heard")) as writer:
        for item in prepared.items:
            logs = tuple(0.0 if n == 0 else -5.0 for n in range(4))
            writer.add(Answered(id=item.id, key=keys[item.id], text="dog", loglik=logs))
    found = score_run(run)["conditions"]["heard"]["calibration"]
    assert found["items"] == 12 and len(found["bins"]) == 1 and found["bins"][0]["right"] == 0.25
    assert found["error"] == pytest.approx(0.73, abs=0.01)
    assert any(p.name == "heard.calibration.png" for p in write_report(run.folder))


def test_runs_on_one_page_do_not_mix_tests(tmp_path: Path) -> None:
    one = full_run(tmp_path / "a", toy(tmp_path / "x", 12), ScriptModel())
    two = full_run(tmp_path / "b", toy(tmp_path / "x", 12), ScriptModel(lambda one: "dog"))
    three = full_run(tmp_path / "c", toy(tmp_path / "y", 8), ScriptModel())
    paths = write_together([one.folder, two.folder, three.folder], tmp_path / "out")
    page = (tmp_path / "out" / "runs.md").read_text()
    assert page.count("## toy 1, test") == 2 and all(p.exists() for p in paths)
    assert len({r["model"] for r in csv.DictReader((tmp_path / "out" / "runs.csv").open())}) == 1


# --- comparisons ---


def test_two_runs_are_compared_item_by_item(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 40, 8)
    always = full_run(tmp_path / "a", prepared, ScriptModel())
    half = full_run(tmp_path / "b", prepared, ScriptModel(half_right))
    found = {d.rule: d for d in compare(always, half)}
    robust = found["robust"]
    assert (robust.first, robust.second, robust.estimate.value) == (1.0, 0.5, 0.5)
    assert (robust.only_first, robust.only_second) == (20, 0) and robust.mcnemar == pytest.approx(2 / 2**20)
    back = {d.rule: d for d in compare(half, always)}["robust"]
    assert back.estimate.value == -0.5 and back.mcnemar == robust.mcnemar
    same = {d.rule: d for d in compare(always, always)}["robust"]
    assert same.estimate.value == 0.0 and same.mcnemar == 1.0
    paths = write_comparison(always, half, "heard", tmp_path / "out")
    assert [p.name for p in paths] == ["compare.md", "compare.json", "compare.png"]
    assert "| choice, robust | 100.0 | 50.0 | 50.0 |" in paths[0].read_text()


def half_right(one: Asked) -> str:
    return right_text(one.item) if int(one.item.id[1:]) % 2 else "zebra"


def test_what_cannot_be_paired_is_refused(tmp_path: Path) -> None:
    one = full_run(tmp_path / "a", toy(tmp_path / "x", 12), ScriptModel())
    two = full_run(tmp_path / "b", toy(tmp_path / "y", 8), ScriptModel())
    with pytest.raises(ConfigError, match="different items"):
        compare(one, two)
    bare = toy_run(tmp_path / "c", one.prepared)
    with pytest.raises(RecordError, match="no scores"):
        compare(one, bare)
    with pytest.raises(RecordError, match=r"no summary\.json"):
        read_summary(bare.folder)


def test_kinds_are_registered_under_their_names() -> None:
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in KINDS}
    assert JudgeSpec(prompt="x").bar is None and list(records(Path("none"), Scored)) == []
