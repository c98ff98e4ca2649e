"""Audio Flamingo 3: `sound` (one path or several) and turns in which `<sound>` or `<sound-2>` stands for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.formats.base import Losses, Row, RowError
from data_prep.formats.chat import ROLE_NAMES, json_text
from data_prep.formats.facts import Reading, written_facts
from data_prep.formats.paths import relative
from data_prep.records import AUDIO_MARK, Message, Record

MARK = re.compile(r"<sound(?:-(\d{1,4}))?>")
USED = ("sound", "conversations")


def unpack(row: Row, index: str, reading: Reading) -> Record:
    """Recordings in the order in which the turns name them.

    Raises:
        RecordError: a field is not what it must be.
    """
    sound, turns = row.get("sound"), row.get("conversations")
    listed = sound if isinstance(sound, list) else [] if sound is None else [sound]
    found = [reading.places.found(one, "sound") for one in listed]
    if not isinstance(turns, list) or not turns:
        raise RowError("conversations", turns, "must be a list of turns", "write it so")
    marks: list[int] = []
    messages = [_message(turn, marks) for turn in turns]
    if not all(1 <= mark <= len(found) for mark in marks) or set(range(1, len(found) + 1)) != set(marks):
        rule = f"must name each of the {len(found)} recordings of 'sound' by <sound> in order or by <sound-NUMBER>"
        raise RowError("conversations", f"<sound> for {marks[:10]}", rule, "mark each recording, and no other")
    return reading.record(row, index, messages, [found[mark - 1] for mark in marks], USED)


def _message(turn: object, marks: list[int]) -> Message:
    if not isinstance(turn, dict) or turn.keys() != {"from", "value"} or not isinstance(turn["value"], str):
        raise RowError("conversations", turn, "must be objects of 'from' and 'value', both text", "write it so")
    if not isinstance(turn["from"], str) or turn["from"] not in ROLE_NAMES:
        raise RowError("conversations", turn["from"], f"must be from one of {', '.join(ROLE_NAMES)}", "rename it")
    if AUDIO_MARK in turn["value"]:
        raise RowError("conversations", turn["value"], f"must not contain {AUDIO_MARK}, which marks our recordings", "")
    marks.extend(_numbers(turn["value"], len(marks)))
    return Message(ROLE_NAMES[turn["from"]], MARK.sub(AUDIO_MARK, turn["value"]))


def _numbers(text: str, before: int) -> Iterator[int]:
    for place, mark in enumerate(MARK.finditer(text), start=before + 1):
        yield int(mark[1]) if mark[1] else place


def pack(record: Record, folder: str, losses: Losses) -> Row | None:
    """One recording is `<sound>`, several are numbered."""
    if any(MARK.search(message.content) for message in record.messages):
        losses.refuse(record, "has <sound> in its text, which would become a recording")
        return None
    turns = [message for message in record.messages if message.role != "system"]
    if len(turns) < len(record.messages):
        losses.lose("system message")
    paths = [relative(path, folder) for path in record.audios]
    said, count = [], 0
    for message in turns:
        pieces = message.content.split(AUDIO_MARK)
        text = pieces[0]
        for piece in pieces[1:]:
            count += 1
            text += (f"<sound-{count}>" if len(paths) > 1 else "<sound>") + piece
        said.append({"from": "human" if message.role == "user" else "gpt", "value": text})
    sound = {} if not paths else {"sound": paths[0] if len(paths) == 1 else paths}
    return sound | {"conversations": said} | written_facts(record, json_text(record.meta))
