"""Invented rows in the layouts of other projects, for the tests of formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.formats.writing import COLUMNS

Row = dict[str, Any]


def _turns(*said: str) -> list[Row]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]


def _from(*said: str) -> list[Row]:
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(said)]


def _kimi(*parts: str) -> list[Row]:
    """`user text What?` as an item."""
    return [dict(zip(("role", "message_type", "content"), part.split(" ", 2), strict=True)) for part in parts]


ALM: Row = {
    "id": "r1",
    "messages": [{"role": "system", "content": "Be brief."}, *_turns("<audio>What is heard?", "Ein Hund, 犬.")],
    "audios": ["clips/dog 1.flac"],
    "source": "yard",
    "task": "label",
    "split": "dev",
    "licence": "CC0-1.0",
    "duration": 2.5,
    "meta": {"answer": "dog", "options": ["dog", "cat"], "big": 2**70},
}
TWO: Row = ALM | {
    "id": "r2",
    "messages": _turns("First <audio> then <audio>\nwhich barks?", "The second.", "How often?", "Twice."),
    "audios": ["a.flac", "b/c.flac"],
    "meta": {},
}
OPENAQA: list[Row] = [
    {
        "instruction": "Name the sounds of the recording.",
        "input": "",
        "audio_id": "audio/yard_01.flac",
        "dataset": "as_20k",
        "task": "cla_label",
        "output": "Labels: Dog; Wind",
    },
    {
        "instruction": "What is said, and how?",
        "input": "come here at once",
        "audio_id": "audio/kitchen.wav",
        "dataset": "mosei_tr",
        "task": "open-ended question",
        "output": "An order, given in a loud voice.",
    },
]
COMPA_R: Row = {
    "audio_id": "audio/street.wav",
    "input": "",
    "dataset": "Audioset_Strong",
    "task": "open-ended question",
    "instruction_output": [
        {"instruction": "Why might people hurry?", "output": "A siren comes nearer."},
        {"instruction": "Is it day?", "output": "The birds make that likely."},
    ],
    "caption": "A siren passes birds.",
    "timestamp_events": ["(Siren-0.0-4.1)", "(Bird-0.2-9.8)"],
}
SWIFT: list[Row] = [
    {"messages": _turns("<audio>What is it?", "Rain."), "audios": ["rain.wav"]},
    {"messages": _turns("<audio>And now?", "Hail.", "Sure?", "Yes."), "audios": ["hail.wav"], "channel": "a"},
    {"query": "What is it?", "response": "Snow makes no sound.", "audios": ["snow.wav"], "history": [["Hi", "Hello"]]},
    {"instruction": "Name it.", "input": "One word.", "output": "Thunder.", "audio": "thunder.wav", "system": "Short."},
    {"conversation": [{"human": "<audio>Who?", "assistant": "A child."}], "audios": ["child.wav"]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "audio", "audio": "x.wav"}, {"type": "text", "text": "Which?"}]},
            {"role": "assistant", "content": "This.", "loss": False},
        ]
    },
]
LLAMAFACTORY: list[Row] = [
    {"conversations": _from("<audio>What is it?", "A bell."), "audios": ["bell.wav"]},
    {"messages": _turns("<audio><audio>Same?", "No."), "audios": ["a.wav", "b.wav"]},
    {"conversations": _from("Tell me <audio>", "A horn."), "system": "Be kind.", "audios": ["horn.mp3"]},
]
AF3: list[Row] = [
    {"id": "A1", "sound": "s/1.wav", "duration": 8, "conversations": _from("<sound>\nWhat is it?", "A drill.")},
    {"id": 7, "sound": ["s/1.wav", "s/2.wav"], "conversations": _from("<sound-2> before <sound-1>?", "No.")},
    {"id": "A3", "sound": ["s/3.wav"], "duration": 1.25, "conversations": _from("<sound>Who?", "A cat.", "?", "Yes.")},
]
KIMI: list[Row] = [
    {
        "task_type": "understanding",
        "conversation": _kimi("user text Write it down.", "user audio a.wav", "assistant text Hello there."),
    },
    {
        "task_type": "understanding",
        "conversation": _kimi(
            "user audio a.wav", "user text What?", "user text In a word.", "assistant text A cow.",
            "user text And here?", "user audio b.wav", "assistant text Two cows.",
        ),
    },
]  # fmt: skip
SALMONN2: list[Row] = [
    {"audios": ["a.wav"], "messages": _turns("<audio>Listen. What is it?", "Waves.")},
    {"audios": ["a.wav", "b.wav"], "messages": _turns("<audio>\n<audio>\nDiffer?", "Yes."), "duration": 3.5},
]
FLAT: list[Row] = [
    {"id": "1", "audio": "a.wav", "question": "What is it?", "answer": 'A door, "slammed".', "place": "hall"},
    {"id": "2", "audio": '["a.wav", "b.wav"]', "question": "<audio> or <audio>?", "answer": "The\nfirst.", "place": ""},
]
ROWS: dict[str, list[Row]] = {
    "alm": [ALM, TWO],
    "openaqa": OPENAQA,
    "swift": SWIFT,
    "llamafactory": LLAMAFACTORY,
    "af3": AF3,
    "kimi": KIMI,
    "salmonn2": SALMONN2,
    "csv": FLAT,
    "parquet": FLAT,
}
SUFFIXES = dict.fromkeys(ROWS, ".jsonl") | {"csv": ".csv", "parquet": ".parquet"}


def table_text(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def save(name: str, rows: list[Any], path: Path) -> Path:
    """Rows as the format keeps them."""
    if name == "csv":
        path.write_text(table_text(rows), encoding="utf-8")
    elif name == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def table_rows(rows: list[Row]) -> list[Row]:
    """Our rows with JSON in the cells of lists, as tables written by us hold them."""
    lists = ("messages", "audios", "meta")
    return [{name: json.dumps(row[name]) if name in lists else str(row[name]) for name in COLUMNS} for row in rows]
