"""The OpenAI-compatible server: requests in, an engine's answers out, errors in OpenAI's shape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.responses import PlainTextResponse, Response

from serve.api.body_limit import BodyLimit
from serve.api.completions import ChatEndpoint
from serve.api.keys import KeyCheck
from serve.api.metrics import Metrics
from serve.api.openai_schema import (
    ChatRequest,
    ChatResponse,
    ErrorBody,
    ModelCard,
    ModelList,
    TranscriptFormat,
    TranscriptionRequest,
)
from serve.api.refusals import add_error_handlers, check_model
from serve.api.settings import ServerSettings
from serve.api.transcriptions import TranscriptionEndpoint
from serve.engines.jobs import Engine

if TYPE_CHECKING:
    from alm.transcription import Transcriber

_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody} for code in (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503)
}


def create_app(engine: Engine, settings: ServerSettings, transcriber: Transcriber | None = None) -> FastAPI:
    """The application around an engine; without a transcriber there are no transcriptions."""
    app = FastAPI(title="alm", version="1", docs_url=None, redoc_url=None, responses=_ERRORS)
    metrics = Metrics(engine)
    chat = ChatEndpoint(engine, settings, metrics)
    transcription = TranscriptionEndpoint(transcriber, settings)
    card = ModelCard(id=settings.model, created=int(time.time()))

    @app.post("/v1/chat/completions", response_model=ChatResponse)
    async def completions(body: ChatRequest, request: Request) -> Any:
        return await chat(body, request)

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(
        request: Request,
        file: UploadFile,
        model: Annotated[str, Form()] = "",
        language: Annotated[str, Form()] = "",
        response_format: Annotated[TranscriptFormat, Form()] = "json",
        stream: Annotated[bool, Form()] = False,
    ) -> Response:
        return await transcription(TranscriptionRequest(model, language, response_format, stream), file, request)

    @app.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=[card])

    @app.get("/v1/models/{name}")
    async def model(name: str) -> ModelCard:
        check_model(name, card.id)
        return card

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def exported() -> Response:
        return metrics.exported()

    add_error_handlers(app)
    # The last one added is the outermost: a request is counted, its key checked, its size bounded, then it is read.
    app.add_middleware(KeyCheck, keys=settings.keys)
    app.add_middleware(BodyLimit, most_bytes=settings.opener.limits.max_body_megabytes * 2**20, metrics=metrics)
    return app
