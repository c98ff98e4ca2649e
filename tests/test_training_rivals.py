"""Which other answers a row allows, worded like its own."""

from __future__ import annotations

from typing import Any

import pytest

from data_prep.makers.measures import LOUDNESS_WORDS, PITCH_WORDS, SPEED_WORDS
from data_prep.records import Message, Record
from training.rivals import CLOSED, worded


def _record(said: str, audios: int = 1, task: str = "t", **meta: Any) -> Record:
    messages = (Message("user", "<audio>" * audios + "what ?"), Message("assistant", said))
    return Record("1", messages, tuple(f"{i}.wav" for i in range(audios)), "s", task, "test", "CC0", 1.0, meta)


OPTIONS = ["a siren wailing", "a choir singing"]


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (_record("No, I hear rain.", answer="no"), ("No", "Yes")),
        (_record("Yes, they overlap.", answer="yes"), ("Yes", "No")),
        (
            _record("A siren wailing comes first.", answer="a siren wailing", options=OPTIONS),
            ("A siren wailing comes first.", "A choir singing comes first."),
        ),
        (_record("(B)", answer="a choir singing", options=OPTIONS, correct=1), ("(B)", "(A)")),
        (_record("The second one.", audios=3), ("The second one.", "The first one.", "The third one.")),
        (_record("The second one.", audios=1), ()),
        (_record("Four times.", answer=4), ()),
        (_record("Low: about 121 Hz.", task="pitch"), ("Low", "Medium", "High")),
        (_record("It is a man.", task="sex"), ("It is a man", "It is a woman")),
        (
            _record("Four times.", task="count"),
            ("Four times", "Once", "Two times", "Three times", "Five times"),
        ),
        (_record("Loud or quiet, who knows.", task="energy"), ()),
        (_record("First rain, then wind.", answer=["rain", "wind"]), ()),
    ],
)
def test_rivals_are_what_else_the_question_allows(record: Record, wanted: tuple[str, ...]) -> None:
    assert worded(record) == wanted


def test_measured_words_are_those_that_the_makers_say() -> None:
    assert (CLOSED["pitch"], CLOSED["energy"], CLOSED["speed"]) == (PITCH_WORDS, LOUDNESS_WORDS, SPEED_WORDS)
