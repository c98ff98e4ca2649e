"""Readers of numbers, times, lists and objects in free answers: golden cases, properties, texts made to upset them."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.official import blab, ltu_age, teleantifraud
from eval.scorers.entities import read_entities
from eval.scorers.events import event_tally, read_events
from eval.scorers.from_json import json_in
from eval.scorers.quantities import clock, number_in, quantities, range_in, seconds_in, seconds_of
from eval.scorers.spans import read_spans
from eval.scorers.words import read_words

ANY = st.one_of(st.text(max_size=300), st.text(alphabet=' 0123456789:.,-[]{}"\'abcshmino\n/%e', max_size=300))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:34", 754), ("1:02:03", 3723), ("30.0", 30), ("about 30 seconds", 30), ("95.5", 95.5),
        ("00:01:02,500", 62.5),
        ("1 h 2 min 3 s", 3723), ("1h2m3s", 3723), ("2 minutes and 5 seconds", 125), ("1 min 30", 90), ("2m30", 150),
        ("a minute and a half", 90), ("half an hour", 1800), ("twenty-five seconds", 25), ("2分钟30秒", 150),
        ("1:30 (90 s)", 90), ("95.4 seconds (1:35)", 95.4), ("The answer is 40, not counting the 3 s of silence", None),
        ("from 10 s to 40 s, so 30 s", 30), ("10 or 20 s", None), ("10-20 s", None), ("1:75", None),
        ("12:34:56:78", None),
        ("v1.2.3", None), ("3,5", None), ("2nd", None), ("", None), ("soon", None),
    ],
)  # fmt: skip
def test_times(text: str, seconds: float | None) -> None:
    found = seconds_in(text).value
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3), ("three", 3), ("There are 3 speakers.", 3), ("2 or 3", None), ("1,234", 1234), ("-4.5", -4.5),
        ("mp3", None), ("one hundred and five", 105), ("two thousand and ten", 2010), ("Twice", 2), ("two three", None),
        ("I hear one of the speakers say 5 things", 5), ("In 51 minutes, the answer is 3", 3), ("**7**", 7),
        ("½", None),
    ],
)  # fmt: skip
def test_numbers(text: str, number: float | None) -> None:
    assert number_in(text).value == number


def test_numbers_before_their_noun_come_first() -> None:
    text = "In 51 minutes I hear 3 speakers"
    assert number_in(text, ("speakers",)).value == 3
    assert number_in(text).value is None, "control"


@pytest.mark.parametrize(
    ("text", "ends"),
    [("2-3", (2, 3)), ("between 2 and 4", (2, 4)), ("2 or 3", (2, 3)), ("4", (4, 4)), ("3-2", None), ("1, 2", None)],
)
def test_ranges(text: str, ends: tuple[float, float] | None) -> None:
    assert range_in(text) == ends


@given(st.integers(0, 359_999))
def test_every_clock_reads_as_it_is_written(seconds: int) -> None:
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    long = f"{hours}:{minutes:02d}:{rest:02d}"
    short = f"{seconds // 60}:{rest:02d}"
    words = f"{hours} hours, {minutes} minutes and {rest} seconds"
    for text in (long, f"It lasts {long}.", words, *([short] if seconds < 600_000 else [])):
        assert seconds_in(text).value == seconds, text
    assert clock(long) == seconds_of(long) == seconds


@given(st.floats(0, 1e6, allow_nan=False), st.sampled_from(["{}", "about {} s", "The answer is {} seconds.", "**{}**"]))
def test_every_number_reads_as_it_is_written(value: float, frame: str) -> None:
    shown = f"{value:.3f}"
    assert seconds_in(frame.format(shown)).value == float(shown)
    assert seconds_of(shown) == float(shown)


@given(ANY)
@settings(max_examples=400)
def test_no_text_upsets_a_reader(text: str) -> None:
    for number in (seconds_in(text).value, number_in(text).value, clock(text), seconds_of(text)):
        assert number is None or math.isfinite(number)
    ends = range_in(text)
    assert ends is None or ends[0] <= ends[1]
    assert all(0 <= q.start < q.end <= len(text) for q in quantities(text))
    for start, end in read_spans(text).value or []:
        assert 0 <= start <= end
    for _, start, end in read_words(text).value or []:
        assert 0 <= start <= end
    for event in read_events(text, ("dog",)).value or []:
        assert 0 <= event.start <= event.end and event.label
    assert all(tag and phrase for tag, phrase in read_entities(text).value or [])
    assert isinstance(json_in(text).value, list | dict | None)
    ltu_age.first_age(text)
    blab.first_integer(text)
    assert teleantifraud.label(text, "scene")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["start", "end", "word", "label", "text", "class", "azi", "x"]), inner, max_size=5
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
@settings(max_examples=300)
def test_any_json_is_read_or_left(value: object) -> None:
    text = json.dumps(value)
    for reader in (read_spans, read_words, read_entities, read_events):
        found = reader(text)
        assert found.value is None or isinstance(found.value, list)


@given(st.lists(st.tuples(st.sampled_from(["dog", "it's"]), st.integers(0, 9999), st.integers(0, 500)), min_size=1))
def test_words_survive_their_json(words: list[tuple[str, int, int]]) -> None:
    rows = [{"word": w, "start": s / 100, "end": (s + d) / 100} for w, s, d in words]
    wanted = [(r["word"], r["start"], r["end"]) for r in rows]
    for text in (json.dumps(rows), f"Here:\n```json\n{json.dumps(rows)}\n```", json.dumps({"words": rows})):
        assert read_words(text).value == wanted


def test_json_that_is_almost_right_is_repaired_and_says_so() -> None:
    cut = '[{"word": "hi", "start": 0.1, "end": 0.3}, {"word": "you", "sta'
    assert json_in(cut).rule == "repaired" and len(read_words(cut).value or []) == 1
    assert json_in('[{"a": 1}]').rule == "json", "control"


HOSTILE = [
    "[" * 50_000, "[]" * 9_000, "1 " * 9_000, "one hundred and " * 2_000, "9" * 100_000, "1:" * 9_000,
    "a minute " * 3_000, "answer 1 2 " * 3_000, '[{"a": "b" ' * 9_000, "```json" * 10_000, "- a: 1 - 2\n" * 2_000,
    '{"a":' * 9_000 + "1", "[" + ",".join('{"class":"a","start":0,"end":1}' for _ in range(3_000)) + "]",
    "[[1,2]," * 9_000, "no " * 9_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_takes_bounded_time(text: str) -> None:
    started = time.process_time()
    for reader in (seconds_in, number_in, range_in, read_spans, read_words, read_entities, read_events):
        reader(text)  # type: ignore[operator]
    assert time.process_time() - started < 10


def test_tables_of_names_with_times_in_brackets() -> None:
    found = read_events("A hammer (0.0-7.5 s); a harpsichord (1.2-2.2 s), rain (3-4 s).").value or []
    assert [(e.label, e.start, e.end) for e in found] == [("A hammer", 0.0, 7.5)], "a comma is no end of a row"
    found = read_events("A hammer (0.0-7.5 s);\na harpsichord (0:01 - 0:02)").value or []
    assert [(e.label, e.end) for e in found] == [("A hammer", 7.5), ("a harpsichord", 2.0)]
    assert read_events("A hammer (loud); rain").value is None
    assert event_tally([], []).f1 == 1.0 and event_tally([], found).extra == 2
