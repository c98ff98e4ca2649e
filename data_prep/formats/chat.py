"""Rows of turns with `<audio>` marks: ms-swift, LLaMA-Factory, SALMONN-2, and the tables, whose cells hold the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson

from data_prep.formats.base import Losses, Row, RowError
from data_prep.formats.facts import Reading, text_of, written_facts
from data_prep.formats.json_rows import loads
from data_prep.formats.paths import relative
from data_prep.records import AUDIO_MARK, Message, Record

ROLE_NAMES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
TURNS = ("messages", "conversations", "conversation")
AUDIOS = ("audios", "audio")
OTHER_MEDIA = ("images", "image", "videos", "video")
QUESTIONS = ("question", "query", "user_prompt", "instruction")
ANSWERS = ("answer", "response", "prediction", "output")
ANSWER = ANSWERS[0]
"""Beside turns that end with a question, as `alm batch` writes it."""
SYSTEMS = ("system", "system_prompt")
FLAT = (*QUESTIONS, *ANSWERS, *SYSTEMS, "history", "input")
MAX_CELL_LETTERS = 131_072
"""Of a CSV file, as Python's reader has it."""
EXTRAS = "message_extras"
"""In `meta`: further keys of each message, such as ms-swift's `loss`."""


def unpack(row: Row, index: str, reading: Reading, *, adds_marks: bool) -> Record:
    """Turns, or a question and an answer, or Alpaca's names for them.

    Args:
        adds_marks: a row without any mark has its recordings in front, as ms-swift reads it.

    Raises:
        RecordError: a field is not what it must be.
    """
    for name in OTHER_MEDIA:
        if row.get(name):
            raise RowError(name, row[name], "cannot be held", "leave rows with pictures out")
    turns = _Turns(reading)
    named = next((name for name in TURNS if row.get(name) is not None), "")
    used = [*AUDIOS, *OTHER_MEDIA]
    if named:
        turns.listed(row[named], named)
        used.append(named)
        if turns.asks and row.get(ANSWER):
            used.append(ANSWER)
            turns.add("assistant", text_of(row, ANSWER))
        if isinstance(system := row.get("system"), str):
            used.append("system")
            turns.system(system)
    else:
        used += [name for name in FLAT if name in row]
        _flat(row, turns)
    field = next((name for name in AUDIOS if row.get(name)), AUDIOS[0])
    audios = _audios(row.get(field), field, reading)
    if turns.audios:
        if audios:
            raise RowError(field, audios, "must not be there beside recordings in messages", "name them once")
        audios = turns.audios
    if adds_marks and audios:
        turns.mark(len(audios))
    if any(turns.extras):
        if EXTRAS in row:
            raise RowError(EXTRAS, row[EXTRAS], "must not be there beside further keys of messages", "name them once")
        row = {**row, EXTRAS: turns.extras}
    return reading.record(row, index, turns.messages, audios, used)


def _audios(value: object, field: str, reading: Reading) -> list[str]:
    if value is None or value == "":
        return []
    listed = value if isinstance(value, list) else [value]
    return [reading.places.found(one.get("path") if isinstance(one, dict) else one, field) for one in listed]


