"""`/v1/audio/transcriptions` with the default's own transcriber and the official client."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
import tiny_model
from fastapi import FastAPI
from fastapi.testclient import TestClient

from alm.audio import load_audio, waveform_to_wav_bytes
from alm.testing import noise, tone
from alm.transcription import Transcriber, TranscriberConfig
from serve.api.app import create_app
from serve.api.recordings import Opener, RequestLimits
from serve.api.settings import ServerSettings
from serve.api.transcriptions import clock
from serve.engines.transformers import TransformersEngine

if TYPE_CHECKING:
    from alm.weights import TinyWeights

SPEECH = Path(__file__).parent / "data" / "speech.flac"
WORDS = "we will call you back"
LIMITS = RequestLimits(max_body_megabytes=2, max_file_megabytes=1, max_seconds=60)


def app_with(transcriber: Transcriber | None, **settings: Any) -> Iterator[FastAPI]:
    engine = TransformersEngine(tiny_model.assistant())
    yield create_app(engine, ServerSettings("miniature", ("key",), opener=Opener(LIMITS), **settings), transcriber)
    engine.close()


@pytest.fixture(scope="module")
def app(weights: TinyWeights) -> Iterator[FastAPI]:
    transcriber = Transcriber(weights.transcriber, TranscriberConfig(cpu_threads=1))
    yield from app_with(transcriber)
    transcriber.close()


@pytest.fixture(scope="module")
def gate_only() -> Iterator[TestClient]:
    """Without weights: what nobody speaks in does not need them."""
    for app in app_with(Transcriber(Path("nowhere"))):
        yield TestClient(app, headers={"Authorization": "Bearer key"})


@pytest.fixture
def client(app: FastAPI) -> openai.OpenAI:
    """The official client, talking to the application without a socket."""
    inside = TestClient(app, base_url="http://testserver")
    return openai.OpenAI(base_url="http://testserver/v1", api_key="key", max_retries=0, http_client=inside)


def post(client: TestClient, data: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/audio/transcriptions", files={"file": ("a.wav", data, "audio/wav")}, data=fields)


@pytest.mark.weights
def test_the_official_client_reads_what_is_said(client: openai.OpenAI) -> None:
    plain = client.audio.transcriptions.create(file=SPEECH, model="whisper-1")
    assert WORDS in plain.text.lower()
    text = client.audio.transcriptions.create(file=SPEECH, model="miniature", response_format="text")
    assert str(text).strip() == plain.text
    full = client.audio.transcriptions.create(
        file=SPEECH, model="whisper-1", response_format="verbose_json", language="en"
    )
    assert full.text == plain.text and full.segments
    assert 0 <= full.segments[0].start < full.segments[-1].end <= float(full.duration) + 1e-6
    assert float(full.duration) == pytest.approx(load_audio(SPEECH).seconds, abs=0.01)


@pytest.mark.weights
@pytest.mark.slow
def test_subtitles_and_streams_say_the_same(client: openai.OpenAI, app: FastAPI) -> None:
    plain = client.audio.transcriptions.create(file=SPEECH, model="whisper-1").text
    inside = TestClient(app, headers={"Authorization": "Bearer key"})
    srt = post(inside, SPEECH.read_bytes(), response_format="srt").text
    assert srt.startswith("1\n00:00:0") and " --> " in srt and WORDS in srt.lower()
    vtt = post(inside, SPEECH.read_bytes(), response_format="vtt").text
    assert vtt.startswith("WEBVTT\n\n00:00:0") and WORDS in vtt.lower()
    events = list(client.audio.transcriptions.create(file=SPEECH, model="whisper-1", stream=True))
    deltas = "".join(e.delta for e in events if e.type == "transcript.text.delta")
    assert deltas == plain and events[-1].type == "transcript.text.done" and events[-1].text == plain


@pytest.mark.parametrize("recording", [noise(seconds=2.0), tone(seconds=2.0)])
def test_where_nobody_speaks_there_is_no_text(gate_only: TestClient, recording: Any) -> None:
    data = waveform_to_wav_bytes(recording)
    assert post(gate_only, data).json() == {"text": "", "usage": {"type": "duration", "seconds": 2.0}}
    assert post(gate_only, data, response_format="verbose_json").json()["segments"] == []
    assert post(gate_only, data, response_format="vtt").text == "WEBVTT\n"
    lines = [line for line in post(gate_only, data, stream="true").text.splitlines() if line]
    assert json.loads(lines[0].removeprefix("data: "))["type"] == "transcript.text.done" and lines[-1] == "data: [DONE]"


@pytest.mark.parametrize(
    ("data", "fields", "status", "text"),
    [
        (b"not audio", {}, 400, "audio"),
        (b"", {}, 400, "empty|no audio|0 bytes"),
        (b"\0" * (2**20 + 1), {}, 400, "larger than 1 MB"),
        (waveform_to_wav_bytes(tone(seconds=61.0, rate=8000)), {}, 400, "60"),
        (b"x", {"language": "de"}, 400, "English"),
        (b"x", {"model": "other"}, 404, "miniature"),
        (b"x", {"response_format": "xml"}, 400, "response_format"),
        (b"x", {"response_format": "srt", "stream": "true"}, 400, "stream"),
    ],
)
def test_bad_requests(gate_only: TestClient, data: bytes, fields: dict[str, str], status: int, text: str) -> None:
    answer = post(gate_only, data, **fields)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert any(part in error["message"] for part in text.split("|")), error


@pytest.mark.parametrize(("key", "status", "read"), [("no", 401, False), ("key", 400, True)])
def test_a_key_is_asked_for_before_the_body_is_read(gate_only: TestClient, key: str, status: int, read: bool) -> None:
    asked: list[bool] = []
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        asked.append(True)
        return {"type": "http.request", "body": b"--x--", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", b"multipart/form-data; boundary=x")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/audio/transcriptions", "raw_path": b"", "query_string": b"", "headers": headers,
    }  # fmt: skip
    asyncio.run(gate_only.app(scope, receive, send))
    assert sent[0]["status"] == status and bool(asked) is read


def test_without_a_transcriber_there_are_none() -> None:
    for app in app_with(None):
        answer = post(TestClient(app, headers={"Authorization": "Bearer key"}), b"x")
        assert answer.status_code == 404 and "no transcriber" in answer.json()["error"]["message"]


class Slow(Transcriber):
    """Waits to be told to go on before it reads."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.go_on = threading.Event()

    def segments(self, waveform: Any) -> Iterator[tuple[float, float, str]]:
        assert self.go_on.wait(30)
        yield 0.0, waveform.seconds, "done"


def test_only_so_many_wait_and_their_places_come_back() -> None:
    slow, data = Slow(), waveform_to_wav_bytes(tone(seconds=0.5))
    for app in app_with(slow, most_transcriptions=2):

        async def all_at_once(app: FastAPI = app) -> list[httpx.Response]:
            transport = httpx.ASGITransport(app)
            headers = {"Authorization": "Bearer key"}
            async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as client:

                async def one() -> httpx.Response:
                    return await client.post("/v1/audio/transcriptions", files={"file": ("a.wav", data)})

                tasks = [asyncio.create_task(one()) for _ in range(3)]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                slow.go_on.set()
                answers = await asyncio.gather(*tasks)
                return [*answers, await one()]

        answers = asyncio.run(all_at_once())
        assert sorted(a.status_code for a in answers[:3]) == [200, 200, 429]
        assert answers[3].json()["text"] == "done"
        refused = next(a for a in answers if a.status_code == 429)
        assert refused.headers["retry-after"] == "5" and refused.json()["error"]["code"] == "queue_full"


def test_subtitle_times() -> None:
    assert clock(0, ",") == "00:00:00,000" and clock(59.9996, ",") == "00:01:00,000"
    assert clock(3723.4567, ".") == "01:02:03.457"
