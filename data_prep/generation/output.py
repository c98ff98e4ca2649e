"""Files of samples and records that are read and written as streams."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from alm.errors import RecordError
from data_prep.atomic import TEMPORARY
from data_prep.samples import Sample, sample_from_json

MOST_LINE_LETTERS = 20_000_000


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file of text that is there once it is whole, and not at all when writing it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_samples(path: Path) -> Iterator[Sample]:
    """Samples of a JSON-lines file as `data_prep.samples.to_json` writes them; relative recordings are beside the file.

    Raises:
        RecordError: names file and line.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file of samples (JSON lines as data_prep.samples.to_json gives them)")
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MOST_LINE_LETTERS + 1), b""), start=1):
            if line.strip():
                yield _sample(line, path, number)


def _sample(line: bytes, path: Path, number: int) -> Sample:
    where = f"{path}:{number}"
    if len(line) > MOST_LINE_LETTERS:
        raise RecordError(f"{where}: a line of more than {MOST_LINE_LETTERS} bytes; that is the limit of one sample")
    try:
        row = json.loads(line.decode("utf-8"))
        json.dumps(row, ensure_ascii=False).encode()  # halves of characters, which no file can hold
    except (ValueError, RecursionError) as fault:
        raise RecordError(f"{where}: is not JSON in UTF-8 ({str(fault)[:200]})") from fault
    if not isinstance(row, dict):
        raise RecordError(f"{where}: is {type(row).__name__}; a sample must be a JSON object")
    try:
        if isinstance(row.get("audio"), str) and row["audio"]:
            row["audio"] = str(path.parent.absolute() / row["audio"])
        return sample_from_json(row)
    except RecordError as fault:
        raise RecordError(f"{where}: {fault}") from None
