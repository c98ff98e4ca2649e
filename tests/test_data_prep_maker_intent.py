"""Sentiment and acts of dialogue: from SLUE's tables to rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from maker_toys import changed, sample, voices

from data_prep.makers import make_records
from data_prep.makers.intent import ACT_WORDS
from data_prep.makers.plan import TaskPlan
from data_prep.readers import SOURCES
from data_prep.readers.base import ReadOptions
from data_prep.records import Record
from data_prep.samples import Sample
from tests.voice_sets import SETS

NAMES = ("sentiment", "dialogue_acts", "dialogue_act")


def rows(samples: list[Sample], split: str = "train", rate: float = 6.0) -> list[Record]:
    return list(make_records(samples, TaskPlan(tasks=NAMES, rate=rate), 0, split))


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_answers_are_those_of_the_source(split: str) -> None:
    samples = {one.id: one for one in voices(split)}
    made = rows(list(samples.values()), split)
    assert {row.task for row in made} == set(NAMES)
    said = {"yes": 0, "no": 0}
    for row in made:
        told = samples[row.meta["recordings"][0]].extras
        acts = [ACT_WORDS.get(act, act) for act in told.get("dialogue_acts", [])]
        if row.task == "sentiment":
            assert row.meta["answer"] == told["sentiment"] and told["sentiment"] in row.messages[1].content.lower()
        elif row.task == "dialogue_acts":
            assert row.meta["answer"] == acts and all(act in row.messages[1].content.lower() for act in acts)
        else:
            said[row.meta["answer"]] += 1
            assert (row.meta["class"] in acts) == (row.meta["answer"] == "yes")
            assert row.messages[1].content.lower().startswith(row.meta["answer"])
    assert min(said.values()) >= 3, "the control: both answers are asked for"


def test_a_question_to_make_sure_is_not_denied_to_be_a_question() -> None:
    made = [row for row in rows(voices(), rate=60.0) if row.task == "dialogue_act"]
    denied = {(row.meta["recordings"][0], row.meta["class"]) for row in made if row.meta["answer"] == "no"}
    assert ("train-act-0", "a question") not in denied and ("train-act-2", "a question") in denied


def test_words_that_are_no_sentiment_or_acts_are_not_asked_about() -> None:
    odd: list[dict[str, object]] = [{"sentiment": "mixed"}, {"sentiment": 3}, {"dialogue_acts": "thanks"},
                                    {"dialogue_acts": [1, None, " "]}, {}]  # fmt: skip
    assert not rows([sample(f"odd-{k}", extras=extras) for k, extras in enumerate(odd)])
    assert rows([changed(sample("good"), extras={"dialogue_acts": [1, "thanks"]})])


def test_what_the_readers_of_slue_give_is_asked_about(tmp_path: Path) -> None:
    asked = set()
    for name in ("slue-voxceleb", "slue-hvb"):
        SETS[name].build(tmp_path / name)
        found = [one for one in SOURCES[name].read(tmp_path / name, ReadOptions()) if isinstance(one, Sample)]
        asked |= {row.task for split in ("train", "dev", "test") for row in rows(found, split, rate=2.0)}
    assert asked == {"sentiment", "dialogue_acts"}, "the small set has no other act that could be denied"
