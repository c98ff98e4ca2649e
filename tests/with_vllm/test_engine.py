"""The engine behind `alm serve --engine vllm` and `alm batch --engine vllm`, with vLLM's own processes."""

from __future__ import annotations

import base64
import json
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")

import torch
from fastapi.testclient import TestClient
from peft import LoraConfig
from side_by_side import asked, audio, ours, prepared, text
from test_schemes import CONVERSATIONS, LONG, NEW, SHORT, assistant

from alm.adapters import NAME
from alm.audio import load_audio, waveform_to_wav_bytes
from alm.batching import Sampling
from alm.conversation import Answer
from alm.errors import AlmError
from serve.api.app import create_app
from serve.api.recordings import Opener, RequestLimits
from serve.api.settings import ServerSettings
from serve.batch.answering import BatchAnswerer
from serve.batch.manifest import BatchSettings
from serve.batch.rows import Row
from serve.batch.stages import Ready
from serve.chat.cards import harmless
from serve.chat.limits import ChatLimits
from serve.chat.models import Models, Offer, Served
from serve.chat.page import ChatPage
from serve.chat.sessions import Sessions
from serve.engines.jobs import Ended, Event, Failed, Job, Piece, QueueFullError
from serve.engines.vllm import VllmEngine
from serve.engines.vllm_start import VllmSettings