class _Turns:
    """The turns of a row as they are found."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.messages: list[Message] = []
        self.extras: list[Row] = []
        self.audios: list[str] = []

    @property
    def asks(self) -> bool:
        """Whether the last turn is a question."""
        return bool(self.messages) and self.messages[-1].role == "user"

    def add(self, role: str, content: str, extras: Row | None = None) -> None:
        self.messages.append(Message(role, content))
        self.extras.append(extras or {})

    def system(self, content: str) -> None:
        if content:
            if self.messages and self.messages[0].role == "system":
                raise RowError("system", content, "must not be there beside a system message", "name it once")
            self.messages.insert(0, Message("system", content))
            self.extras.insert(0, {})

    def mark(self, count: int) -> None:
        """Put marks in front of the first user message, unless there is one somewhere."""
        if any(AUDIO_MARK in message.content for message in self.messages):
            return
        for place, message in enumerate(self.messages):
            if message.role == "user":
                self.messages[place] = Message("user", AUDIO_MARK * count + message.content)
                return

    def listed(self, items: Any, field: str) -> None:
        if not isinstance(items, list):
            raise RowError(field, items, "must be a list of messages", "write it so")
        for item in items:
            if not isinstance(item, dict):
                raise RowError(field, item, "must be a list of objects", "write it so")
            if item.keys() == {"human", "assistant"}:
                self.add("user", self._content(item["human"], field))
                self.add("assistant", self._content(item["assistant"], field))
            else:
                self._message(item, field)

    def _message(self, item: Row, field: str) -> None:
        names = ("role", "content") if "role" in item else ("from", "value")
        role = item.get(names[0])
        if not isinstance(role, str) or role not in ROLE_NAMES:
            raise RowError(field, role, f"must have one of the roles {', '.join(ROLE_NAMES)}", "leave tool calls out")
        content = self._content(item.get(names[1]), field)
        self.add(ROLE_NAMES[role], content, {name: value for name, value in item.items() if name not in names})

    def _content(self, value: Any, field: str) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            raise RowError(field, value, "must be messages of text or of a list of parts", "write it so")
        return "".join(self._part(part, field) for part in value)

    def _part(self, part: Any, field: str) -> str:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            return str(part["text"])
        if kind not in ("audio", "audio_url"):
            raise RowError(field, part, "must be parts of text, audio or audio_url", "write recordings to files")
        value = next((part[name] for name in ("audio", "audio_url", "url", "path") if part.get(name)), None)
        self.audios.append(self._reading.places.found(value.get("url") if isinstance(value, dict) else value, field))
        return AUDIO_MARK


def _flat(row: Row, turns: _Turns) -> None:
    """A question and an answer under one of their names, with what was said before."""
    question = next((name for name in QUESTIONS if row.get(name)), QUESTIONS[0])
    answer = next((name for name in ANSWERS if row.get(name)), ANSWERS[0])
    for name in (*QUESTIONS, *ANSWERS):
        if row.get(name) and name not in (question, answer):
            raise RowError(name, row[name], f"must not be there beside '{question}' and '{answer}'", "name it once")
    for name in SYSTEMS:
        if row.get(name):
            turns.system(text_of(row, name))
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise RowError("history", history, "must be a list of pairs of question and answer", "write it so")
    for asked, answered in history:
        for role, said in (("user", asked), ("assistant", answered)):
            turns.add(role, text_of({"history": said}, "history"))
    asked = text_of(row, question)
    turns.add("user", f"{asked}\n{text_of(row, 'input')}" if row.get("input") else asked)
    turns.add("assistant", text_of(row, answer))


def unpack_table(row: Row, index: str, reading: Reading) -> Record:
    """A row of a table: JSON in the cells of lists. Raises `RecordError`."""
    found = {name: value for name, value in row.items() if value is not None and value != ""}
    for name in (*TURNS, *AUDIOS, "history"):
        value = found.get(name)
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            try:
                found[name] = loads(value)
            except (ValueError, RecursionError) as fault:
                raise RowError(name, value, f"must be a JSON list ({fault})", "mend it") from None
    return unpack(found, index, reading, adds_marks=True)


def json_text(value: Any) -> str:
    """JSON in a cell; the empty object is empty."""
    if not value:
        return ""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # whole numbers of more than 64 bits
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _paths(record: Record, folder: str) -> list[str]:
    return [relative(path, folder) for path in record.audios]


def pack_swift(record: Record, folder: str, losses: Losses) -> Row:
    """Our row, with `meta` as text and the further keys of messages where ms-swift looks for them."""
    meta, extras = record.meta, record.meta.get(EXTRAS)
    messages = [{"role": message.role, "content": message.content} for message in record.messages]
    if isinstance(extras, list) and _fit(extras, len(messages)):
        meta = {name: value for name, value in meta.items() if name != EXTRAS}
        messages = [message | extra for message, extra in zip(messages, extras, strict=True)]
    return {"messages": messages, "audios": _paths(record, folder)} | written_facts(record, json_text(meta))


def _fit(extras: list[Any], count: int) -> bool:
    good = all(isinstance(extra, dict) and not extra.keys() & {"role", "content"} for extra in extras)
    return good and len(extras) == count


def pack_salmonn2(record: Record, folder: str, losses: Losses) -> Row:
    messages = [{"role": message.role, "content": message.content} for message in record.messages]
    return {"audios": _paths(record, folder), "messages": messages} | written_facts(record, json_text(record.meta))


def pack_llamafactory(record: Record, folder: str, losses: Losses) -> Row:
    """ShareGPT names, which are LLaMA-Factory's defaults."""
    turns = list(record.messages)
    system = turns.pop(0).content if turns[0].role == "system" else ""
    said = [{"from": "human" if one.role == "user" else "gpt", "value": one.content} for one in turns]
    row = {"conversations": said, "system": system, "audios": _paths(record, folder)}
    return row | written_facts(record, json_text(record.meta))


def dataset_info(path: Path) -> str:
    """The entry that LLaMA-Factory wants in `dataset_info.json`."""
    columns = {"messages": "conversations", "system": "system", "audios": "audios"}
    entry = {path.stem: {"file_name": path.name, "formatting": "sharegpt", "columns": columns}}
    return f"for dataset_info.json: {json.dumps(entry)}"


def pack_parquet(record: Record, folder: str, losses: Losses) -> Row:
    messages = [{"role": message.role, "content": message.content} for message in record.messages]
    return written_facts(record, json_text(record.meta)) | {"messages": messages, "audios": _paths(record, folder)}


def pack_csv(record: Record, folder: str, losses: Losses) -> Row | None:
    row = pack_parquet(record, folder, losses)
    row |= {"messages": json_text(row["messages"]), "audios": json_text(row["audios"])}
    if max(len(row[name]) for name in ("messages", "audios", "meta")) > MAX_CELL_LETTERS:
        losses.refuse(record, f"has a cell of more than {MAX_CELL_LETTERS} letters, which CSV readers refuse")
        return None
    return row
