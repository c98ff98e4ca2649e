"""Errors of the server in OpenAI's shape."""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from alm.errors import AlmError
from serve.api.openai_schema import Error, ErrorBody
from serve.chat.security import Send

_LOG = logging.getLogger("alm.server")
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, *, code: str | None = None, retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_seconds = status, code, retry_seconds


def check_model(asked: str, served: str) -> None:
    """Raises [`RefusedError`] unless the served model is asked for, by its name or by none."""
    if asked not in ("", served):
        raise RefusedError(404, f"there is no model {asked[:100]!r}; {served!r} is served", code="model_not_found")


def refusal_of(error: Exception) -> RefusedError:
    """The asker's mistakes in words; anything else under a mark that the log explains."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, AlmError):
        return RefusedError(400, str(error))
    mark = secrets.token_hex(4)
    _LOG.error("a request failed (%s)", mark, exc_info=error)
    return RefusedError(500, f"something went wrong inside; the log has it under {mark}")


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """What stands in the body of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return ErrorBody(error=Error(message=message, type=kind, param=param, code=code)).model_dump()


def add_error_handlers(app: FastAPI) -> None:
    """Whatever goes wrong, the client reads it in one shape."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        headers = {"Retry-After": str(max(1, round(error.retry_seconds)))} if error.retry_seconds else None
        return JSONResponse(error_body(error.status, str(error), error.code), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"] if p != "body")
        text = f"{place}: {first['msg']}" if place else str(first["msg"])
        return JSONResponse(error_body(400, text, param=place or None), 400)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return await refused(request, refusal_of(error))


async def send_error(send: Send, status: int, message: str, code: str | None = None) -> None:
    """An error from a middleware, before anything of the request was read; the connection ends."""
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(error_body(status, message, code)).encode()})
