"""Questions about composed scenes: every answer follows from the table of events, and test is asked in other words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from data_prep.makers import TASKS as ALL_TASKS
from data_prep.makers import TaskPlan
from data_prep.makers.composed import TASKS, shared_seconds
from data_prep.makers.names import load_names
from data_prep.makers.rows import RowMaker
from data_prep.makers.survey import survey
from data_prep.makers.wording import load_book
from data_prep.records import SPLITS, Record
from data_prep.samples import Event, Sample

LABELS = ("dog bark", "piano", "rain", "siren", "church bells")
TASK = {task.name: task for task in TASKS}


def scene(*spans: tuple[float, float], seconds: float = 20.0, split: str = "train", **facts: object) -> Sample:
    """A scene with an event for each span, of different labels."""
    named = enumerate(zip(LABELS, spans, strict=False))
    events = tuple(Event(label, *span, distance=1.0 + 2 * n) for n, (label, span) in named)
    parts = [{"label": e.label, "level_db": -20.0 - 6 * n} for n, e in enumerate(events)]
    extras = {"composed": {"kind": "timeline", "effects": {}, "parts": parts, "countable": []} | facts}
    labels = tuple(event.label for event in events)
    return Sample(f"s-{split}", "/x/s.flac", "toy", split, "CC0-1.0", seconds=seconds, labels=labels, label_set="toy",
                  events=events, complete=True, extras=extras)  # fmt: skip


def rows(sample: Sample, name: str, times: int = 30) -> Iterator[Record]:
    """What a task makes of a sample, with several seeds."""
    for seed in range(times):
        maker = RowMaker(survey([sample], sample.split), TaskPlan(), seed, (TASK[name],))
        yield from maker.rows(sample)


def asked(record: Record) -> str:
    return record.messages[0].content.lower()


def phrase(label: str) -> str:
    return load_names().phrase(label)


def test_overlap_is_told_from_the_table() -> None:
    sample = scene((1.0, 3.0), (2.0, 5.0), (6.0, 8.0))
    answers = set()
    for record in rows(sample, "overlap"):
        told = [e for e in sample.events if phrase(e.label) in asked(record)]
        assert record.meta["answer"] == ("yes" if shared_seconds(*told) > 0 else "no")
        assert record.messages[1].content.lower().startswith(record.meta["answer"])
        answers.add(record.meta["answer"])
    assert answers == {"yes", "no"}
    assert {r.meta["answer"] for r in rows(sample, "overlap_seconds")} == {1.0}
    assert not list(rows(scene((1.0, 3.0), (3.1, 5.0)), "overlap")), "too close to call"


def test_what_begins_during_a_sound() -> None:
    for record in rows(scene((1.0, 4.0), (2.0, 5.0), (7.0, 8.0)), "while"):
        assert phrase("dog bark") in asked(record) and record.meta["answer"] == phrase("piano")
    assert not list(rows(scene((1.0, 2.0), (3.0, 4.0)), "while"))


def test_statements_are_right_half_of_the_time() -> None:
    answers = []
    for record in rows(scene((1.0, 2.0), (3.0, 4.0)), "statement", 200):
        text = asked(record)
        in_order = text.index(phrase("dog bark")) < text.index(phrase("piano"))
        assert record.meta["answer"] == ("yes" if in_order else "no")
        answers.append(record.meta["answer"])
    assert 0.35 < answers.count("yes") / len(answers) < 0.65
    assert not list(rows(scene((1.0, 3.5), (3.0, 4.0)), "statement")), "they overlap"


def test_a_needle_has_its_time() -> None:
    long = scene((754.0, 756.0), seconds=1800.0, needle="dog bark")
    for record in rows(long, "needle"):
        assert record.meta["answer"] == 754.0 and "12:34" in record.messages[1].content
    assert not list(rows(scene((4.0, 6.0), needle="dog bark"), "needle"))


def test_the_longest_silence() -> None:
    quiet = scene((1.0, 2.0), (10.0, 12.0))
    assert not list(rows(quiet, "quiet")), "two are about as long"
    assert {tuple(r.meta["answer"]) for r in rows(scene((1.0, 2.0), (15.0, 18.0)), "quiet")} == {(2.0, 15.0)}
    assert not list(rows(scene((1.0, 2.0), effects={"noise_snr_db": 20.0}), "quiet"))
    over = dataclasses.replace(quiet, events=(*quiet.events, Event("wind", 0.0, 20.0, background=True)))
    assert not list(rows(over, "quiet"))


def test_louder_and_nearer() -> None:
    sample = scene((1.0, 2.0), (3.0, 4.0))
    for name in ("louder_of", "nearer"):
        made = list(rows(sample, name))
        assert made and {r.meta["answer"] for r in made} == {phrase("dog bark")}
        assert len({tuple(r.meta["options"]) for r in made}) == 2, "the right one must not always come first"
    same = dataclasses.replace(sample, events=tuple(dataclasses.replace(e, distance=2.0) for e in sample.events))
    assert not list(rows(same, "nearer"))


@pytest.mark.parametrize("name", sorted(TASK))
def test_words_of_splits_are_kept_apart(name: str) -> None:
    book = load_book()[name]
    pools = [set(book.asked[split]) for split in SPLITS]
    assert len(pools[0]) >= 20 and min(len(pools[1]), len(pools[2])) >= 3
    assert not pools[0] & pools[1] and not pools[0] & pools[2] and not pools[1] & pools[2]
    assert ALL_TASKS[name] is TASK[name]


def test_incomplete_samples_are_not_asked() -> None:
    open_ended = dataclasses.replace(scene((1.0, 3.0), (2.0, 5.0)), complete=False)
    assert not any(list(rows(open_ended, name, 5)) for name in ("overlap", "while", "statement", "overlap_seconds"))
