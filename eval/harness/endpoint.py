"""Any server with OpenAI's chat completions as the model: recordings go as base64 WAV."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from alm.audio import waveform_to_wav_bytes
from alm.endpoints import Chat, EndpointError
from alm.messages import parts_of
from eval.harness.answers import Answered
from eval.harness.asking import Asked
from eval.harness.ours import error_text

T = TypeVar("T")


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
            reply = self.chat.complete(messages, temperature=one.temperature, seed=one.seed, **tokens)
        except EndpointError as error:
            return Answered(**one.about(), error=error_text(error))
        seconds = round(time.monotonic() - started, 3)
        return Answered(**one.about(), text=reply.text, finish=reply.finish, seconds=seconds)

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        """
        Raises:
            EndpointError: always; the protocol has no likelihood of a given text.
        """
        raise EndpointError("an endpoint gives no log-likelihoods of given answers; only our engines do")

    def close(self) -> None:
        self.chat.close()


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
