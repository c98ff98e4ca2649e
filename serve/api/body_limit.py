"""Requests whose body is too large end before anything of them is parsed; every request is counted and logged."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from serve.api.refusals import send_error
from serve.chat.security import App, Receive, Scope, Send

if TYPE_CHECKING:
    from serve.api.metrics import Metrics

_LOG = logging.getLogger("alm.access")


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """ASGI middleware: 413 in OpenAI's shape for a declared or a real body beyond `most_bytes`."""

    def __init__(self, app: App, most_bytes: int, metrics: Metrics) -> None:
        self.app, self.most, self.metrics = app, most_bytes, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, state = time.monotonic(), {"status": 0, "bytes": 0}

        async def counted() -> MutableMapping[str, Any]:
            message = await receive()
            state["bytes"] += len(message.get("body", b""))
            if state["bytes"] > self.most:
                raise _TooLargeError
            return message

        async def noted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
            await send(message)

        try:
            if _declared(scope) > self.most:
                raise _TooLargeError
            await self.app(scope, counted, noted)
        except _TooLargeError:
            if not state["status"]:
                text = f"the request is larger than {self.most} bytes; send shorter or fewer recordings"
                await send_error(noted, 413, text)
        finally:
            seconds = time.monotonic() - began
            self.metrics.requested(scope["path"], state["status"])
            _LOG.info(
                json.dumps(
                    {
                        "method": scope["method"], "path": scope["path"][:200], "status": state["status"],
                        "bytes": state["bytes"], "seconds": round(seconds, 3),
                    }
                )
            )  # fmt: skip


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
