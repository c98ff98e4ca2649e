"""Rows of a batch: what the fields of a record mean, checked before anything is done with it.

A row is `{"id", "messages", "audios"}` in the canonical dialect: `<audio>` in a user message marks where a
recording stands, `audios` names the files in the same order, and any further field is carried along. Without
any marker the recordings stand before the first question. A last message by the assistant is taken as a
reference answer: the question before it is answered. `question` may stand for the messages, `audio` for a single
recording.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from serve.roles import order_problem

AUDIO_MARKER = "<audio>"
#: Fields that an output row adds to its input row.
ADDED_FIELDS = ("answer", "error", "finish", "usage", "evidence", "asked")
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Line:
    """One record of the input with its id; everything else is not checked yet."""

    number: int
    """Counted from 1, in units of the file."""
    id: str
    fields: Mapping[str, Any]
    unit: str = "line"

    @property
    def where(self) -> str:
        return f"row {self.id!r} ({self.unit} {self.number})"


@dataclass(frozen=True)
class Wishes:
    """How a single row wants to be answered, where it says so; elsewhere the batch's settings hold."""

    max_new_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    evidence: bool | None = None


@dataclass(frozen=True)
class Row:
    """One checked row."""

    id: str
    messages: tuple[dict[str, Any], ...]
    """`{"role", "content"}` with texts, or with content parts and opened recordings; the last one is the question."""
    audios: tuple[Path, ...]
    """In the order of the markers; none where the messages hold their recordings."""
    wishes: Wishes = field(default_factory=Wishes)


def fingerprint(fields: Mapping[str, Any]) -> str:
    """Hash of a row's own content, whatever the order of its fields; added fields do not count."""
    own = {key: value for key, value in fields.items() if key not in ADDED_FIELDS}
    text = json.dumps(own, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def check_row(line: Line, folder: Path, columns: bool = False) -> Row:
    """The row of a line; relative recordings are looked for in `folder`.

    Args:
        columns: the fields are columns of a table: a list may be written as JSON, and an empty text means nothing.

    Raises:
        RecordError: a field is missing, of a wrong kind, or contradicts another.
    """
    where = line.where
    if added := [name for name in ADDED_FIELDS if name in line.fields]:
        raise RecordError(f"{where}: the field {added[0]!r} is written by the batch; rename it in the input")
    fields = _of_columns(line.fields, where) if columns else line.fields
    messages = _check_messages(_messages_of(fields, where), where)
    audios = _check_audios(_audios_of(fields, where), where, folder)
    marked = sum(item["content"].count(AUDIO_MARKER) for item in messages if item["role"] == "user")
    if marked not in (0, len(audios)):
        raise RecordError(
            f"{where}: {marked} {AUDIO_MARKER} in the user's messages but {len(audios)} entries in 'audios'; "
            "mark each recording once, or none: then all stand before the first question"
        )
    return Row(line.id, messages, audios)


def openaqa_row(line: Line, folder: Path) -> Row:
    """The row of an entry of OpenAQA: `instruction` and `input` are the question, `audio_id` the recording.

    Raises:
        RecordError: a field is missing or of a wrong kind.
    """
    texts = [line.fields.get("instruction"), line.fields.get("input") or ""]
    for name, text in zip(("instruction", "input"), texts, strict=True):
        if not isinstance(text, str):
            raise RecordError(f"{line.where}: {name!r} is {_kind(text)}; give a text")
    question = "\n".join(text.replace(AUDIO_MARKER, "") for text in texts if text)
    audios = [line.fields["audio_id"]] if line.fields.get("audio_id") else []
    fields = {"messages": [{"role": "user", "content": question}], "audios": audios}
    return check_row(Line(line.number, line.id, fields, line.unit), folder)


def _of_columns(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = {key: value for key, value in fields.items() if value is not None and value != ""}
    for name in ("messages", "audios"):
        text = found.get(name)
        if isinstance(text, str) and (name == "messages" or text.lstrip().startswith("[")):
            try:
                found[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise RecordError(f"{where}: {name!r} is no JSON list ({error})") from None
        elif isinstance(text, str):
            found[name] = [text]
    return found


def _messages_of(fields: Mapping[str, Any], where: str) -> Any:
    if "question" not in fields or "messages" in fields:  # beside messages it is a further field
        return fields.get("messages")
    if not isinstance(fields["question"], str) or not fields["question"].strip():
        raise RecordError(f"{where}: 'question' is {_kind(fields['question'])}; give a text")
    return [{"role": "user", "content": fields["question"]}]


def _audios_of(fields: Mapping[str, Any], where: str) -> Any:
    if fields.get("audio") is None or "messages" in fields:
        return fields.get("audios", [])
    if fields.get("audios"):
        raise RecordError(f"{where}: has both 'audio' and 'audios'; leave one out")
    return [fields["audio"]]


def _check_messages(value: Any, where: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not value:
        raise RecordError(f"{where}: 'messages' is {_kind(value)}; give a list of role and content")
    for index, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RecordError(f"{where}: message {index} has no role of {', '.join(_ROLES)}")
        if not isinstance(message.get("content"), str):
            raise RecordError(
                f"{where}: the content of message {index} is {_kind(message.get('content'))}; give a text"
            )
    messages = [{"role": item["role"], "content": item["content"]} for item in value]
    if messages[-1]["role"] == "assistant":
        messages.pop()  # the reference answer of a training or test record
    if problem := order_problem([item["role"] for item in messages]):
        raise RecordError(f"{where}: {problem}")
    return tuple(messages)


def _check_audios(value: Any, where: str, folder: Path) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise RecordError(f"{where}: 'audios' is {_kind(value)}; give a list of paths")
    for item in value:
        if not isinstance(item, str) or not item or "\0" in item:
            raise RecordError(f"{where}: 'audios' holds {_kind(item)}; give paths of files")
        if "://" in item:
            raise RecordError(f"{where}: {item!r} is an address; recordings must be files on this machine")
    return tuple(folder / item for item in value)


def _kind(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
