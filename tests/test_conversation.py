"""Conversations: nothing encoded twice, resumed equals fresh, stop, undo, limits, two at once."""

from __future__ import annotations

import threading

import pytest
import tiny_model
import torch

from alm.errors import AudioError, ConversationError
from alm.testing import click_train, noise, tone

OPTIONS = {"max_new_tokens": 5}


def talker() -> tiny_model.Assistant:
    """It can only say spaces, so that the streamer, which waits for whole words, gives a piece at each token."""
    space = tiny_model.tokenizer()(" ")["input_ids"][0]
    others = [i for i in range(len(tiny_model.tokenizer())) if i != space]
    return tiny_model.assistant(generation={"suppress_tokens": others})


def test_second_turn_encodes_nothing_and_reads_only_what_is_new() -> None:
    a = tiny_model.assistant(["dog", "cat"])
    chat = a.conversation()
    first = chat.ask("What is this?", audio=tone(seconds=3.0), **OPTIONS)
    assert (first.usage.encoded_recordings, first.usage.audio_tokens, a.ears.encoded) == (1, 12, 1)
    second = chat.ask("And how many times?", **OPTIONS)
    assert (second.usage.encoded_recordings, a.ears.encoded) == (0, 1)
    assert second.usage.reused_tokens > first.usage.prompt_tokens
    a.conversation().ask("Again?", audio=tone(seconds=3.0), **OPTIONS)
    assert a.ears.encoded == 1, "the same sound is known by its content"
    a.conversation().ask("Again?", audio=tone(seconds=3.1), **OPTIONS)
    assert a.ears.encoded == 2, "control: another sound is encoded"


@pytest.mark.parametrize("tags", [None, ["dog", "cat"]])
def test_resumed_equals_fresh_with_the_same_history(tags: list[str] | None) -> None:
    a = tiny_model.assistant(tags)
    chat = a.conversation()
    turns = [
        ("Hello", None),
        ("What?", tone(seconds=3.0)),
        ("And?", None),
        ("Compare", [noise(), click_train()]),
        ("So?", None),
    ]
    for question, audio in turns:
        chat.ask(question, audio=audio, **OPTIONS)
        again = a.conversation()
        again._messages = chat._messages[:-2]
        fresh = again.ask(question, audio=audio, **OPTIONS)
        assert fresh.usage.reused_tokens == 0
        assert fresh.text == chat.last.text if chat.last else False
        assert again._messages[-1]["token_ids"] == chat._messages[-1]["token_ids"]


def test_the_presets_system_prompt_stands_once_there_is_a_recording() -> None:
    a = tiny_model.assistant()
    user = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}

    def with_system(text: str) -> int:
        return len(a.encode([{"role": "system", "content": text}, user]).ids)

    plain, preset, own = len(a.encode([user]).ids), with_system("Listen."), with_system("Always be kind.")
    assert len({plain, preset, own}) == 3
    chat = a.conversation()
    assert chat.ask("Hello", **OPTIONS).usage.prompt_tokens == plain
    assert a.conversation("Always be kind.").ask("Hello", **OPTIONS).usage.prompt_tokens == own
    a.model.config.lora_on_text_only = True
    assert a.conversation().ask("Hello", **OPTIONS).usage.prompt_tokens == preset, "control: LoRA expects its prompt"
    a.model.config.lora_on_text_only = False
    heard = chat.ask("What is this?", audio=tone(seconds=3.0), **OPTIONS).usage
    fresh = a.conversation("Listen.")
    fresh._messages = chat._messages[:-2]
    assert fresh.ask("What is this?", audio=tone(seconds=3.0), **OPTIONS).usage.prompt_tokens == heard.prompt_tokens


def test_undo_then_another_recording_of_the_same_length() -> None:
    """Same token ids, other sound: the old keys and values must not be used."""
    a = tiny_model.assistant()
    chat, plain = a.conversation(), a.conversation()
    chat.ask("What?", audio=tone(seconds=1.0), **OPTIONS)
    chat.undo()
    assert chat.history == []
    got = chat.ask("What?", audio=noise(seconds=1.0), **OPTIONS)
    want = plain.ask("What?", audio=noise(seconds=1.0), **OPTIONS)
    assert chat._messages[-1]["token_ids"] == plain._messages[-1]["token_ids"]
    assert got.usage.audio_tokens == want.usage.audio_tokens


