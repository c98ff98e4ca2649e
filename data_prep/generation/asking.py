"""One way to every server: from the cache if it was asked before, else within budget and pace."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alm.endpoints import Chat, Reply
from data_prep.generation.cache import Cache, content_key
from data_prep.generation.meter import Meter
from data_prep.generation.prompting import Prompt

LETTERS_A_TOKEN = 3
"""A careful guess for the budget, before the server has counted."""
RECORDING_TOKENS = 1000
"""Another one, for a recording."""
CUT = "length"


@dataclass
class Asker:
    """Asks one model; may be used by many threads."""

    chat: Chat
    cache: Cache
    meter: Meter
    tokens_field: str = "max_tokens"
    _turns: tuple[threading.Lock, ...] = field(default_factory=lambda: tuple(threading.Lock() for _ in range(1024)))
    """Threads that ask the same thing take turns, so that it is asked once."""

    @property
    def model(self) -> str:
        return self.chat.endpoint.model

    def ask(
        self, prompt: Prompt, texts: Mapping[str, str | int], seed: int, wav: bytes | None = None, warm: bool = False
    ) -> Reply:
        """The model's answer to a prompt.

        Args:
            seed: another one draws another answer.
            wav: a recording that is heard before the question.
            warm: draw, even where the prompt's own temperature is 0.

        Raises:
            EndpointError: the server did not answer this.
            BudgetSpentError: it was not asked.
        """
        messages = prompt.messages(texts)
        letters = sum(len(m["content"]) for m in messages)
        if wav is not None:
            data = base64.b64encode(wav).decode("ascii")
            part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
            messages[-1]["content"] = [part, {"type": "text", "text": messages[-1]["content"]}]
        temperature = max(prompt.temperature, 0.7) if warm else prompt.temperature
        settings = {"temperature": temperature, "seed": seed, self.tokens_field: prompt.max_tokens}
        key = content_key({"model": self.model, "messages": messages, **settings})
        guessed = letters // LETTERS_A_TOKEN + RECORDING_TOKENS * (wav is not None)
        with self._turns[int(key[:4], 16) % len(self._turns)]:
            if (known := self.cache.get(key)) is not None:
                self.meter.saved()
                return Reply(**known)
            reply = self._sent(messages, settings, (guessed, prompt.max_tokens))
            self.cache.put(key, vars(reply))
            return reply

    def _sent(self, messages: list[dict[str, Any]], settings: dict[str, Any], begun: tuple[int, int]) -> Reply:
        self.meter.begin(*begun)
        reply = None
        try:
            reply = self.chat.complete(messages, **settings)
            return reply
        finally:
            self.meter.end(begun, _used(reply, begun[0]), bool(reply and reply.prompt_tokens))


def _used(reply: Reply | None, guessed_prompt: int) -> tuple[int, int] | None:
    if reply is None:
        return None
    guessed = len(reply.text) // LETTERS_A_TOKEN
    return reply.prompt_tokens or guessed_prompt, reply.completion_tokens or guessed
