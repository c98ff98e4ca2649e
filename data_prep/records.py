"""The canonical instruction row and its files.

One JSON object a line: `messages` (role and content; `<audio>` in a user message marks each recording, in order) and
`audios` (paths, relative to the folder of the file), plus where the row comes from. The row is the ms-swift dialect
with a few fields more.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from data_prep.atomic import write_text

AUDIO_MARK = "<audio>"
SPLITS = ("train", "dev", "test")
ROLES = ("system", "user", "assistant")
MAX_MESSAGES = 64
MAX_CONTENT_LETTERS = 100_000


class FieldError(RecordError):
    """A field of a row has a value that it may not have."""

    def __init__(self, owner: str, name: str, value: object, rule: str) -> None:
        super().__init__(f"{owner}: field '{name}' is {str(value)[:80]!r}; it {rule}")
        self.name, self.value, self.rule = name, value, rule


@dataclass(frozen=True)
class Message:
    """One turn."""

    role: str
    content: str


@dataclass(frozen=True)
class Record:
    """One checked instruction row; making one checks it and raises `RecordError`."""

    id: str
    messages: tuple[Message, ...]
    audios: tuple[str, ...]
    source: str
    """Packages that the recordings come from, joined by ' + '."""
    task: str
    split: str
    licence: str
    duration: float
    """Seconds of all recordings together."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Extras for scoring: `answer`, `options`, `classes`, `events`, `seen`, ..."""

    def __post_init__(self) -> None:
        for name in ("id", "source", "task", "licence"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise self._fault(name, getattr(self, name), "must be text that is not empty")
        if self.split not in SPLITS:
            raise self._fault("split", self.split, f"must be one of {', '.join(SPLITS)}")
        if not isinstance(self.duration, int | float) or not 0 <= self.duration < math.inf:
            raise self._fault("duration", self.duration, "must be seconds, finite and not negative")
        if not isinstance(self.meta, dict):
            raise self._fault("meta", self.meta, "must be an object")
        if not all(isinstance(path, str) and path for path in self.audios):
            raise self._fault("audios", self.audios, "must be paths")
        self._check_turns()
        self._check_marks()

    def _fault(self, name: str, value: object, rule: str) -> RecordError:
        return FieldError(f"record '{self.id}'", name, value, rule)

    def _check_turns(self) -> None:
        """An optional system message, then user and assistant in turn, the assistant last."""
        turns = [message.role for message in self.messages]
        body = turns[1:] if turns[:1] == ["system"] else turns
        wanted = ["user", "assistant"] * (len(body) // 2)
        if not body or len(turns) > MAX_MESSAGES or body != wanted:
            rule = "must be an optional system message, then user and assistant in turn, ending with the assistant"
            raise self._fault("messages", turns, rule)
        for message in self.messages:
            if not isinstance(message.content, str) or not message.content.replace(AUDIO_MARK, "").strip():
                raise self._fault("messages", message, "must have text in every message")
            if len(message.content) > MAX_CONTENT_LETTERS:
                raise self._fault("messages", f"{len(message.content)} letters", f"may have {MAX_CONTENT_LETTERS}")

    def _check_marks(self) -> None:
        marks = sum(message.content.count(AUDIO_MARK) for message in self.messages if message.role == "user")
        if marks != len(self.audios):
            raise self._fault("audios", f"{len(self.audios)} recordings", f"must match the {marks} {AUDIO_MARK} marks")
        if any(AUDIO_MARK in message.content for message in self.messages if message.role != "user"):
            raise self._fault("messages", AUDIO_MARK, "may be marked in user messages only")


FIELDS = tuple(item.name for item in dataclasses.fields(Record))


def to_row(record: Record) -> dict[str, Any]:
    """JSON-able row; `from_row` is its inverse."""
    row = dataclasses.asdict(record)
    return row | {"messages": list(row["messages"]), "audios": list(record.audios)}


def from_row(row: Any, where: str = "row") -> Record:
    """The record of a parsed row; raises `RecordError` naming `where` and the field."""
    if not isinstance(row, dict):
        raise RecordError(f"{where}: is {type(row).__name__}; a row must be a JSON object")
    missing = [name for name in FIELDS if name not in row and name != "meta"]
    unknown = [name for name in row if name not in FIELDS]
    if missing or unknown:
        raise RecordError(f"{where}: missing fields {missing}, unknown fields {unknown}; extras belong into 'meta'")
    if not isinstance(row["messages"], list) or not isinstance(row["audios"], list):
        raise RecordError(f"{where}: 'messages' and 'audios' must be lists")
    messages = tuple(_message(item, where) for item in row["messages"])
    try:
        return Record(**{**row, "messages": messages, "audios": tuple(row["audios"])})
    except RecordError as fault:
        raise RecordError(f"{where}: {fault}") from None


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict) or set(item) != {"role", "content"} or item["role"] not in ROLES:
        raise RecordError(f"{where}: message {str(item)[:80]!r} must have a role ({', '.join(ROLES)}) and content")
    return Message(item["role"], item["content"])


def write_records(records: Iterable[Record], path: Path) -> int:
    """Write a JSON-lines file atomically; gives the number of rows. Raises `RecordError` for a repeated id."""
    seen: set[str] = set()
    lines = []
    for record in records:
        if record.id in seen:
            raise RecordError(f"{path}: the id '{record.id}' occurs twice; ids must be unique in a file")
        seen.add(record.id)
        lines.append(json.dumps(to_row(record), ensure_ascii=False, sort_keys=True) + "\n")
    write_text(path, "".join(lines))
    return len(lines)


def beside(record: Record, folder: Path) -> Record:
    """The record as a file in `folder` names it: recordings below the folder by their way from there, so that both can
    move together."""
    root = folder.resolve()
    audios = (Path(a).relative_to(root).as_posix() if Path(a).is_relative_to(root) else a for a in record.audios)
    return dataclasses.replace(record, audios=tuple(audios))


def read_records(path: Path, *, absolute: bool = True) -> Iterator[Record]:
    """Records of a JSON-lines file; relative audio paths are resolved against its folder when `absolute`.

    Raises `RecordError` naming file, line and field.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file of records; `alm data rows` writes them")
    with path.open(encoding="utf-8", errors="strict") as stream:
        lines = enumerate(stream, start=1)
        while True:
            try:
                line, text = next(lines)
            except StopIteration:
                return
            except UnicodeDecodeError as fault:
                raise RecordError(f"{path}: is not UTF-8 text ({fault})") from fault
            if text.strip():
                record = _parse(text, f"{path}:{line}")
                yield _resolved(record, path.parent) if absolute else record


def _parse(text: str, where: str) -> Record:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise RecordError(f"{where}: is not JSON ({fault})") from fault
    return from_row(row, where)


def _resolved(record: Record, folder: Path) -> Record:
    paths = tuple(path if "://" in path else str(folder / path) for path in record.audios)
    return dataclasses.replace(record, audios=paths)
