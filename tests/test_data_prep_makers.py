"""Makers: every task is made, rows depend on nothing but sample, plan and seed, and plans and phrasings are checked."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from pathlib import Path

import pytest
import yaml

from data_prep.errors import CorpusError
from data_prep.makers import TASKS, MakeReport, TaskPlan, composed, make_records, plan_from, read_plan, row_maker
from data_prep.makers.survey import survey
from data_prep.makers.wording import CLOSED_PREFIX, Wording, blanks, fill, load_book, plain
from data_prep.records import AUDIO_MARK, Record, from_row, to_row
from tests.maker_toys import changed, clips, others, sample, scenes, voices, world

COMPOSED = {name for name, task in TASKS.items() if task in composed.TASKS}
"""Tasks on composed scenes have tests of their own."""


def rows(samples: list, plan: TaskPlan = TaskPlan(), seed: int = 0, split: str = "train") -> list[Record]:
    return list(make_records(samples, plan, seed, split))


def test_every_task_is_made_of_some_sample() -> None:
    made = rows(world())
    assert {row.task for row in made} >= set(TASKS) - COMPOSED
    assert len({row.id for row in made}) == len(made)
    for row in made:
        again = from_row(json.loads(json.dumps(to_row(row))))
        assert again.messages == row.messages and again.meta["family"] == TASKS[row.task].family


def test_rows_do_not_depend_on_the_order_of_samples_or_on_workers() -> None:
    samples = world()
    mixed = random.Random(1).sample(samples, len(samples))
    plan = TaskPlan(rate=0.6, balance=0.5, rates={"yes_no": 1.7})
    assert rows(samples, plan) == rows(mixed, plan)
    first, second = row_maker(samples, plan, 0, "train"), row_maker(mixed, plan, 0, "train")
    parts = ((first, mixed[::2]), (second, mixed[1::2]))
    apart = [row for maker, part in parts for one in part for row in maker.rows(one)]
    whole = {row.id: row for row in rows(samples, plan)}
    assert {row.id: row for row in apart}.items() <= whole.items()
    assert len(apart) > 0.9 * len(whole)  # the same words twice on one recording are made once
    assert rows(samples, plan) != rows(samples, plan, seed=1)


def test_a_number_of_rows_is_shared_out_and_spread_over_the_samples() -> None:
    samples = [*clips(each=20), *scenes()]
    shares = {"label": 1, "yes_no": 2, "count": 1}
    plan = TaskPlan(rows=120, tasks=("label", "yes_no", "count", "language"), shares=shares)
    report = MakeReport()
    made = list(make_records(samples, plan, 0, "train", report))
    assert report.rows == Counter(row.task for row in made)
    assert Counter(row.task for row in made) == {"label": 30, "yes_no": 60, "count": 30}
    assert made == rows(samples[::-1], plan)
    assert len({row.meta["recordings"][0] for row in made if row.task == "label"}) > 25


def test_balance_brings_rare_labels_up() -> None:
    samples = [*clips(each=2), *(changed(one, id=f"{one.id}-{k}") for k in range(40) for one in clips(each=1)[:1])]
    shares = {}
    for balance in (0.0, 1.0):
        made = rows(samples, TaskPlan(tasks=("label",), rows=60, balance=balance))
        shares[balance] = sum(row.meta["answer"] == "dog bark" for row in made) / len(made)
    assert shares[0.0] > 0.5 and shares[1.0] < 0.25


def test_test_rows_use_other_phrasings_and_only_labels_that_train_has() -> None:
    rare = sample("new", split="test", labels=("helicopter",), complete=True)
    made = rows([*world("train", "test"), rare], TaskPlan(without=("asked",)), split="test")
    trained = {form for name, wording in load_book().items() for form in wording.asked["train"] if not blanks(form)}
    asked = {message.content.replace(AUDIO_MARK, "").strip() for row in made for message in row.messages[::2]}
    assert asked and not asked & trained
    assert all("helicopter" not in json.dumps(to_row(row)["messages"]) for row in made)
    assert all(row.split == "test" for row in made) and {row.meta["seen"] for row in made} <= {True, False}


def test_phrasings_are_many_and_never_shared_between_splits() -> None:
    book = load_book()
    named = {pool for task in TASKS.values() for pool in task.pools or (task.name,)} - {"-"}
    assert named == set(book)
    train = {form for wording in book.values() for form in wording.asked["train"]}
    for name, wording in book.items():
        pools = wording.asked
        assert len(set(pools["train"])) >= 20 and len(pools["dev"]) >= 3 and len(pools["test"]) >= 3, name
        assert not train & {*pools["dev"], *pools["test"]}, name
        assert not {*pools["dev"]} & {*pools["test"]}, name
        assert len({blanks(form) for split in pools for form in pools[split]}) <= 2, name


def test_every_phrasing_can_be_filled_with_what_its_maker_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    filled: set[str] = set()

    def all_asked(self: Wording, rng: object, split: str, words: dict[str, str]) -> str:
        filled.update(form for forms in self.asked.values() for form in forms if fill(form, words))
        return fill(self.asked[split][0], words)

    def all_said(self: Wording, rng: object, split: str, form: str, words: dict[str, str]) -> str:
        filled.update(one for one in self.said[form] if fill(one, words))
        return fill(self.said[form][0], words)

    monkeypatch.setattr(Wording, "ask", all_asked)
    monkeypatch.setattr(Wording, "say", all_said)
    rows(world())
    unheard = set(load_book()["entailment"].said["unheard"] + load_book()["entailment"].said["unheard_held"])
    book = [one for one in load_book().values() if one.name not in COMPOSED]
    pools = [forms for one in book for forms in (*one.asked.values(), *one.said.values())]
    known = {form for forms in pools for form in forms}
    assert known - filled - unheard <= {"I hear nothing that I could name.", "Neutral."}


def test_a_broken_book_of_phrasings_is_refused(tmp_path: Path) -> None:
    good = {"train": "a", "dev": "b", "test": "c", "answers": "d"}
    for broken in ({"q": "text"}, {"q": {**good, "dev": ""}}, {"q": {**good, "train": ["a"]}}, ["q"], "{"):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "a.yaml").write_text(broken if isinstance(broken, str) else yaml.safe_dump(broken))
        with pytest.raises(CorpusError, match="a.yaml"):
            load_book(folder)
    folder = tmp_path / "good"
    folder.mkdir()
    (folder / "a.yaml").write_text(yaml.safe_dump({"q": good}))
    assert load_book(folder)["q"].asked["dev"] == ("b",)


@pytest.mark.parametrize(
    "values",
    [
        {"rate": -1}, {"rate": "2"}, {"rows": 1.5}, {"balance": 2}, {"negatives": ["kind"]}, {"negatives": []},
        {"shots": [4, 2]}, {"shots": [1, 2]}, {"tags": "yes"}, {"rates": {"label": -1}}, {"unknown": 1},
        {"tasks": "label"}, {"max_audios": True}, {"rates": ["label"]}, {"tasks": [3]},
    ],
)  # fmt: skip
def test_a_plan_that_no_run_may_have_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(CorpusError, match=str(next(iter(values)))):
        plan_from(values)


def test_plans_are_read_and_name_known_tasks(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("rows: 10\nshots: [2, 3]\nrates: {label: 2}\n")
    assert read_plan(path) == TaskPlan(rows=10, shots=(2, 3), rates={"label": 2})
    with pytest.raises(CorpusError, match="no task sing"):
        rows(clips(), TaskPlan(tasks=("sing",)))
    path.write_text("[1")
    with pytest.raises(CorpusError, match="plan.yaml"):
        read_plan(path)


def test_options_are_listed_or_part_of_the_sentence() -> None:
    made = rows(clips(), TaskPlan(rows=60, tasks=("choice",)))
    within = [row for row in made if row.meta["style"] == "within"]
    assert 0 < len(within) < len(made)
    for row in within:
        question, options = row.messages[0].content.replace(AUDIO_MARK, "").strip(), row.meta["options"]
        listed = f": {', '.join(options[:-1])} or {options[-1]}"
        assert question.endswith((f"{listed}?", f"{listed}.")) and row.messages[1].content == row.meta["answer"]


def test_prefix_and_tags_are_options_and_tags_go_from_general_to_special() -> None:
    tasks = ("transcribe", "event_table", "caption", "few_shot", "which")
    plain_rows = rows(world(), TaskPlan(tasks=tasks))
    assert not any(CLOSED_PREFIX in row.messages[0].content or "<|" in row.messages[0].content for row in plain_rows)
    made = rows(world(), TaskPlan(tasks=tasks, closed_prefix=1.0, tags=True))
    assert all(CLOSED_PREFIX in row.messages[0].content for row in made)
    tags = {row.task: row.meta["tags"] for row in made}
    assert tags["transcribe"] in (
        ["startoftranscripts", lang, "transcribe", lang, "notimestamps"] for lang in ("en", "de")
    )
    assert tags["event_table"][-1] == "timestamps" and tags["caption"][2] == "caption"
    for row in made:
        assert "".join(f"<|{tag}|>" for tag in row.meta["tags"]) in row.messages[0].content


def test_losses_are_counted() -> None:
    report = MakeReport()
    bad = changed(sample("long", transcript="word " * 500, language="en", voice=voices()[0].voice), seconds=None)
    made = list(make_records([bad], TaskPlan(tasks=("transcribe", "sex")), 0, "train", report))
    assert not made and report.lost == {"row refused": 2} and "no length" in report.shown[0]
    assert report.samples == 1
    incomplete = [changed(one, complete=False) for one in scenes()]
    report = MakeReport()
    assert not list(make_records(incomplete, TaskPlan(tasks=("count",)), 0, "train", report))
    assert report.unfit["count"] == len(incomplete)


def test_marks_of_recordings_in_texts_of_a_source_do_no_harm() -> None:
    assert AUDIO_MARK not in plain("a<au<audio>dio> b")
    nasty = [
        changed(one, transcript=f"{AUDIO_MARK} hello there", captions=(f"x {AUDIO_MARK}{{y}}",), language="en")
        for one in (*clips(), *others())
    ]
    made = rows(nasty, TaskPlan(tasks=("transcribe", "caption")))
    assert made and all("hello there" in row.messages[1].content or "{y}" in row.messages[1].content for row in made)


def test_a_survey_keeps_few_samples_and_knows_single_labels() -> None:
    found = survey(clips(each=30), "train", partners=5)
    key = ("label", "toy set")
    assert key in found.single and found.counts(key) == dict.fromkeys(sorted(found.counts(key)), 30)
    assert len(found.kept(key, "rain")) == 5 and found.samples == 300
    assert key not in survey([*clips(), *scenes()], "train").single


def test_spans_groups_and_channels_are_told() -> None:
    part = changed(clips()[0], start=12.5, group="tape 3", channels="foa")
    row = rows([part], TaskPlan(tasks=("label",)))[0]
    assert row.meta["spans"] == [[12.5, 1.0]] and row.meta["groups"] == ["tape 3"] and row.meta["channels"] == ["foa"]
    assert dataclasses.replace(row) == row