@pytest.fixture(scope="module")
def engine() -> Iterator[VllmEngine]:
    """Of a model with a LoRA that conversations without recordings go without."""
    listening = assistant("absent", "delayed", 2)
    listening.model.add_adapter(LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"]), adapter_name=NAME)
    with torch.no_grad():
        for name, weight in listening.model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(std=0.5)
    listening.model.eval()
    made = VllmEngine(listening, VllmSettings(rows=2, cache_gigabytes=0.25), most_waiting=3)
    yield made
    made.close()


def events_of(engine: VllmEngine, messages: list[dict[str, Any]], **options: Any) -> list[Event]:
    told: queue.Queue[Event] = queue.Queue()
    engine.submit(Job(messages, told.put, options.pop("sampling", Sampling(NEW)), **options))
    found = [told.get(timeout=240)]
    while isinstance(found[-1], Piece):
        found.append(told.get(timeout=240))
    return found


def answer_of(engine: VllmEngine, messages: list[dict[str, Any]], **options: Any) -> Answer:
    last = events_of(engine, messages, **options)[-1]
    assert isinstance(last, Ended), last
    return last.answer


def expected(engine: VllmEngine, messages: list[dict[str, Any]]) -> str:
    made = engine.assistant
    ids = ours(made, prepared(made, [messages], NEW), NEW)[0]
    return str(made.processor.tokenizer.decode(ids, skip_special_tokens=True)).strip()


def test_answers_come_in_pieces_and_are_ours(engine: VllmEngine) -> None:
    for messages in CONVERSATIONS:
        events = events_of(engine, messages)
        assert isinstance(events[-1], Ended)
        answer = events[-1].answer
        assert answer.text == expected(engine, messages)
        assert "".join(e.text for e in events if isinstance(e, Piece)).strip() == answer.text
        assert answer.usage.prompt_tokens == len(prepared(engine.assistant, [messages], NEW)[0].prompt.ids)
        assert answer.finish in ("stop", "length")


def test_an_answer_ends_before_a_stop_sequence_and_at_its_length(engine: VllmEngine) -> None:
    whole = answer_of(engine, CONVERSATIONS[0]).text
    assert len(whole) > 6
    cut = answer_of(engine, CONVERSATIONS[0], stop=(whole[3:5],))
    assert (cut.text, cut.finish) == (whole[: whole.find(whole[3:5])].strip(), "stop")
    short = answer_of(engine, CONVERSATIONS[0], sampling=Sampling(2))
    assert (short.usage.new_tokens, short.finish) == (2, "length")


def test_a_text_that_spells_the_placeholder_takes_no_recording(engine: VllmEngine) -> None:
    token = engine.assistant.processor.audio_token
    typed = asked(text(f"{token} <|im_end|> {token}"), audio(SHORT), text(f"and {token}?"))
    answer = answer_of(engine, typed)
    assert answer.text == expected(engine, typed)
    assert answer.usage.audio_tokens == engine.assistant.model.config.tokens_per_window
    alone = answer_of(engine, asked(text(token)))
    assert alone.usage.audio_tokens == 0 and alone.text == expected(engine, asked(text(token)))


def test_limits_and_mistakes_are_told_as_by_the_other_engine(engine: VllmEngine) -> None:
    many = asked(*[audio(SHORT)] * 5, text("How many?"))
    last = events_of(engine, many)[-1]
    assert isinstance(last, Failed) and isinstance(last.error, AlmError) and "the limit is 4" in str(last.error)
    long = events_of(engine, asked(text("word " * 2000)))[-1]
    assert isinstance(long, Failed) and isinstance(long.error, AlmError) and "2000" in str(long.error)
    odd = events_of(engine, CONVERSATIONS[0], sampling=Sampling(4, settings={"no_repeat_ngram_size": 2}))[-1]
    assert isinstance(odd, Failed) and isinstance(odd.error, AlmError) and "no_repeat_ngram_size" in str(odd.error)
    assert answer_of(engine, CONVERSATIONS[1]).text, "the engine goes on"


def test_a_full_queue_refuses_and_a_cancelled_job_makes_room(engine: VllmEngine) -> None:
    told: queue.Queue[Event] = queue.Queue()
    jobs = []
    with pytest.raises(QueueFullError):
        for _ in range(50):
            job = Job(asked(audio(LONG), text("Go on and on")), told.put, Sampling(900))
            engine.submit(job)
            jobs.append(job)
    for job in jobs:
        job.cancel()
    until = time.monotonic() + 120
    while engine.state().running or engine.state().waiting:
        assert time.monotonic() < until, "cancelled jobs hold their places"
        time.sleep(0.05)
    assert answer_of(engine, CONVERSATIONS[1]).text


def test_sampling_follows_its_seed(engine: VllmEngine) -> None:
    def said(seed: int) -> str:
        return answer_of(engine, CONVERSATIONS[0], sampling=Sampling(NEW, 1.5, seed)).text

    assert said(1) == said(1) and len({said(s) for s in range(4)}) > 1


def test_rows_of_a_batch_are_answered_where_they_belong(engine: VllmEngine) -> None:
    def ready(number: int, messages: list[dict[str, str]], *recordings: Any) -> Ready:
        return Ready(Row(str(number), tuple(messages), (Path("unused.wav"),) * len(recordings)), list(recordings))

    rows = [
        ready(1, [{"role": "user", "content": "<audio>\nWhat is this?"}], SHORT),
        ready(2, [{"role": "user", "content": "<audio><audio>\nOne too many"}], LONG),
        ready(3, [{"role": "user", "content": "Hello there"}]),
    ]
    engine.most_waiting = 8
    results = dict(BatchAnswerer(engine, BatchSettings("miniature", max_new_tokens=NEW))(rows))
    assert isinstance(results[0], Answer) and results[0].text == expected(engine, CONVERSATIONS[0])
    assert isinstance(results[1], AlmError)
    assert isinstance(results[2], Answer) and results[2].text == expected(engine, CONVERSATIONS[1])


def test_the_server_answers_over_http(engine: VllmEngine) -> None:
    """As the engine does without HTTP, streamed and not; what is wrong is said in OpenAI's shape."""
    limits = RequestLimits(max_body_megabytes=1, max_recordings=3, max_file_megabytes=1, max_seconds=15)
    client = TestClient(create_app(engine, ServerSettings("miniature", ("key",), 64, NEW, Opener(limits))))
    heard = waveform_to_wav_bytes(SHORT)
    sound = base64.b64encode(heard).decode()
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}
    content = [part, {"type": "text", "text": "what is it"}]
    body = {"model": "miniature", "max_tokens": NEW, "messages": [{"role": "user", "content": content}]}

    def post(**more: Any) -> Any:
        return client.post("/v1/chat/completions", json=body | more, headers={"Authorization": "Bearer key"})

    expected = answer_of(engine, asked(audio(load_audio(heard)), text("what is it"))).text
    found = post().json()
    assert found["choices"][0]["message"]["content"] == expected and found["usage"]["completion_tokens"] > 0
    chunks = [line[6:] for line in post(stream=True).text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"].get("content") or "" for c in chunks for choice in json.loads(c)["choices"]]
    assert "".join(deltas) == expected
    wrong = post(max_tokens=10**6)
    assert wrong.status_code == 400 and wrong.json()["error"]["type"] == "invalid_request_error"
    assert client.post("/v1/chat/completions", json=body).status_code == 401, "control: the key is asked for"


def test_the_chat_page_talks_through_it(engine: VllmEngine, tmp_path: Path) -> None:
    offer = Offer("miniature", "tiny", None, "delayed", 1024)
    models = Models([offer], lambda _: Served(engine.assistant, engine))
    page, tab = ChatPage(Sessions(models, ChatLimits(), tmp_path)), SimpleNamespace(session_hash="tab", username=None)
    sound = tmp_path / "sound.wav"
    sound.write_bytes(waveform_to_wav_bytes(SHORT))
    page.on_submit({"text": "what is it", "files": [str(sound)]}, tab)
    *_, last = page.on_answer(False, NEW, 0.0, "", "miniature", tab)
    shown = last[1] if isinstance(last[1], list) else last[1].value
    expected = answer_of(engine, asked(audio(load_audio(sound)), text("what is it"))).text
    assert expected and str(shown[-1]["content"]).startswith(harmless(expected))
