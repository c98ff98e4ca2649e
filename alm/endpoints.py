"""Any server with OpenAI's chat completions, asked in writing or with recordings; the operator names its address."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx

from alm.errors import AlmError, ConfigError

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""States of a server that may be better the next time."""
_OURS = frozenset({401, 403, 404, 405})
"""Address, key or name are wrong: no other question would be answered either."""
MOST_WAIT_SECONDS = 60.0
MOST_REPLY_BYTES = 8 * 2**20


class EndpointError(AlmError):
    """A server did not answer one question; others may be answered."""


@dataclass(frozen=True)
class Reply:
    """One answer of a server."""

    text: str
    finish: str
    prompt_tokens: int = 0
    """As the server counts them; 0 where it does not."""
    completion_tokens: int = 0


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask. The operator names the address; no other one is ever fetched."""

    url: str
    """Up to and with `/v1`."""
    model: str
    """The name that the server knows; a dated one, since undated ones change what they mean."""
    key_variable: str = ""
    """Environment variable that holds the key; empty: none is sent."""
    timeout_seconds: float = 300.0
    tries: int = 5
    first_wait_seconds: float = 1.0
    tokens_field: str = "max_tokens"
    """Some servers want `max_completion_tokens`."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--endpoint {self.url!r}: not an address; give one like https://host/v1")
        if parts.username or parts.password:
            raise ConfigError("--endpoint holds a password; put the key into an environment variable for --key-env")

    @property
    def identity(self) -> dict[str, Any]:
        return {"endpoint": self.url.rstrip("/"), "model": self.model}

    def key(self) -> str:
        """
        Raises:
            ConfigError: the variable is not set.
        """
        if not self.key_variable:
            return ""
        if not (found := os.environ.get(self.key_variable, "")):
            raise ConfigError(f"the environment variable {self.key_variable} is not set; it should hold the key")
        return found


@dataclass
class Chat:
    """Completions of one endpoint, tried again while the server may recover; may be used by many threads."""

    endpoint: Endpoint
    transport: httpx.BaseTransport | None = None
    """Another way to the server than the network, such as a program in this process."""
    sleep: Callable[[float], None] = time.sleep

    @cached_property
    def client(self) -> httpx.Client:
        key = self.endpoint.key()
        return httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self.endpoint.timeout_seconds,
            transport=self.transport,
            follow_redirects=False,
        )

    def complete(self, messages: Sequence[dict[str, Any]], **settings: Any) -> Reply:
        """One answer; `settings` are fields of the request.

        Raises:
            ConfigError: address, key or model are wrong.
            EndpointError: this question was refused, or the server did not recover.
        """
        body = {"model": self.endpoint.model, "messages": list(messages), **settings}
        problem = ""
        for attempt in range(self.endpoint.tries):
            if attempt:
                self.sleep(self._wait_seconds(attempt, problem))
            try:
                reply = self._posted(body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"[:500]
                continue
            if reply.status_code == 200:
                return _said(reply)
            problem = f"HTTP {reply.status_code}: {_shown(reply)}"
            if reply.status_code not in _PASSING:
                break
            problem = f"retry-after={reply.headers.get('retry-after', '')} {problem}"
        if problem.startswith("HTTP ") and int(problem[5:8]) in _OURS:
            raise ConfigError(f"{self.endpoint.url}: {problem}; check --endpoint, --model and the key")
        raise EndpointError(f"{self.endpoint.url}: {problem}")

    def _posted(self, body: dict[str, Any]) -> httpx.Response:
        """The server's reply, of which no more is read than an answer may have."""
        url = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        with self.client.stream("POST", url, json=body) as reply:
            read = b""
            for piece in reply.iter_bytes():
                read += piece
                if len(read) > MOST_REPLY_BYTES:
                    raise EndpointError(f"{url}: an answer of more than {MOST_REPLY_BYTES} bytes, which is the limit")
            return httpx.Response(reply.status_code, headers=_uncoded(reply.headers), content=read)

    def close(self) -> None:
        """Let go of the connections; asking again opens new ones."""
        if "client" in self.__dict__:
            self.client.close()
            del self.__dict__["client"]

    def _wait_seconds(self, attempt: int, problem: str) -> float:
        """What the server asks for, else twice as long each time, not all at the same moment."""
        asked = problem.removeprefix("retry-after=").split(" ")[0] if problem.startswith("retry-after=") else ""
        if asked.isdigit():
            return min(MOST_WAIT_SECONDS, float(asked))
        longest = min(MOST_WAIT_SECONDS, self.endpoint.first_wait_seconds * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


def _shown(reply: httpx.Response) -> str:
    return " ".join(reply.text[:300].split())


def _uncoded(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("content-encoding", "content-length")}


def _said(reply: httpx.Response) -> Reply:
    try:
        body = reply.json()
        choice = body["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("refusal") or ""
        used = body.get("usage") or {}
        whole = str(text).encode("utf-8", "replace").decode()  # JSON may hold halves of characters, no file can
        return Reply(
            whole, str(choice.get("finish_reason") or ""), _count(used, "prompt"), _count(used, "completion")
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise EndpointError(f"no chat completion came back: {_shown(reply)}") from None


def _count(used: Any, kind: str) -> int:
    found = used.get(f"{kind}_tokens", 0)
    return found if isinstance(found, int) and found > 0 else 0
