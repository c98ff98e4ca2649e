"""Evidence that depends on the question: which sounds it names, and what was heard of them."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_model
import torch
from hypothesis import given
from hypothesis import strategies as st

from alm.asked import Scores, asked, asked_in, asked_text, with_asked
from alm.mentions import MOST_MENTIONS, Mention, Vocabulary
from alm.testing import noise, tone

WORDS = {
    "dog bark": ["a dog barking", "dog", "barking"],
    "bell": ["a bell ringing", "bell", "ringing"],
    "bicycle bell": ["a bicycle bell", "bike bell"],
    "bongo": ["a bongo drum", "bongo", "drum"],
    "conga": ["a conga drum", "conga", "drum"],
}
LABELS = list(WORDS)
OPTIONS = {"max_new_tokens": 3}


def found(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(m.words, m.labels) for m in Vocabulary(WORDS).find(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Is a dog barking heard?", [("a dog barking", ("dog bark",))]),
        ("DOGS or bells?", [("DOGS", ("dog bark",)), ("bells", ("bell",))]),
        ("A. dog-barking\nB. a bicycle bell", [("dog-barking", ("dog bark",)), ("a bicycle bell", ("bicycle bell",))]),
        ("dog bells\nbike bell", [("dog bells", ("bell", "dog bark")), ("bike bell", ("bicycle bell",))]),
        ("some drum", [("drum", ("bongo", "conga"))]),
        ("a conga drum and a dog and dogs", [("a conga drum", ("conga",)), ("dog", ("dog bark",))]),
        ("Doggerel, bellows, hot dogma", []),
        ("", []),
    ],
)
def test_mentions(text: str, wanted: list[tuple[str, tuple[str, ...]]]) -> None:
    assert found(text) == wanted


@given(st.text(st.sampled_from("a dogbel\n-.D_é\u0130\U0001f436"), max_size=200))
def test_any_text_is_bounded_and_quoted_from(text: str) -> None:
    vocabulary = Vocabulary({**WORDS, **{f"x{i}": [c] for i, c in enumerate("abcdefghijklmnop")}})
    mentions = vocabulary.find(text)
    assert len(mentions) <= MOST_MENTIONS
    assert all(m.words in text and m.labels for m in mentions)
    assert len({m.labels for m in mentions}) == len(mentions)


def test_a_long_text_takes_no_long_time() -> None:
    assert len(Vocabulary(WORDS).find("a dog barking " * 50_000)) == 1


def scores(whole: dict[str, float], along: dict[str, list[float]]) -> Scores:
    stretches = torch.full((3, len(LABELS)), -9.0)
    for label, values in along.items():
        stretches[:, LABELS.index(label)] = torch.tensor(values)
    logits = torch.tensor([whole.get(c, -9.0) for c in LABELS])
    return Scores(logits, stretches.half(), torch.tensor([0.5, 1.0, 1.5]))


def test_likeliest_first_and_in_time() -> None:
    heard = scores({"dog bark": -1.0, "bell": -4.0}, {"dog bark": [-8.0, -3.0, -1.0], "bell": [-2.0, -2.5, -8.0]})
    told = asked(Vocabulary(WORDS).find("Which is first, a bell ringing or a dog barking?"), heard, LABELS)
    assert [(a.words, a.seconds, a.sureness) for a in told] == [
        ("a dog barking", 1.5, "surely"),
        ("a bell ringing", 0.5, "likely"),
    ]
    assert asked_text(told) == (
        "[asked for: a dog barking surely, a bell ringing likely]\n"
        "[in time: first a bell ringing, then a dog barking]\n[most of all: a dog barking]"
    )


def test_an_ambiguous_word_is_as_sure_as_its_surest_class() -> None:
    heard = scores({"conga": 1.0}, {"conga": [1.0, 0.0, 0.0]})
    (told,) = asked([Mention("drum", ("bongo", "conga"))], heard, LABELS)
    assert told.logit == 1.0 and asked([Mention("x", ("no such class",))], heard, LABELS) == []


def message(text: str, *audio: str) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [*({"type": "audio", "audio": a} for a in audio), {"type": "text", "text": text}],
    }


def test_a_question_is_about_its_own_recordings_or_the_last_ones() -> None:
    heard = {"one": scores({"bell": 2.0}, {}), "two": scores({}, {})}
    vocabulary = Vocabulary(WORDS)
    earlier = [message("What?", "one"), {"role": "assistant", "content": "A dog."}]
    own = asked_in(message("A bell?", "two"), earlier, vocabulary, LABELS, heard.get)
    assert [(a.recording, a.sureness) for a in own] == [(2, "no")]
    later = asked_in(message("A bell?"), [*earlier, message("And?", "two")], vocabulary, LABELS, heard.get)
    assert asked_text(later, several=True) == (
        "[asked for, audio 1: bell likely]\n[asked for, audio 2: bell no]\n[most of all: audio 1]"
    )
    assert asked_in(message("A bell?"), [], vocabulary, LABELS, heard.get) == []
    assert with_asked(message("A bell?"), [], vocabulary, LABELS, heard.get) == (message("A bell?"), ())


def test_in_a_conversation_it_follows_the_question_and_is_no_part_of_the_history() -> None:
    a = tiny_model.assistant(["dog bark", "bell"])
    a.model.config.tag_words = {c: WORDS[c] for c in ("dog bark", "bell")}
    chat = a.conversation(evidence=True)
    answer = chat.ask("Is there a dog?", audio=tone(), **OPTIONS)
    assert [x.words for x in answer.asked] == ["dog"]
    read = a.encode([*chat._head(chat._messages), *chat._messages[:1]]).ids
    text = a.processor.tokenizer.decode(read)
    assert "Is there a dog?\n[asked for: dog " in text
    assert chat.history[0]["content"][-1] == {"type": "text", "text": "Is there a dog?"}
    later = chat.ask("A bell?", **OPTIONS)
    assert [x.words for x in later.asked] == ["bell"] and later.usage.reused_tokens > answer.usage.prompt_tokens
    bare = a.conversation(evidence=False).ask("Is there a dog?", audio=noise(), **OPTIONS)
    assert bare.asked == (), "control: without evidence nothing is told"
