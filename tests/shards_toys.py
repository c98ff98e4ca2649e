"""Records on tones for the tests of shards: single recordings, pairs and rows without any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from data_prep_toys import tone

from data_prep.records import AUDIO_MARK, Message, Record

RATE = 8_000


def write_tones(folder: Path, count: int, ending: str = "flac") -> list[str]:
    """Recordings of different lengths below `folder`; their names."""
    (folder / "tones").mkdir(parents=True, exist_ok=True)
    names = [f"tones/{number:03d}.{ending}" for number in range(count)]
    for number, name in enumerate(names):
        soundfile.write(folder / name, tone(200 + 10 * number, 0.05 + 0.01 * (number % 7), RATE), RATE)
    return names


def a_record(name: str, audios: tuple[str, ...], split: str = "train", **more: object) -> Record:
    """A row that asks about these recordings."""
    facts = {"source": "toys", "task": "label", "licence": "CC0-1.0", "duration": 0.1, "meta": {"answer": name}} | more
    messages = (Message("user", AUDIO_MARK * len(audios) + f"What is {name}?"), Message("assistant", f"It is {name}."))
    return Record(id=name, messages=messages, audios=audios, split=split, **facts)  # type: ignore[arg-type]


def toy_records(names: list[str], each: int = 3) -> list[Record]:
    """`each` rows on every recording, a pair for every fifth, a row without any for every tenth; a few in test."""
    split = ["test" if number % 8 == 7 else "train" for number in range(len(names))]
    rows = [
        a_record(f"one-{number}-{take}", (name,), split[number], meta={"turns": [{"answer": take}]})
        for number, name in enumerate(names)
        for take in range(each)
    ]
    rows += [a_record(f"two-{n}", (names[n], names[n - 1]), "train", task="which") for n in range(0, len(names), 5)
             if {split[n], split[n - 1]} == {"train"}]  # fmt: skip
    rows += [a_record(f"none-{n}", (), "train", task="talk", duration=0) for n in range(0, len(names), 10)]
    return rows


def tree(folder: Path) -> dict[str, bytes]:
    """Names and bytes of all files but what a build keeps for itself."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }


def decoded(data: bytes, folder: Path) -> tuple[np.ndarray, int]:
    """Samples and rate of the bytes of a recording."""
    (folder / "decoded").write_bytes(data)
    samples, rate = soundfile.read(folder / "decoded", dtype="int16")
    return samples, rate
