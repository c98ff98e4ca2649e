"""Our own row, strictly: every field is there, and none besides."""

from __future__ import annotations

from typing import Any

from data_prep.formats.base import Losses, Row, RowError
from data_prep.formats.facts import Reading
from data_prep.formats.paths import relative
from data_prep.records import FIELDS, ROLES, SPLITS, Message, Record

TEXTS = ("id", "source", "task", "split", "licence")
USED = ("messages", "audios")


def unpack(row: Row, index: str, reading: Reading) -> Record:
    """Raises `RecordError` naming the first field that is not what it must be."""
    for name in FIELDS:
        if name not in row and name != "meta":
            raise RowError(name, "", "must be there", f"a record has the fields {', '.join(FIELDS)}")
    for name in row:
        if name not in FIELDS:
            raise RowError(name, row[name], "is no field of a record", "move it into 'meta'")
    for name in TEXTS:
        if not isinstance(row[name], str) or not row[name]:
            raise RowError(name, row[name], "must be text that is not empty", "write it; 'unknown' will do")
    if row["split"] not in SPLITS:
        raise RowError("split", row["split"], f"must be one of {', '.join(SPLITS)}", "name one of them")
    for name in USED:
        if not isinstance(row[name], list):
            raise RowError(name, row[name], "must be a list", "write it so")
    if isinstance(row["duration"], bool) or not isinstance(row["duration"], int | float):
        raise RowError("duration", row["duration"], "must be a number of seconds", "write 0 if nobody knows")
    if not isinstance(row.get("meta", {}), dict):
        raise RowError("meta", row["meta"], "must be an object", "write {} if there is nothing")
    messages = [_message(item) for item in row["messages"]]
    audios = [reading.places.found(path, "audios") for path in row["audios"]]
    return reading.record(row, index, messages, audios, USED)


def _message(item: Any) -> Message:
    good = isinstance(item, dict) and item.keys() == {"role", "content"}
    if not good or not all(isinstance(value, str) for value in item.values()) or item["role"] not in ROLES:
        raise RowError("messages", item, f"must be objects of role ({', '.join(ROLES)}) and content", "write it so")
    return Message(item["role"], item["content"])


def pack(record: Record, folder: str, losses: Losses) -> Row:
    """All of it."""
    return {
        "id": record.id,
        "messages": [{"role": message.role, "content": message.content} for message in record.messages],
        "audios": [relative(path, folder) for path in record.audios],
        "source": record.source,
        "task": record.task,
        "split": record.split,
        "licence": record.licence,
        "duration": record.duration,
        "meta": record.meta,
    }
