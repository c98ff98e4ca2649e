"""Recordings of API requests: base64 parts and addresses, each bounded before and while it is decoded."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alm.audio import AudioLimits
from alm.errors import AudioError, ConversationError
from alm.long_audio import LONG_LIMITS, Sound, open_audio
from serve.api.fetching import Fetcher
from serve.api.openai_schema import AudioPart, ChatRequest, Message, TextPart
from serve.roles import order_problem

_DATA = "data:"


@dataclass(frozen=True)
class RequestLimits:
    """What one request may bring."""

    max_body_megabytes: int = 64
    """Size of a request's body, before anything is parsed."""
    max_recordings: int = 16
    max_file_megabytes: int = 25
    """Size of one recording, encoded as it came."""
    max_seconds: float = 3600.0
    """Length of all recordings of a request."""
    max_decode_seconds: float = 120.0
    """Wall-clock time for decoding one recording."""
    max_characters: int = 100_000
    """Length of all texts of a request."""

    def audio(self) -> AudioLimits:
        """The bounds for the decoder."""
        return replace(
            LONG_LIMITS,
            max_file_bytes=self.max_file_megabytes * 2**20,
            max_seconds=self.max_seconds,
            max_decode_seconds=self.max_decode_seconds,
        )


@dataclass(frozen=True)
class Opener:
    """Opens what a request brings."""

    limits: RequestLimits = field(default_factory=RequestLimits)
    fetcher: Fetcher = field(default_factory=Fetcher)

    def messages(self, request: ChatRequest) -> list[dict[str, Any]]:
        """Roles and content parts with opened recordings.

        Raises:
            AudioError: a recording cannot be used, or there are too many.
            ConversationError: roles are out of order, or the texts are too long.
        """
        self._check(request.messages)
        found = [self._message(m, index) for index, m in enumerate(request.messages)]
        seconds = sum(p["audio"].seconds for m in found for p in m["content"] if p["type"] == "audio")
        if seconds > self.limits.max_seconds:
            raise AudioError(
                f"the recordings last {seconds:.0f} s together; the limit is {self.limits.max_seconds:.0f} s. "
                "Leave older ones out"
            )
        return [{"role": m["role"], "content": _joined(m["content"])} if m["role"] != "user" else m for m in found]

    def _check(self, messages: Sequence[Message]) -> None:
        if problem := order_problem([m.role for m in messages]):
            raise ConversationError(problem)
        parts = [p for m in messages if not isinstance(m.content, str) for p in m.content]
        recordings = sum(not isinstance(p, TextPart) for p in parts)
        if recordings > self.limits.max_recordings:
            raise AudioError(
                f"{recordings} recordings were given; the limit is {self.limits.max_recordings} in a request"
            )
        texts = [m.content for m in messages if isinstance(m.content, str)]
        characters = sum(map(len, texts)) + sum(len(p.text) for p in parts if isinstance(p, TextPart))
        if characters > self.limits.max_characters:
            raise ConversationError(
                f"the texts have {characters} characters; the limit is {self.limits.max_characters} in a request"
            )

    def _message(self, message: Message, index: int) -> dict[str, Any]:
        if isinstance(message.content, str):
            parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
        else:
            parts = []
            for place, part in enumerate(message.content):
                if isinstance(part, TextPart):
                    parts.append({"type": "text", "text": part.text})
                elif message.role != "user":
                    raise ConversationError(f"message {index} is the {message.role}'s and holds a recording")
                else:
                    parts.append({"type": "audio", "audio": self._recording(part, f"message {index}, part {place}")})
        if message.role == "user" and not any(p["type"] == "text" for p in parts):
            parts.append({"type": "text", "text": ""})
        return {"role": "system" if message.role == "developer" else message.role, "content": parts}

    def _recording(self, part: Any, where: str) -> Sound:
        if isinstance(part, AudioPart):
            return self._decoded(part.input_audio.data, where)
        url = part.audio_url.url
        if url[: len(_DATA)].lower() == _DATA:
            head, comma, data = url[len(_DATA) :].partition(",")
            if not comma or not head.lower().endswith(";base64"):
                raise AudioError(f"{where}: a data: URI must be data:audio/TYPE;base64,...")
            return self._decoded(data, where)
        return open_audio(self.fetcher.get(url, self.limits.max_file_megabytes * 2**20), limits=self.limits.audio())

    def _decoded(self, text: str, where: str) -> Sound:
        most = self.limits.max_file_megabytes * 2**20
        if len(text) > 4 * most // 3 + 4:
            raise AudioError(f"{where}: the recording is larger than {self.limits.max_file_megabytes} MB")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise AudioError(f"{where}: 'data' is no base64 text") from None
        return open_audio(data, limits=self.limits.audio())


def _joined(parts: Sequence[dict[str, Any]]) -> str:
    return "\n".join(p["text"] for p in parts)
