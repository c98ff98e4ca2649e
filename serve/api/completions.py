"""`POST /v1/chat/completions`: a conversation in, the assistant's next message out, whole or streamed."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from alm.batching import Sampling
from alm.conversation import Answer
from alm.errors import AlmError
from alm.terminal import plain
from serve.api.metrics import Metrics
from serve.api.openai_schema import AnswerMessage, ChatRequest, ChatResponse, Choice, UsageBody
from serve.api.refusals import RefusedError, check_model, error_body, refusal_of
from serve.api.settings import ServerSettings
from serve.api.sse import EVENT_STREAM, server_sent
from serve.engines.jobs import Ended, Engine, Event, Failed, Job, Piece, QueueFullError

_LOG = logging.getLogger("alm.server")


@dataclass(frozen=True)
class ChatEndpoint:
    """`POST /v1/chat/completions`."""

    engine: Engine
    settings: ServerSettings
    metrics: Metrics

    async def __call__(self, body: ChatRequest, request: Request) -> Any:
        """The response, whole or streamed.

        Raises:
            RefusedError: the request is wrong, or the queue is full.
        """
        self._check(body)
        try:
            messages = await run_in_threadpool(self.settings.opener.messages, body)
        except AlmError as error:
            raise refusal_of(error) from None
        events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        job = Job(
            messages, lambda event: _told(loop, events, event), self._sampling(body), body.stops, body.evidence
        )
        try:
            self.engine.submit(job)
        except QueueFullError as error:
            raise RefusedError(429, str(error), code="queue_full", retry_seconds=error.seconds) from None
        talk = _Talk(body, job, events, self.settings.model, _seconds(messages), self.metrics)
        if body.stream:
            first = await talk.first(request)
            return StreamingResponse(talk.chunks(first), media_type=EVENT_STREAM)
        return await talk.whole(request)

    def _check(self, body: ChatRequest) -> None:
        check_model(body.model, self.settings.model)
        most = self.settings.most_new_tokens
        if body.most_tokens is not None and body.most_tokens > most:
            raise RefusedError(400, f"max_tokens is {body.most_tokens}; the limit of this server is {most}")

    def _sampling(self, body: ChatRequest) -> Sampling:
        further = {} if body.top_p in (None, 1.0) else {"top_p": body.top_p}
        most = body.most_tokens or self.settings.new_tokens
        return Sampling(most, body.temperature or 0.0, body.seed or 0, further)


def _told(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Event], event: Event) -> None:
    try:
        loop.call_soon_threadsafe(events.put_nowait, event)
    except RuntimeError:
        _LOG.debug("nobody waits for an answer any more")  # the loop is closed


def _seconds(messages: list[dict[str, Any]]) -> float:
    parts = [p for m in messages if not isinstance(m["content"], str) for p in m["content"]]
    return float(sum(p["audio"].seconds for p in parts if p["type"] == "audio"))


@dataclass
class _Talk:
    """One request from its submission to its end."""

    body: ChatRequest
    job: Job
    events: asyncio.Queue[Event]
    model: str
    audio_seconds: float
    metrics: Metrics
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    async def whole(self, request: Request) -> ChatResponse:
        """The answer in one piece; given up when the client leaves."""
        event: Event = Piece("")
        while isinstance(event, Piece):
            event = await self._next(request)
        answer = self._ended(event)
        evidence = [plain(e) for e in answer.evidence] if self.body.include_evidence else None
        message = AnswerMessage(content=answer.text, evidence=evidence)
        choice = Choice(message=message, finish_reason=_finish(answer))
        usage = UsageBody.of(vars(answer.usage), self.audio_seconds)
        return ChatResponse(id=self.id, created=self.created, model=self.model, choices=[choice], usage=usage)

    async def first(self, request: Request) -> Event:
        """The first event: an error before the first word still gets its status."""
        event = await self._next(request)
        if isinstance(event, Failed):
            self._ended(event)
        return event

    async def chunks(self, event: Event) -> AsyncIterator[str]:
        """Server-sent events of a streamed answer."""
        told = bool(self.body.stream_options and self.body.stream_options.include_usage)
        try:
            yield self._chunk({"role": "assistant", "content": ""}, told=told)
            while isinstance(event, Piece):
                yield self._chunk({"content": event.text}, told=told)
                event = await self.events.get()
            try:
                answer = self._ended(event)
            except RefusedError as error:
                yield server_sent(error_body(error.status, str(error)))
                return
            yield self._chunk({}, _finish(answer), told)
            if told:
                usage = UsageBody.of(vars(answer.usage), self.audio_seconds).model_dump()
                yield server_sent({**self._head(), "choices": [], "usage": usage})
            yield "data: [DONE]\n\n"
        finally:
            self.job.cancel()  # no effect once it is done

    async def _next(self, request: Request) -> Event:
        """The next event; every second it is asked whether the client is still there."""
        while True:
            try:
                return await asyncio.wait_for(self.events.get(), 1.0)
            except TimeoutError:
                if await request.is_disconnected():
                    self.job.cancel()
                    raise RefusedError(408, "the client left") from None
            except asyncio.CancelledError:
                self.job.cancel()
                raise

    def _ended(self, event: Event) -> Answer:
        if isinstance(event, Failed):
            raise refusal_of(event.error)
        assert isinstance(event, Ended)
        self.metrics.answered(event.answer, self.audio_seconds)
        return event.answer

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, told: bool = False) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return server_sent({**self._head(), "choices": [choice], **({"usage": None} if told else {})})


def _finish(answer: Answer) -> Any:
    return "length" if answer.finish == "length" else "stop"
