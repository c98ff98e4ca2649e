"""OpenAQA and OpenASQA of LTU and LTU-AS, and the CompA-R layout of GAMA: one question about one recording."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.formats.base import Losses, Row, RowError
from data_prep.formats.facts import Reading, lose_facts, text_of
from data_prep.formats.paths import relative
from data_prep.records import AUDIO_MARK, Message, Record

PAIRS = "instruction_output"
USED = ("instruction", "output", "audio_id", "dataset", "input")
KEPT = ("source", "task", "meta.input")


def explode(row: Row) -> Iterator[Row | RowError]:
    """A row of CompA-R holds several questions; each becomes a row of its own."""
    if PAIRS not in row:
        yield row
        return
    pairs = row[PAIRS]
    if not isinstance(pairs, list) or not pairs:
        yield RowError(PAIRS, pairs, "must be a list of objects with instruction and output", "write it so")
        return
    shared = {name: value for name, value in row.items() if name != PAIRS}
    for pair in pairs:
        if isinstance(pair, dict) and not pair.keys() & shared.keys():
            yield shared | pair
        else:
            yield RowError(PAIRS, pair, "must be objects with instruction and output alone", "write it so")


def unpack(row: Row, index: str, reading: Reading) -> Record:
    """The transcript (`input`) stays in `meta`: what is heard is for the model to find out.

    Raises:
        RecordError: a field is not what it must be.
    """
    question, answer = text_of(row, "instruction"), text_of(row, "output")
    audio = reading.places.found(row.get("audio_id"), "audio_id")
    messages = (Message("user", AUDIO_MARK + question), Message("assistant", answer))
    told = dict(row)
    if row.get("source") is not None:
        raise RowError("source", row["source"], "must be called 'dataset'", "rename it")
    told["source"] = row.get("dataset")
    transcript = row.get("input")
    if transcript is not None and not isinstance(transcript, str):
        raise RowError("input", transcript, "must be text, empty where there is no transcript", "write it so")
    used = USED if not transcript else USED[:-1]
    return reading.record(told, index, messages, (audio,), used)


def pack(record: Record, folder: str, losses: Losses) -> Row | None:
    """Only one question about one recording fits; a system message and the mark's place do not."""
    turns = [message for message in record.messages if message.role != "system"]
    if len(turns) != 2 or len(record.audios) != 1:
        losses.refuse(record, "has several turns or not one recording; a row of openaqa is one question about one")
        return None
    lose_facts(record, losses, KEPT)
    if len(turns) < len(record.messages):
        losses.lose("system message")
    question = turns[0].content
    if not question.startswith(AUDIO_MARK):
        losses.lose(f"place of {AUDIO_MARK}")
    transcript = record.meta.get("input", "")
    if not isinstance(transcript, str):
        losses.lose("meta.input")
        transcript = ""
    return {
        "instruction": question.replace(AUDIO_MARK, "", 1),
        "input": transcript,
        "audio_id": relative(record.audios[0], folder),
        "dataset": record.source,
        "task": record.task,
        "output": turns[1].content,
    }
