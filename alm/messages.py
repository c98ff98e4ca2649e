"""From messages to token ids: a chat template's own text may hold control tokens, what people wrote never does.

Every text and every recording is rendered through the template as a marker, the rendered text is cut at the markers,
the template's pieces are encoded with control tokens and the pieces of people (users, transcripts, file names, earlier
answers) without. Audio positions are put in by construction, never by replacing text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from alm.errors import ConversationError
from alm.long_audio import Sound

_EDGE = "\uf8ff"
"""Private-use character around the markers. Text of people never meets the template, so it cannot forge one."""
_MARKER = re.compile(f"{_EDGE}(\\d+){_EDGE}")
ROLES = ("system", "user", "assistant")


def parts_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content parts of a message; a bare text is one part."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def recordings_of(message: Mapping[str, Any]) -> list[Any]:
    """The `audio` of a message's audio parts, in order."""
    return [p["audio"] for p in parts_of(message) if p["type"] == "audio"]


@dataclass(frozen=True)
class Encoded:
    """A conversation as the model reads it."""

    ids: list[int]
    answer: list[bool]
    """Per id: written by the assistant (its end token included), so that the loss may cover it."""
    recordings: list[Sound]
    windows: list[int]
    """Windows of each recording."""


@dataclass
class _Slots:
    """What the markers stand for."""

    pieces: list[tuple[list[int], bool]] = field(default_factory=list)

    def add(self, ids: list[int], answer: bool = False) -> str:
        self.pieces.append((ids, answer))
        return f"{_EDGE}{len(self.pieces) - 1}{_EDGE}"


@dataclass(frozen=True)
class MessageEncoder:
    """Encodes messages for one tokenizer, chat template and window layout."""

    tokenizer: PreTrainedTokenizerBase
    audio_token_id: int
    tokens_per_window: int
    count_windows: Callable[[Sound], int]
    open_recording: Callable[[dict[str, Any]], Sound]
    chat_template: str | None = None

    def text_ids(self, text: str) -> list[int]:
        """Token ids of plain text: control tokens spelled out in it stay plain text."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return list(ids)

    def encode(self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = True) -> Encoded:
        """Ids, answer marks and recordings of a conversation.

        Args:
            messages: `{"role", "content"}`; content is text or a list of `{"type": "text", "text", "evidence"?}` and
                `{"type": "audio", "audio" | "path", "evidence"?}` parts; `evidence` is text that follows the recording
                or, in a text part, the question. An assistant message may carry `token_ids`, the very ids it was
                generated as.

        Raises:
            ConversationError: unknown role or part, or an empty conversation.
        """
        if not messages:
            raise ConversationError("the conversation is empty; give at least one user message")
        slots, found = _Slots(), Encoded([], [], [], [])
        rendered = self.tokenizer.apply_chat_template(
            [self._render(i, m, slots, found) for i, m in enumerate(messages)],
            chat_template=self.chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        for index, piece in enumerate(_MARKER.split(str(rendered))):
            if index % 2:
                ids, answer = slots.pieces[int(piece)]
                _extend(found, ids, answer)
            elif piece:
                self._template_piece(found, piece)
        self._check(found)
        return found

    def _template_piece(self, found: Encoded, piece: str) -> None:
        """The template's own text; the end token right after an answer belongs to the answer."""
        ids = list(self.tokenizer(piece, add_special_tokens=False)["input_ids"])
        after_answer = bool(found.answer and found.answer[-1])
        _extend(found, ids[:1], after_answer and ids[:1] == [self.tokenizer.eos_token_id])
        _extend(found, ids[1:], False)

    def _render(self, index: int, message: dict[str, Any], slots: _Slots, found: Encoded) -> dict[str, str]:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise ConversationError(f"message {index} has role {role!r}; it must be one of {', '.join(ROLES)}")
        if role == "assistant" and (ids := message.get("token_ids")):
            return {"role": role, "content": slots.add(list(ids), True)}
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list):
            raise ConversationError(f"message {index} has content of type {type(content).__name__}; give text or parts")
        return {"role": str(role), "content": "".join(self._part(index, p, role, slots, found) for p in parts)}

    def _part(self, index: int, part: Any, role: str, slots: _Slots, found: Encoded) -> str:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            evidence = part.get("evidence") if role == "user" else None
            text = part["text"] + (f"\n{evidence}" if evidence else "")
            return slots.add(self.text_ids(text), role == "assistant")
        if kind == "audio" and role == "user":
            return self._audio(part, slots, found)
        raise ConversationError(
            f"message {index} ({role}) has a part of type {kind!r}; users send 'text' and 'audio', others 'text'"
        )

    def _audio(self, part: dict[str, Any], slots: _Slots, found: Encoded) -> str:
        recording = self.open_recording(part)
        windows = self.count_windows(recording)
        found.recordings.append(recording)
        found.windows.append(windows)
        before = self.text_ids(f"Audio {len(found.recordings)} ({recording.seconds:.1f} s): ")
        places = [self.audio_token_id] * (windows * self.tokens_per_window)
        evidence = part.get("evidence")
        after = self.text_ids(f"\n{evidence}\n" if evidence else "\n")
        return slots.add(before) + slots.add(places) + slots.add(after)

    def _check(self, found: Encoded) -> None:
        """By construction this holds; a tokenizer that maps plain text to the audio id would break it."""
        have, want = found.ids.count(self.audio_token_id), sum(found.windows) * self.tokens_per_window
        if have != want:
            raise ConversationError(
                f"the encoded conversation has {have} audio positions instead of {want}: the tokenizer turns plain "
                f"text into the audio token {self.audio_token_id}; choose another audio_token_id"
            )


def _extend(found: Encoded, ids: list[int], answer: bool) -> None:
    found.ids.extend(ids)
    found.answer.extend([answer] * len(ids))


def from_row(
    messages: Sequence[dict[str, Any]], audios: Sequence[Any], marker: str = "<audio>"
) -> list[dict[str, Any]]:
    """Messages of a canonical row, where `<audio>` marks each recording, as messages with content parts.

    A row without any marker has its recordings before the first user message. Messages whose content is a list of
    parts pass unchanged.

    Raises:
        ConversationError: markers and recordings differ in number.
    """
    plain = [m for m in messages if m.get("role") == "user" and isinstance(m.get("content"), str)]
    found = sum(m["content"].count(marker) for m in plain)
    if not plain and not audios:
        return [dict(m) for m in messages]
    if found not in (0, len(audios)) or (audios and not plain):
        raise ConversationError(f"the messages have {found} {marker} for {len(audios)} recordings; mark each one once")
    left, first = iter(audios), plain[0] if plain else None
    converted = []
    for message in messages:
        content = message.get("content")
        if message.get("role") == "user" and isinstance(content, str):
            pieces = content.split(marker)
            parts: list[dict[str, Any]] = []
            if not found and message is first:
                parts += [{"type": "audio", "audio": a} for a in left]
            for index, piece in enumerate(pieces):
                parts += [{"type": "audio", "audio": next(left)}] if index else []
                parts += [{"type": "text", "text": piece.strip("\n")}] if piece.strip("\n") else []
            converted.append({**message, "content": parts})
        else:
            converted.append(dict(message))
    return converted
