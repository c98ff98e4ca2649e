"""Small recordings of tones and noise, and tables, written where a fixture wants them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import soundfile as sf

from alm import testing

RATE_HZ = 16_000
SECONDS = 0.4


def sound(path: Path, channels: int = 1, seconds: float = SECONDS) -> Path:
    """A tone or noise; its name decides which, so that no two recordings are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = crc32(path.name.encode())
    wave = testing.noise(seconds, seed=seed) if seed % 2 else testing.tone(seconds, 200.0 + seed % 2000, seed=seed)
    samples = np.repeat(wave.samples.reshape(-1, 1), channels, axis=1)
    sf.write(path, samples, RATE_HZ)
    return path


def sounds(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        sound(folder / name)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def write_table(
    path: Path,
    rows: Sequence[Sequence[Any]],
    header: Sequence[str] | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    before: str = "",
    quoted: bool = True,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        file.write(before)
        if not quoted:
            file.writelines(delimiter.join(map(str, row)) + "\n" for row in ([header] if header else []) + list(rows))
            return
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows(([header] if header else []) + list(rows))


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(r) for r in rows]), path)
