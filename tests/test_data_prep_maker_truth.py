"""What rows say is true of the samples they are about: each answer is derived anew from the sample's own fields."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from data_prep.makers import TaskPlan, make_records
from data_prep.makers.names import load_names
from data_prep.makers.space import sector
from data_prep.records import Record
from data_prep.samples import Event, Sample
from tests.maker_toys import changed, clips, sample, scenes, voices, world

PLACES = ("first", "second", "third", "fourth", "fifth")
NAMES = load_names()
WORDS = ("zero", "one", "two", "three", "four", "five")


def phrase(label: str) -> str:
    return NAMES.phrase(label)


def onsets(one: Sample, *, front: bool = True) -> dict[str, float]:
    found: dict[str, float] = {}
    for event in one.events:
        if not (front and event.background) and event.onset is not None:
            found[phrase(event.label)] = min(event.onset, found.get(phrase(event.label), 1e9))
    return found


def heard(one: Sample) -> set[str]:
    return {*one.labels, *(event.label for event in one.events)}


def _times(one: Sample, name: str) -> list[tuple[float, float]]:
    return [(e.onset or 0.0, e.offset or 0.0) for e in one.events if phrase(e.label) == name]


def _yes_no(row: Record, one: Sample) -> bool:
    said = row.messages[1].content.lower().startswith("yes")
    return (row.meta["class"] in heard(one)) == (row.meta["answer"] == "yes") == said


def _checklist(row: Record, one: Sample) -> bool:
    return [("yes" if name in heard(one) else "no") for name in row.meta["options"]] == row.meta["answer"]


def _next(row: Record, one: Sample, step: int) -> bool:
    order = sorted(onsets(one), key=onsets(one).__getitem__)
    asked = [name for name in order if name in row.messages[0].content.lower()]
    return len(asked) == 1 and order[order.index(asked[0]) + step] == row.meta["answer"]


def _at(row: Record, one: Sample) -> bool:
    time = float(re.findall(r"\d+\.\d", row.messages[0].content)[0])
    return set(row.meta["answer"]) == {phrase(e.label) for e in one.events if (e.onset or 0) <= time <= (e.offset or 0)}


def _entailment(row: Record, one: Sample) -> bool:
    text, here = row.meta["statement"], {phrase(name) for name in heard(one)}
    named = re.sub(r"^There is (.*)\.$", r"\1", text).split(", and ")
    verdict = "neutral" if len(named) > 1 else "entailment" if named[0] in here else "contradiction"
    return row.meta["answer"] == verdict and (verdict != "neutral" or named[0] in here)


CHECKS: dict[str, Callable[[Record, Sample], bool]] = {
    "label_name": lambda row, one: set(row.messages[1].content.split("; ")) == heard(one),
    "yes_no": _yes_no,
    "absent": lambda row, one: row.meta["class"] not in heard(one),
    "choice": lambda row, one: (
        [o for o in row.meta["options"] if o in heard(one) or o in map(phrase, heard(one))] == [row.meta["answer"]]
    ),
    "checklist": _checklist,
    "order_first": lambda row, one: min(row.meta["options"], key=onsets(one).__getitem__) == row.meta["answer"],
    "order_after": lambda row, one: _next(row, one, 1),
    "order_before": lambda row, one: _next(row, one, -1),
    "order_list": lambda row, one: sorted(onsets(one), key=onsets(one).__getitem__) == row.meta["answer"],
    "when": lambda row, one: f"{onsets(one, front=False)[row.meta['phrase']]:.1f}" in row.messages[1].content,
    "span": lambda row, one: [pytest.approx(v) for v in row.meta["answer"]] == list(_times(one, row.meta["phrase"])[0]),
    "grounding": lambda row, one: row.meta["answer"] == [
        [round(v, 3) for v in span] for span in _times(one, row.meta["phrase"])
    ],
    "event_table": lambda row, one: len(row.meta["answer"]) == len(one.events),
    "at_time": _at,
    "longest": lambda row, one: row.meta["answer"] == max(
        ((e.offset or 0) - (e.onset or 0), phrase(e.label)) for e in one.events
    )[1],
    "count": lambda row, one: row.meta["answer"] == len(_times(one, row.meta["phrase"])),
    "count_sounds": lambda row, one: WORDS[len({e.label for e in one.events})] in row.messages[1].content.lower(),
    "background": lambda row, one: [phrase(e.label) for e in one.events if e.background] == [row.meta["answer"]],
    "mentioned": lambda row, one: (row.meta["word"] in one.transcript) == (row.meta["answer"] == "yes"),
    "entailment": _entailment,
    "direction": lambda row, one: row.meta["answer"] in (sector(e.azimuth or 0.0) for e in one.events),
    "chapter_at": lambda row, one: _chapter(one, row.meta["time"]) == row.meta["answer"],
    "fraud": lambda row, one: json.loads(row.messages[1].content.splitlines()[-1])["is_fraud"] is (
        one.extras["is_fraud"] in (True, "fraud")
    ),
}  # fmt: skip


def _chapter(one: Sample, time: str) -> str:
    minutes, seconds = map(int, time.split(":"))
    return [chapter.title for chapter in one.chapters if chapter.onset <= 60 * minutes + seconds][-1]


def wrong(made: list[Record], samples: list[Sample]) -> list[str]:
    """Ids of rows that the samples do not bear out."""
    known = {one.id: one for one in samples}
    return [
        row.id for row in made if row.task in CHECKS and not CHECKS[row.task](row, known[row.meta["recordings"][0]])
    ]


def rows(samples: list[Sample], *tasks: str, rate: float = 4.0, split: str = "train", **more: Any) -> list[Record]:
    return list(make_records(samples, TaskPlan(tasks=tasks, rate=rate, **more), 0, split))


@cache
def made_once() -> list[Record]:
    return rows(world(), rate=1.0)


def test_answers_are_true_of_their_samples() -> None:
    made = made_once()
    assert {row.task for row in made} >= set(CHECKS)
    assert not wrong(made, world())


def test_the_check_sees_rows_about_other_facts() -> None:
    """Control: the same rows held against samples whose events and labels were exchanged."""
    made = [row for row in made_once() if row.task in CHECKS]
    turned = [
        changed(
            one,
            labels=("helicopter",),
            events=tuple(dataclasses.replace(e, label="helicopter", background=False) for e in one.events),
        )
        for one in world()
    ]
    known = {one.id: one for one in turned}
    for task in ("yes_no", "label_name", "choice", "entailment"):
        about = [row for row in made if row.task == task]
        assert any(not CHECKS[task](row, known[row.meta["recordings"][0]]) for row in about), task


def test_yes_and_no_are_balanced_and_negatives_are_of_all_kinds() -> None:
    made = rows(clips(each=10), "yes_no", "same", rate=3.0)
    for task in ("yes_no", "same"):
        said = Counter(row.meta["answer"] for row in made if row.task == task)
        assert 0.42 < said["yes"] / sum(said.values()) < 0.58, task
    kinds = Counter(row.meta["negative"] for row in made if row.meta.get("negative"))
    assert set(kinds) >= {"random", "popular", "group"}
    with_company = rows([*clips(), *scenes()], "yes_no")
    assert any(row.meta.get("negative") == "adversarial" for row in with_company)


def test_nothing_is_denied_where_the_source_does_not_name_all() -> None:
    unsure = [changed(one, complete=False) for one in [*clips(), *scenes()]]
    made = rows(unsure, "yes_no", "absent", "checklist", "entailment", "count", "at_time", "grounding", "which")
    assert not made
    assert rows(unsure, "yes_no", trust_missing=True)


def test_related_sounds_never_stand_against_each_other() -> None:
    pairs = [("dog barking", "barking"), ("church bell", "bell"), ("Rain", "raindrops falling rain"), ("a", "A")]
    assert all(NAMES.related(*pair) for pair in pairs[:3])
    assert not NAMES.related("dog bark", "rain") and not NAMES.related("car horn", "cow moo")
    assert NAMES.related("dog bark", "growl")  # near in the list of classes
    near = [changed(one, id=f"g{one.id}", labels=("growl",)) for one in clips()[:3]]
    made = rows([*clips()[:3], *near], "yes_no", "choice", "which", "same")
    assert not [row for row in made if row.meta.get("negative")]


def test_audioset_hierarchy_rules_out_kinds_of_a_sound(tmp_path: Any) -> None:
    path = tmp_path / "ontology.json"
    nodes = [{"id": "1", "name": "Animal", "child_ids": ["2"]}, {"id": "2", "name": "Meowing", "child_ids": []}]
    path.write_text(json.dumps(nodes))
    assert load_names(str(path)).related("animal", "meowing") and not NAMES.related("animal", "meowing")
    path.with_name("bad.json").write_text('[{"id": 1}]')
    with pytest.raises(Exception, match=r"bad\.json"):
        load_names(str(path.with_name("bad.json")))


def test_what_may_be_heard_is_neither_affirmed_nor_denied() -> None:
    maybe = [changed(one, extras={"maybe": ["thunder"]}) for one in clips()]
    asked = {row.meta["class"] for row in rows(maybe, "yes_no") if "class" in row.meta and row.meta["answer"] == "no"}
    assert asked and not asked & {"thunder", "explosion"}


def _pair(row: Record, samples: list[Sample]) -> list[Sample]:
    known = {one.id: one for one in samples}
    return [known[name] for name in row.meta["recordings"]]


def test_comparisons_point_at_the_right_recording() -> None:
    samples = world()
    made = made_once()
    for row in made:
        heard_in = [heard(one) for one in _pair(row, samples)]
        if row.task in ("which", "which_of_many"):
            assert [row.meta["class"] in labels for labels in heard_in].index(True) == PLACES.index(row.meta["answer"])
            assert sum(row.meta["class"] in labels for labels in heard_in) == 1
        elif row.task == "same":
            assert (heard_in[0] == heard_in[1]) == (row.meta["answer"] == "yes")
        elif row.task == "odd_one":
            odd = [labels for labels in heard_in if heard_in.count(labels) == 1]
            assert heard_in.index(odd[0]) == PLACES.index(row.meta["answer"]) and len(odd) == 1
        elif row.task == "which_longer":
            lengths = [one.seconds or 0.0 for one in _pair(row, samples)]
            assert lengths.index(max(lengths)) == PLACES.index(row.meta["answer"])
        elif row.task in ("louder", "higher"):
            name = "level_db" if row.task == "louder" else "pitch_hz"
            values = [one.extras["measured"][name] for one in _pair(row, samples)]
            assert values.index(max(values)) == PLACES.index(row.meta["answer"])
        elif row.task == "difference":
            assert {phrase(name) for name in heard_in[1] - heard_in[0]} == set(row.meta["answer"])
        elif row.task == "speaker_same":
            first, second = (one.voice.speaker for one in _pair(row, samples))
            assert (first == second) == (row.meta["answer"] == "yes")
        if len(row.audios) > 1:
            assert len(set(row.audios)) == len(row.audios)


def test_few_shot_episodes_show_the_right_name() -> None:
    samples = world()
    made = rows(samples, "few_shot", shots=(2, 3))
    assert {len(row.meta["options"]) for row in made} == {2, 3}
    for row in made:
        shown = [line.split("<audio> ")[1] for line in row.messages[0].content.splitlines() if "<audio> " in line]
        examples, last = _pair(row, samples)[:-1], _pair(row, samples)[-1]
        alike = {name for name, one in zip(shown, examples, strict=True) if _kind(one) & _kind(last)}
        assert alike == {row.meta["answer"]} == {row.messages[1].content}


def _kind(one: Sample) -> set[str]:
    return {*one.labels, one.voice.emotion, *one.music.genre} - {""}


def test_scenes_whose_events_may_hold_several_sounds_are_not_counted() -> None:
    once = [changed(one, extras={"countable": False}) for one in scenes()]
    listed = [changed(one, extras={"composed": {"countable": ["bell"]}}) for one in scenes()]
    assert rows(scenes(), "count") and not rows(once, "count")
    assert {row.meta["phrase"] for row in rows(listed, "count")} <= {phrase("bell")}


def test_close_events_are_not_asked_for_their_order() -> None:
    both = (Event("dog bark", 1.0, 2.0), Event("bell", 1.1, 2.0))
    close = sample("close", labels=("dog bark", "bell"), events=both, complete=True)
    assert not rows([close], "order_first", "order_after", "order_list", rate=10)


def test_thinking_comes_only_with_its_own_question() -> None:
    made = {row.meta["recordings"][0]: row for row in rows(world(), "fraud", rate=1)}
    own, plain = made["train-call"], made["train-call-2"]
    assert own.messages[1].content.startswith("<think>They ask for a code.</think>\n{")
    assert "<think>" in own.messages[0].content and "<think>" not in plain.messages[0].content
    assert plain.messages[1].content == '{"is_fraud": false}'


def test_words_that_are_said_are_no_sounds_and_have_no_times_where_others_may_be_said() -> None:
    word = sample("word", labels=("no",), transcript="No", complete=True)
    assert not rows([word], "label", "label_name", "yes_no") and rows([word], "transcribe")
    named = (Event("speech", 0.5, 0.9, text="france"),)
    spoken = sample("named", events=named, transcript="in france it rains")
    assert not rows([spoken], "span", "when", "event_length") and rows([spoken], "said_at")
    assert rows([changed(spoken, complete=True)], "span")
    song = changed(spoken, transcript="", language="en", music=world()[-1].music, events=())
    assert rows([changed(song, transcript="la")], "language")


def test_children_and_values_near_a_bound_are_not_asked_about() -> None:
    voice = voices()[1].voice
    child = changed(voices()[1], voice=dataclasses.replace(voice, age=9.0))
    assert not rows([child], "sex") and rows([voices()[1]], "sex")
    near = changed(voices()[1], extras={"measured": {"pitch_hz": 147.0}})
    assert not rows([near], "pitch") and rows([changed(near, extras={"measured": {"pitch_hz": 110.0}})], "pitch")
