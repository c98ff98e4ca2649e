"""Rows of a batch: one JSON object per line, checked before anything is done with it.

A row is `{"id", "messages", "audios"}` in the canonical dialect: `<audio>` in a user message marks where a
recording stands, `audios` names the files in the same order, and any further field is carried along. Without
any marker the recordings stand before the first question. A last message by the assistant is taken as a
reference answer: the question before it is answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from serve.roles import order_problem

AUDIO_MARKER = "<audio>"
#: Fields that an output row adds to its input row.
ADDED_FIELDS = ("answer", "error", "finish", "usage", "evidence")
_ROLES = ("system", "user", "assistant")
_MAX_LINE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Line:
    """One line of the input: an object with an id; everything else is not checked yet."""

    number: int
    """Counted from 1."""
    id: str
    fields: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.fields)


@dataclass(frozen=True)
class Row:
    """One checked row."""

    id: str
    messages: tuple[dict[str, Any], ...]
    """`{"role", "content"}` with texts; the last one is the user's question."""
    audios: tuple[Path, ...]
    """In the order of the markers."""


def fingerprint(fields: Mapping[str, Any]) -> str:
    """Hash of a row's own content, whatever the order of its fields; added fields do not count."""
    own = {key: value for key, value in fields.items() if key not in ADDED_FIELDS}
    text = json.dumps(own, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_lines(path: Path) -> Iterator[Line]:
    """Every row of a JSONL file in order, one line in memory at a time; blank lines are passed over.

    Raises:
        RecordError: a line is no JSON object, has no usable id, or repeats one.
    """
    seen: dict[str, int] = {}
    with _opened(path) as file:
        for number, raw in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES + 1), b""), start=1):
            if not raw.strip():
                continue
            where = f"{path.name} line {number}"
            line = Line(number, *_parse_line(raw, where))
            if line.id in seen:
                raise RecordError(
                    f"{where}: the id {line.id!r} was used in line {seen[line.id]} already; "
                    "ids tell answered rows from open ones, so each may occur once"
                )
            seen[line.id] = number
            yield line


def check_row(line: Line, folder: Path) -> Row:
    """The row of a line; relative recordings are looked for in `folder`.

    Raises:
        RecordError: a field is missing, of a wrong kind, or contradicts another.
    """
    where = f"row {line.id!r} (line {line.number})"
    added = [field for field in ADDED_FIELDS if field in line.fields]
    if added:
        raise RecordError(f"{where}: the field {added[0]!r} is written by the batch; rename it in the input")
    messages = _check_messages(line.fields.get("messages"), where)
    audios = _check_audios(line.fields.get("audios", []), where, folder)
    marked = sum(item["content"].count(AUDIO_MARKER) for item in messages if item["role"] == "user")
    if marked not in (0, len(audios)):
        raise RecordError(
            f"{where}: {marked} {AUDIO_MARKER} in the user's messages but {len(audios)} entries in 'audios'; "
            "mark each recording once, or none: then all stand before the first question"
        )
    return Row(line.id, messages, audios)


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); check the path and rights") from None


def _parse_line(raw: bytes, where: str) -> tuple[str, dict[str, Any]]:
    if len(raw) > _MAX_LINE_BYTES:
        raise RecordError(f"{where}: longer than {_MAX_LINE_BYTES} bytes; is this one JSON object per line?")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not JSON ({error}); one object per line is expected") from None
    if not isinstance(fields, dict):
        raise RecordError(f"{where}: a {type(fields).__name__}, not an object with id, messages, audios")
    identity = fields.get("id")
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        raise RecordError(f"{where}: the field 'id' is {identity!r}; give a text or whole number to each row")
    return str(identity), fields


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