def test_stop_keeps_what_was_said_and_the_next_turn_works() -> None:
    a = talker()
    chat, stop = a.conversation(), threading.Event()
    pieces = []
    for piece in chat.stream("Tell me", audio=tone(), max_new_tokens=1500, stop=stop):
        pieces.append(piece)
        stop.set()
    assert chat.last is not None
    assert chat.last.finish == "cancelled"
    assert chat.last.usage.new_tokens < 1500
    assert chat.ask("Go on", **OPTIONS).finish in ("stop", "length")


def test_closing_the_stream_stops_the_generation() -> None:
    a = talker()
    chat = a.conversation()
    stream = chat.stream("Tell me", audio=tone(), max_new_tokens=1500)
    next(stream)
    stream.close()
    assert not a.lock.locked()
    assert [m["role"] for m in chat.history] == ["user", "assistant"]
    assert chat.last is not None and chat.last.finish == "cancelled"


def test_limits_name_value_and_remedy_and_leave_the_conversation_as_it_was() -> None:
    a = tiny_model.assistant(max_recordings=2, context_tokens=400)
    chat = a.conversation()
    chat.ask("One", audio=tone(), **OPTIONS)
    before = chat.history
    with pytest.raises(ConversationError, match="3 recordings; the limit is 2"):
        chat.ask("More", audio=[noise(), click_train()], **OPTIONS)
    with pytest.raises(ConversationError, match="the limit is 400"):
        chat.ask("x" * 400, **OPTIONS)
    with pytest.raises(AudioError):
        chat.ask("Bad", audio=b"not audio", **OPTIONS)
    with pytest.raises(AudioError, match="longer than the limit"):
        chat.ask("Long", audio=tone(seconds=30.0), **OPTIONS)
    assert chat.history == before


def test_two_conversations_at_once_do_not_mix() -> None:
    a = tiny_model.assistant()
    recordings = [tone(), noise()]
    alone = [a.conversation().ask("What?", audio=r, **OPTIONS).text for r in recordings]
    got: dict[int, str] = {}

    def talk(i: int) -> None:
        got[i] = a.conversation().ask("What?", audio=recordings[i], **OPTIONS).text

    threads = [threading.Thread(target=talk, args=(i,)) for i in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [got[0], got[1]] == alone


def test_score_equals_the_models_own_likelihood() -> None:
    a = tiny_model.assistant()
    row = [{"role": "user", "content": "<audio>What?"}]
    scores = a.score(row, [tone()], ["yes", "no", "yes"])
    assert scores[0] == pytest.approx(scores[2], abs=1e-4)
    asked = {"role": "user", "content": [{"type": "audio", "audio": tone()}, {"type": "text", "text": "What?"}]}
    encoded = a.encode([asked, {"role": "assistant", "content": "yes"}], add_generation_prompt=False)
    labels = torch.tensor([[i if m else -100 for i, m in zip(encoded.ids, encoded.answer, strict=True)]])
    out = a.model(input_ids=torch.tensor([encoded.ids]), labels=labels, audio_embeds=a.ears.hear(tone()).tokens)
    count = int((labels != -100).sum())
    assert scores[0] == pytest.approx(float(-out.loss * count), abs=1e-3)


def test_tags_keep_the_recordings_own_time() -> None:
    a = tiny_model.assistant(["dog", "cat"])
    evidence = a.analyse(tone(seconds=7.3))
    assert all(0 <= t.start < t.end <= 7.3 + 1e-6 for t in evidence.tags)
    assert evidence.seconds == pytest.approx(7.3)


def test_long_recordings_in_groups_equal_all_at_once() -> None:
    a = tiny_model.assistant()
    long = noise(seconds=19.0)
    inputs = a.processor.feature_extractor([long])
    with torch.no_grad():
        whole = a.model.get_audio_features(**inputs)
    assert float((a.ears.hear(long).tokens - whole).abs().max()) < 1e-5
