"""Who may ask: bearer keys, checked before anything of a request's body is read."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from serve.api.refusals import send_error
from serve.chat.security import App, Receive, Scope, Send

GUARDED = "/v1/"


class KeyCheck:
    """ASGI middleware: 401 in OpenAI's shape for what lies under /v1 without one of the keys.

    Args:
        keys: any of them opens; none: everybody may ask.
    """

    def __init__(self, app: App, keys: Sequence[str]) -> None:
        self.app = app
        self._hashed = [hashlib.sha256(k.encode()).digest() for k in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and scope["path"].startswith(GUARDED)
        if guarded and self._hashed and not self._opens(_authorization(scope)):
            await send_error(send, 401, "a valid key is needed: Authorization: Bearer KEY", "invalid_api_key")
            return
        await self.app(scope, receive, send)

    def _opens(self, given: bytes) -> bool:
        scheme, _, key = given.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        # Every key is compared, in constant time: neither its content nor its place shows in the time taken.
        found = [hmac.compare_digest(digest, own) for own in self._hashed]
        return scheme.lower() == b"bearer" and any(found)


def _authorization(scope: Scope) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == b"authorization"), b"")
