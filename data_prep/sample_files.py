"""Samples in JSON-lines files, one a line; their recordings are named relative to the folder of the file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from alm.errors import RecordError
from data_prep.atomic import write_text
from data_prep.samples import Sample, sample_from_json, to_json

MOST_LINE_BYTES = 16_000_000
MOST_TOLD = 500
"""Letters of a fault: what is wrong may be long."""


def sample_line(sample: Sample, folder: Path) -> str:
    """A line of a file in `folder`."""
    relative = Path(os.path.relpath(sample.audio, folder)).as_posix()
    row = to_json(dataclasses.replace(sample, audio=relative))
    return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"


def parse_sample(text: str, folder: Path, where: str) -> Sample:
    """The sample of a line, its recording found from `folder`; raises `RecordError` naming `where`."""
    try:
        row = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(row, ensure_ascii=False).encode()  # halves of characters, which no file can hold
    except (ValueError, RecursionError) as fault:
        raise RecordError(f"{where}: is not JSON in UTF-8 ({str(fault)[:MOST_TOLD]})") from fault
    if not isinstance(row, dict):
        raise RecordError(f"{where}: is {type(row).__name__}; a sample must be a JSON object")
    try:
        sample = sample_from_json(row)
    except RecordError as fault:
        raise RecordError(f"{where}: {str(fault)[:MOST_TOLD]}") from fault
    return dataclasses.replace(sample, audio=os.path.normpath(folder.resolve() / sample.audio))


def write_samples(samples: Iterable[Sample], path: Path) -> int:
    """Write the file in one step; gives the number of samples."""
    lines = [sample_line(sample, path.parent.resolve()) for sample in samples]
    write_text(path, "".join(lines))
    return len(lines)


def read_samples(path: Path) -> Iterator[Sample]:
    """Samples of a file, one at a time.

    Raises:
        RecordError: the file is not there, is not UTF-8 text, or has a line that is no sample; file and line are named.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file of samples; `alm data read NAME --from DIR --out DIR` writes one")
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MOST_LINE_BYTES + 1), b""), start=1):
            where = f"{path}:{number}"
            if len(line) > MOST_LINE_BYTES:
                raise RecordError(f"{where}: is longer than {MOST_LINE_BYTES} bytes, the most that a sample may have")
            try:
                text = line.decode()
            except UnicodeDecodeError as fault:
                raise RecordError(f"{where}: is not UTF-8 text ({fault})") from fault
            if text.strip():
                yield parse_sample(text, path.parent, where)


def samples_at(place: Path) -> Iterator[Sample]:
    """Samples of a file, or of the project's own store when `place` is a folder; raises as `read_samples`."""
    from data_prep.readers import corpus

    yield from corpus.samples(place) if place.is_dir() else read_samples(place)
