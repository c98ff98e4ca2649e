"""Kimi-Audio (and MOSS-Audio): a conversation of messages, each of which is text or a recording."""

from __future__ import annotations

from data_prep.formats.base import Losses, Row, RowError
from data_prep.formats.chat import json_text
from data_prep.formats.facts import Reading, written_facts
from data_prep.formats.paths import relative
from data_prep.records import AUDIO_MARK, ROLES, Message, Record

USED = ("conversation",)
TASK_TYPE = "task_type"
KEYS = ("role", "message_type", "content")


def unpack(row: Row, index: str, reading: Reading) -> Record:
    """Messages of one role that follow each other become one; texts among them stand on lines of their own.

    Raises:
        RecordError: a field is not what it must be.
    """
    items = row.get("conversation")
    if not isinstance(items, list) or not items:
        raise RowError("conversation", items, "must be a list of messages", "write it so")
    messages: list[Message] = []
    audios: list[str] = []
    was = ""
    for item in items:
        role, kind, text = _parts(item)
        if kind == "audio":
            audios.append(reading.places.found(text, "conversation"))
            text = AUDIO_MARK
        if messages and messages[-1].role == role:
            between = "\n" if kind == was == "text" else ""
            messages[-1] = Message(role, messages[-1].content + between + text)
        else:
            messages.append(Message(role, text))
        was = kind
    used = (*USED, TASK_TYPE) if row.get(TASK_TYPE) == "understanding" else USED
    return reading.record(row, index, messages, audios, used)


def _parts(item: object) -> tuple[str, str, str]:
    """Role, kind and content of one message."""
    if not isinstance(item, dict) or not all(isinstance(item.get(name), str) for name in KEYS):
        raise RowError("conversation", item, f"must be objects of {', '.join(KEYS)}, all text", "write it so")
    role, kind, content = (item[name] for name in KEYS)
    if role not in ROLES or kind not in ("text", "audio") or (kind == "audio" and role != "user"):
        rule = "must be text of user, assistant or system, or audio of the user"
        raise RowError("conversation", f"{kind} of {role}", rule, "leave spoken answers out")
    if further := item.keys() - set(KEYS):
        rule = f"has keys that cannot be held: {', '.join(sorted(further))[:80]}"
        raise RowError("conversation", item, rule, "leave audio tokens out; they are made anew")
    if kind == "text" and AUDIO_MARK in content:
        raise RowError("conversation", content, f"must not contain {AUDIO_MARK}, which marks our recordings", "")
    return role, kind, content


def pack(record: Record, folder: str, losses: Losses) -> Row | None:
    """The pieces between marks are messages of their own."""
    paths = iter([relative(path, folder) for path in record.audios])
    said: list[Row] = []
    for message in record.messages:
        if message.role == "system":
            losses.lose("system message")
            continue
        for place, piece in enumerate(message.content.split(AUDIO_MARK)):
            if place:
                said.append({"role": message.role, "message_type": "audio", "content": next(paths)})
            if piece:
                said.append({"role": message.role, "message_type": "text", "content": piece})
    facts = written_facts(record, json_text(record.meta))
    return {TASK_TYPE: "understanding", "conversation": said} | facts
