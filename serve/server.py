"""The OpenAI-compatible server: requests in, an engine's answers out, errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from alm.batching import Sampling
from alm.conversation import Answer
from alm.errors import AlmError
from alm.terminal import plain
from serve.body_limit import BodyLimit
from serve.engine import Ended, Engine, Event, Failed, Job, Piece, QueueFullError
from serve.metrics import Metrics
from serve.openai_schema import (
    AnswerMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    Error,
    ErrorBody,
    ModelCard,
    ModelList,
    UsageBody,
)
from serve.recordings import Opener

_LOG = logging.getLogger("alm.server")
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody} for code in (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503)
}


@dataclass(frozen=True)
class ServerSettings:
    """What an operator decides."""

    model: str = "tiny"
    """Name under which the model is offered."""
    keys: tuple[str, ...] = ()
    """Bearer keys, any of which opens /v1; none: everybody may ask."""
    most_new_tokens: int = 512
    """Longest answer that may be asked for."""
    new_tokens: int = 256
    """Longest answer if a request names none."""
    opener: Opener = field(default_factory=Opener)


class RefusedError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, *, code: str | None = None, retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_seconds = status, code, retry_seconds


def create_app(engine: Engine, settings: ServerSettings) -> FastAPI:
    """The application around an engine."""
    app = FastAPI(title="alm", version="1", docs_url=None, redoc_url=None, responses=_ERRORS)
    metrics = Metrics(engine)
    chat = ChatEndpoint(engine, settings, metrics)
    allowed = Depends(_key_check(settings.keys))
    card = ModelCard(id=settings.model, created=int(time.time()))

    @app.post("/v1/chat/completions", dependencies=[allowed], response_model=ChatResponse)
    async def completions(body: ChatRequest, request: Request) -> Any:
        return await chat(body, request)

    @app.get("/v1/models", dependencies=[allowed])
    async def models() -> ModelList:
        return ModelList(data=[card])

    @app.get("/v1/models/{name}", dependencies=[allowed])
    async def model(name: str) -> ModelCard:
        if name != card.id:
            raise RefusedError(404, f"there is no model {name[:100]!r}; {card.id!r} is served", code="model_not_found")
        return card

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def exported() -> Response:
        return metrics.exported()

    _add_error_handlers(app)
    app.add_middleware(BodyLimit, most_bytes=settings.opener.limits.max_body_megabytes * 2**20, metrics=metrics)
    return app


def _key_check(keys: tuple[str, ...]) -> Callable[[Request], None]:
    hashed = [hashlib.sha256(k.encode()).digest() for k in keys]

    def check(request: Request) -> None:
        if not hashed:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).digest()
        # Every key is compared, in constant time: neither its content nor its place shows in the time taken.
        found = [hmac.compare_digest(digest, own) for own in hashed]
        if scheme.lower() != "bearer" or not any(found):
            raise RefusedError(401, "a valid key is needed: Authorization: Bearer KEY", code="invalid_api_key")

    return check


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return _error(error.status, str(error), error.code, error.retry_seconds)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"] if p != "body")
        return _error(400, f"{place}: {first['msg']}" if place else str(first["msg"]), param=place or None)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        mark = secrets.token_hex(4)
        _LOG.error("request failed (%s)", mark, exc_info=error)
        return _error(500, f"something went wrong inside; the log has it under {mark}")


def _error(
    status: int, message: str, code: str | None = None, retry_seconds: float = 0.0, param: str | None = None
) -> JSONResponse:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    headers = {"Retry-After": str(max(1, round(retry_seconds)))} if retry_seconds else None
    body = ErrorBody(error=Error(message=message, type=kind, param=param, code=code))
    return JSONResponse(body.model_dump(), status, headers)


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
            raise RefusedError(400, str(error)) from None
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
            return StreamingResponse(talk.chunks(first), media_type="text/event-stream")
        return await talk.whole(request)

    def _check(self, body: ChatRequest) -> None:
        if body.model not in ("", self.settings.model):
            raise RefusedError(
                404,
                f"there is no model {body.model[:100]!r}; {self.settings.model!r} is served",
                code="model_not_found",
            )
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
                yield _event({"error": {"message": str(error), "type": "server_error", "param": None, "code": None}})
                return
            yield self._chunk({}, _finish(answer), told)
            if told:
                usage = UsageBody.of(vars(answer.usage), self.audio_seconds).model_dump()
                yield _event({**self._head(), "choices": [], "usage": usage})
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
            if isinstance(event.error, AlmError):
                raise RefusedError(400, str(event.error))
            mark = secrets.token_hex(4)
            _LOG.error("answering failed (%s): %s", mark, type(event.error).__name__)
            raise RefusedError(500, f"something went wrong inside; the log has it under {mark}")
        assert isinstance(event, Ended)
        self.metrics.answered(event.answer, self.audio_seconds)
        return event.answer

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, told: bool = False) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({**self._head(), "choices": [choice], **({"usage": None} if told else {})})


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _finish(answer: Answer) -> Any:
    return "length" if answer.finish == "length" else "stop"
