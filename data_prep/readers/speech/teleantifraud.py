"""TeleAntiFraud-28k: telephone calls in Mandarin with questions that are answered after thinking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, reading
from data_prep.readers.rows import Row, RowError
from data_prep.samples import Asked, Sample

SPLITS = {"sft-train": "train", "sft-test": "test", "binary-train": "train", "binary-test": "test"}
_FILES = {
    "sft-train": ("sft/train.jsonl", "sft/train.json"),
    "sft-test": ("sft/test.jsonl", "sft/test.json"),
    "binary-train": ("binary_classification/train.json", "binary_classification/train.jsonl"),
    "binary-test": ("binary_classification/test.json", "binary_classification/test.jsonl"),
}
TASKS = {"fraud_type": "fraud type", "is_fraud": "fraud", "scene": "scene"}
"""Keys of the answer, in the order in which they are looked for; the last two occur in the question of the first."""
_AUDIO_MARK = re.compile(r"<\|?audio(?:_bos|_eos)?\|?>|<audio>[^<]*</audio>", re.IGNORECASE)
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_DEPTH = 8


def _rows(source: Download, path: Path) -> Iterator[Row | Lost]:
    """A list or lines, by what the file begins with."""
    with path.open("rb") as stream:
        listed = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    return (rows.json_items if listed else rows.json_lines)(path, source.name(path))


def _turns(row: Row) -> list[tuple[str, str]]:
    """Role and text of each message, in the forms that trainers use."""
    for name in ("messages", "conversations", "conversation"):
        if row.has(name):
            return [_turn(one) for one in row.rows(name)]
    asked, said = row.text("query", row.text("instruction", "")), row.text("response", row.text("output", ""))
    return [("user", asked), ("assistant", said)] if asked and said else []


def _turn(message: Row) -> tuple[str, str]:
    role = message.text("role", message.text("from", ""))
    name = "content" if message.has("content") else "value"
    parts = message.values.get(name)
    if isinstance(parts, list):
        texts = [Row(message.where, one).text("text", "") for one in parts if isinstance(one, Mapping)]
        text = " ".join(one for one in texts if one)
    else:
        text = message.text(name)
    role = {"human": "user", "gpt": "assistant"}.get(role, role)
    return role, _AUDIO_MARK.sub("", text).strip()


def _questions(row: Row) -> list[Asked]:
    turns = [turn for turn in _turns(row) if turn[0] != "system"]
    roles = [role for role, _ in turns]
    if roles != ["user", "assistant"] * (len(turns) // 2):
        raise row.fault("messages", "must be user and assistant in turn")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return [Asked(asked, said, task=_task(asked, said)) for (_, asked), (_, said) in pairs]


def _task(*texts: str) -> str:
    return next((task for text in texts for key, task in TASKS.items() if key in text), "")


def _answers(asked: list[Asked]) -> dict[str, Any]:
    """What the JSON of the answers says, and the thinking before them."""
    found: dict[str, Any] = {}
    for one in asked:
        said = _THINK.sub("", one.answer)
        start, end = said.find("{"), said.rfind("}")
        try:
            answer = json.loads(said[start : end + 1]) if 0 <= start < end else {}
        except (ValueError, RecursionError):
            continue
        for key in TASKS if isinstance(answer, Mapping) else ():
            if isinstance(answer.get(key), str | bool):
                found[key] = answer[key]
    if thought := [m[1].strip() for one in asked if (m := _THINK.search(one.answer))]:
        found["thinking"] = thought
    return found


def _audio(row: Row) -> str:
    """The path, as a field of its own or inside the messages."""
    for name in ("audio", "audio_path", "audios", "path", "wav"):
        if row.has(name):
            given = row.values[name]
            paths = row.texts(name) if isinstance(given, list) else (row.text(name),)
            if len(paths) != 1:
                raise row.fault(name, f"must name one recording, not {len(paths)}")
            return paths[0]
    if found := _nested(row.values.get("messages", row.values.get("prompt")), 0):
        return Row(row.where, {"audio": found}).text("audio")
    raise row.fault("audio", "must name the recording")


def _nested(value: Any, depth: int) -> str:
    if depth > _DEPTH:
        return ""
    if isinstance(value, Mapping):
        direct = next((value[k] for k in ("audio_url", "audio") if isinstance(value.get(k), str)), "")
        return direct or next((f for v in value.values() if (f := _nested(v, depth + 1))), "")
    if isinstance(value, list):
        return next((f for v in value[:64] if (f := _nested(v, depth + 1))), "")
    return ""


def _verdict(row: Row) -> bool | None:
    """Of the binary package, whose label is a number, a word or a truth value."""
    for name in ("is_fraud", "label", "answer"):
        value = row.values.get(name)
        if isinstance(value, bool):
            return value
        if row.has(name):
            word = row.text(name).lower()
            known = {"1": True, "0": False, "fraud": True, "normal": False, "true": True, "false": False}
            known |= {"诈骗": True, "欺诈": True, "正常": False, "非诈骗": False, "non-fraud": False}
            if word in known:
                return known[word]
    return None


def _call(source: Download, own: str, split: str, row: Row) -> Sample:
    written = _audio(row).removeprefix("file://")
    asked = _questions(row)
    extras = _answers(asked)
    if (fraud := _verdict(row)) is not None:
        extras["is_fraud"] = fraud
    if not asked and "is_fraud" not in extras:
        raise RowError(rows.UNLABELLED, "has neither a question nor a verdict")
    name = written.rpartition("/")[2]
    return source.sample(
        f"{own}/{row.where.rpartition(' ')[2]}",
        source.recording(written, f"audio/{written}", f"audio/{name}"),
        split,
        group=written,
        questions=tuple(asked),
        language="zh",
        extras=extras,
    )


def _read(source: Download) -> Found:
    wanted = source.parts(SPLITS)
    there = {own: path for own in wanted if (path := source.find(*_FILES[own]))}
    if not there or (source.options.splits and len(there) < len(wanted)):
        source.place(*(name for own in wanted if own not in there for name in _FILES[own]))
    for own, path in there.items():
        yield from source.each(_rows(source, path), partial(_call, source, own, wanted[own]))


TELEANTIFRAUD = Source(
    name="teleantifraud",
    title="TeleAntiFraud-28k",
    licence="Apache-2.0",
    home="https://huggingface.co/datasets/JimmyMa99/TeleAntiFraud",
    how_to_get="sft.zip, binary_classification.zip and audio.zip, unpacked into one folder",
    size="28,511 calls, 307 hours; 27,146 and 6,807 dialogues (sft), 4,000 and 400 verdicts (binary)",
    tells=("questions", "language", "extras", "group"),
    layout="sft/train.jsonl, sft/test.jsonl\nbinary_classification/train.json, binary_classification/test.json\n"
    "audio/, with the recordings that the rows name",
    read=reading("teleantifraud", "Apache-2.0", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
