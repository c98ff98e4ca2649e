"""`POST /v1/audio/transcriptions`: what is said in a recording, as text, subtitles or segments with times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from alm.long_audio import Sound, open_audio
from serve.api.openai_schema import TranscriptionRequest
from serve.api.refusals import RefusedError, check_model, error_body, refusal_of
from serve.api.settings import ServerSettings
from serve.api.sse import EVENT_STREAM, server_sent

if TYPE_CHECKING:
    from alm.transcription import Transcriber

Segment = tuple[float, float, str]
"""Start and end in seconds, and the words between."""
NAMES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""Models that clients ask for out of habit; the served one answers."""
_RETRY_SECONDS = 5.0


@dataclass
class TranscriptionEndpoint:
    """Recordings are read one at a time; a few may wait."""

    transcriber: Transcriber | None
    settings: ServerSettings
    _here: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, body: TranscriptionRequest, file: UploadFile, request: Request) -> Response:
        """The response in the format that was asked for.

        Raises:
            RefusedError: the request is wrong, or too many recordings wait.
        """
        if self.transcriber is None:
            raise RefusedError(404, "this server transcribes nothing: its preset has no transcriber")
        self._check(body)
        found = []
        with ExitStack() as place:
            place.enter_context(self._place())
            recording = await self._opened(file)
            if body.stream:
                return StreamingResponse(self._events(recording, place.pop_all()), media_type=EVENT_STREAM)
            async for segment in self._segments(recording):
                found.append(segment)
                if await request.is_disconnected():
                    raise RefusedError(408, "the client left")
        return _FORMATS[body.response_format](found, recording)

    def _check(self, body: TranscriptionRequest) -> None:
        if body.model not in NAMES:
            check_model(body.model, self.settings.model)
        if body.language not in ("", "en"):
            raise RefusedError(400, f"language is {body.language!r}; only English is transcribed here: 'en'")
        if body.stream and body.response_format not in ("json", "text"):
            raise RefusedError(400, f"a stream has no format {body.response_format!r}; take 'json', or no stream")

    async def _opened(self, file: UploadFile) -> Sound:
        limits = self.settings.opener.limits
        data = await file.read(limits.max_file_megabytes * 2**20 + 1)
        if len(data) > limits.max_file_megabytes * 2**20:
            raise RefusedError(400, f"file: the recording is larger than {limits.max_file_megabytes} MB")
        try:
            return await run_in_threadpool(open_audio, data, limits=limits.audio())
        except Exception as error:
            raise refusal_of(error) from None

    async def _segments(self, recording: Sound) -> AsyncIterator[Segment]:
        """One after the other, as they are read; whoever stops asking lets the next recording in."""
        assert self.transcriber is not None
        async with self._turn:
            reading = self.transcriber.segments(recording)
            while (segment := await run_in_threadpool(next, reading, None)) is not None:
                yield segment

    @contextmanager
    def _place(self) -> Iterator[None]:
        most = self.settings.most_transcriptions
        if self._here >= most:
            text = f"{most} recordings are being transcribed already; try again in {_RETRY_SECONDS:.0f} s"
            raise RefusedError(429, text, code="queue_full", retry_seconds=_RETRY_SECONDS)
        self._here += 1
        try:
            yield
        finally:
            self._here -= 1

    async def _events(self, recording: Sound, place: ExitStack) -> AsyncIterator[str]:
        said: list[str] = []
        try:
            with place:
                async for _, _, text in self._segments(recording):
                    said.append(text)
                    delta = text if len(said) == 1 else f" {text}"
                    yield server_sent({"type": "transcript.text.delta", "delta": delta})
        except Exception as error:
            refused = refusal_of(error)
            yield server_sent(error_body(refused.status, str(refused), refused.code))
            return
        usage = _usage(recording)
        yield server_sent({"type": "transcript.text.done", "text": " ".join(said), "usage": usage})
        yield "data: [DONE]\n\n"


def _json(found: list[Segment], recording: Sound) -> Response:
    return JSONResponse({"text": _text(found), "usage": _usage(recording)})


def _plain(found: list[Segment], recording: Sound) -> Response:
    return PlainTextResponse(_text(found) + "\n")


def _verbose(found: list[Segment], recording: Sound) -> Response:
    segments = [
        {"id": index, "start": round(start, 3), "end": round(end, 3), "text": text}
        for index, (start, end, text) in enumerate(found)
    ]
    body = {
        "task": "transcribe", "language": "english", "duration": round(recording.seconds, 3), "text": _text(found),
        "segments": segments, "usage": _usage(recording),
    }  # fmt: skip
    return JSONResponse(body)


def _srt(found: list[Segment], recording: Sound) -> Response:
    blocks = [
        f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(found, start=1)
    ]
    return PlainTextResponse("\n".join(blocks), media_type="application/x-subrip")


def _vtt(found: list[Segment], recording: Sound) -> Response:
    blocks = [f"{clock(start, '.')} --> {clock(end, '.')}\n{_cue(text)}\n" for start, end, text in found]
    return PlainTextResponse("\n".join(["WEBVTT\n", *blocks]), media_type="text/vtt")


_FORMATS: dict[str, Callable[[list[Segment], Sound], Response]] = {
    "json": _json, "text": _plain, "verbose_json": _verbose, "srt": _srt, "vtt": _vtt,
}  # fmt: skip


def clock(seconds: float, point: str) -> str:
    """`HH:MM:SS.mmm` as subtitles have it."""
    whole = round(seconds * 1000)
    minutes, milliseconds = divmod(whole, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _cue(text: str) -> str:
    """WebVTT takes these three for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(found: list[Segment]) -> str:
    return " ".join(text for _, _, text in found)


def _usage(recording: Sound) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(recording.seconds, 3)}
