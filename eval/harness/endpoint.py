"""Any server with OpenAI's chat completions as the model: recordings go as base64 WAV."""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from alm.audio import waveform_to_wav_bytes
from alm.errors import AlmError, ConfigError
from alm.messages import parts_of
from eval.harness.answers import Answered
from eval.harness.asking import Asked
from eval.harness.ours import error_text

T = TypeVar("T")
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""States of a server that may be better the next time."""
_OURS = frozenset({401, 403, 404, 405})
"""Address, key or name are wrong: no other question would be answered either."""
MOST_WAIT_SECONDS = 60.0
MOST_REPLY_BYTES = 8 * 2**20


class EndpointError(AlmError):
    """A server did not answer one question; others may be answered."""


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

    def complete(self, messages: Sequence[dict[str, Any]], **settings: Any) -> tuple[str, str]:
        """Text and finish reason of one answer.

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
                reply = self.client.post(f"{self.endpoint.url.rstrip('/')}/chat/completions", json=body)
            except httpx.HTTPError as error:
                problem = error_text(error)
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

    def _wait_seconds(self, attempt: int, problem: str) -> float:
        """What the server asks for, else twice as long each time, not all at the same moment."""
        asked = problem.removeprefix("retry-after=").split(" ")[0] if problem.startswith("retry-after=") else ""
        if asked.isdigit():
            return min(MOST_WAIT_SECONDS, float(asked))
        longest = min(MOST_WAIT_SECONDS, self.endpoint.first_wait_seconds * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


def _shown(reply: httpx.Response) -> str:
    return " ".join(reply.text[:300].split())


def _said(reply: httpx.Response) -> tuple[str, str]:
    if len(reply.content) > MOST_REPLY_BYTES:
        raise EndpointError(f"an answer of {len(reply.content)} bytes; the limit is {MOST_REPLY_BYTES}")
    try:
        choice = reply.json()["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("refusal") or ""
        return str(text), str(choice.get("finish_reason") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise EndpointError(f"no chat completion came back: {_shown(reply)}") from None


@dataclass
class EndpointModel:
    """Satisfies `eval.harness.models.Model`."""

    chat: Chat
    max_audio_seconds: float = float("inf")
    concurrency: int = 4
    """Questions that are open at the same time."""
    name: str = field(init=False)
    identity: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.identity = self.chat.endpoint.model, self.chat.endpoint.identity

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        yield from in_threads(self._answered, asked, self.concurrency)

    def _answered(self, one: Asked) -> Answered:
        started = time.monotonic()
        tokens = {self.chat.endpoint.tokens_field: one.max_tokens}
        try:
            if one.only_loglik:
                self.loglik(one)
            messages = [_wire(m) for m in one.messages]
            text, finish = self.chat.complete(messages, temperature=one.temperature, seed=one.seed, **tokens)
        except EndpointError as error:
            return Answered(**one.about(), error=error_text(error))
        return Answered(**one.about(), text=text, finish=finish, seconds=round(time.monotonic() - started, 3))

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        """
        Raises:
            EndpointError: always; the protocol has no likelihood of a given text.
        """
        raise EndpointError("an endpoint gives no log-likelihoods of given answers; only our engines do")

    def close(self) -> None:
        if "client" in self.chat.__dict__:
            self.chat.client.close()


def _wire(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the protocol writes it."""
    parts = [_wire_part(p) for p in parts_of(message)]
    if all(p["type"] == "text" for p in parts):
        return {"role": message["role"], "content": "\n".join(p["text"] for p in parts)}
    return {"role": message["role"], "content": parts}


def _wire_part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    data = base64.b64encode(waveform_to_wav_bytes(part["audio"])).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def in_threads(work: Callable[[T], Answered], values: Iterable[T], threads: int) -> Iterator[Answered]:
    """Results in the order they are done in; at most so many values are taken ahead. What is raised ends it all."""
    pool, open_ones = ThreadPoolExecutor(threads, thread_name_prefix="alm-eval"), set[Future[Answered]]()
    try:
        for value in values:
            open_ones.add(pool.submit(work, value))
            while len(open_ones) >= threads:
                done, open_ones = wait(open_ones, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        while open_ones:
            done, open_ones = wait(open_ones, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
