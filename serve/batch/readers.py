"""Records of an input file, one after the other: JSONL, a JSON list, CSV, Parquet, or a folder of recordings.

A reader knows how a file is built, not what its fields mean. It holds one record (Parquet: some) in memory, and
whatever is wrong with the file is one `RecordError` that names the file and the place.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from alm.errors import ConfigError, RecordError, first_line

#: A record's number, counted from 1 in the unit of its file, and its fields.
Record = tuple[int, dict[str, Any]]
MAX_RECORD_BYTES = 64 * 2**20
"""A chat request with a recording of 25 MB in base64 fits."""
MAX_DEPTH = 64
"""Of lists and objects in each other."""
AUDIO_SUFFIXES = frozenset(
    ".wav .wave .w64 .flac .ogg .oga .opus .mp3 .m4a .mp4 .aac .webm .mka .mkv .mov .aif .aiff .au .caf .wma .amr .3gp"
    .split()
)  # fmt: skip
_CHUNK_CHARACTERS = 2**20
_PARQUET_ROWS = 256
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def jsonl_records(path: Path) -> Iterator[Record]:
    """One object per line; blank lines are passed over. Raises: RecordError."""
    with _opened(path) as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_RECORD_BYTES + 1), b""), start=1):
            if not raw.strip():
                continue
            where = f"{path.name} line {number}"
            if len(raw) > MAX_RECORD_BYTES:
                raise RecordError(f"{where}: longer than {MAX_RECORD_BYTES} bytes; is this one JSON object per line?")
            try:
                value = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise RecordError(f"{where}: not JSON ({error}); one object per line is expected") from None
            yield number, _checked_object(value, where)


def json_records(path: Path) -> Iterator[Record]:
    """A list of objects, read piece by piece. Raises: RecordError."""
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as file:
        scanner = _Scanner(file, path.name)
        scanner.take("[")
        while scanner.peek() != "]" or scanner.number:
            scanner.number += 1
            yield scanner.number, _checked_object(scanner.value(), scanner.where)
            if scanner.peek() == "]":
                break
            scanner.take(",")
        scanner.take("]")
        if scanner.peek():
            raise RecordError(f"{path.name}: goes on after the end of the list; is it one list of objects?")


def csv_records(path: Path) -> Iterator[Record]:
    """Rows under a header, all fields texts, in UTF-8 with commas. Raises: RecordError."""
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
        lines = _Lines(file, path.name)
        header: list[str] | None = None
        rows = csv.reader(lines, strict=True)
        while True:
            number = lines.begin()
            try:
                row = next(rows, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise RecordError(
                    f"{path.name} line {number}: no CSV in UTF-8 ({error}); fields of more than "
                    f"{csv.field_size_limit()} characters belong into JSONL"
                ) from None
            if row is None:
                return
            if header is None:
                header = _checked_header(row, path.name)
            elif row:
                if len(row) != len(header):
                    raise RecordError(f"{path.name} line {number}: {len(row)} fields under a header of {len(header)}")
                yield number, dict(zip(header, row, strict=True))


def parquet_records(path: Path) -> Iterator[Record]:
    """Rows of a Parquet file. Raises: RecordError; ConfigError without pyarrow."""
    arrow, parquet = pyarrow_modules()
    number = 0
    try:
        with _opened(path) as raw, parquet.ParquetFile(raw) as file:
            _checked_header(file.schema_arrow.names, path.name)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield number, fields
    except (arrow.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        reason = first_line(error)[:200]
        raise RecordError(f"{path.name} after row {number}: no readable Parquet ({reason}); write it again") from None


def folder_records(folder: Path, question: str) -> Iterator[Record]:
    """The recordings under a folder by name, each with the question; other files do not count. Raises: RecordError."""

    def refuse(error: OSError) -> None:
        raise RecordError(f"{error.filename}: cannot be read ({error.strerror}); check the rights") from None

    number = 0
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(files):
            if Path(name).suffix.lower() in AUDIO_SUFFIXES:
                number += 1
                shown = (Path(parent) / name).relative_to(folder).as_posix()
                yield number, {"audios": [shown], "messages": [{"role": "user", "content": question}]}
    if not number:
        raise RecordError(f"{folder}: no recording in it; files are told by their endings ({_some_suffixes()}, ...)")


def is_json_list(path: Path) -> bool:
    """Whether the file begins as a JSON list; a file of JSON lines begins otherwise. Raises: RecordError."""
    with _opened(path) as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def pyarrow_modules() -> tuple[Any, Any]:
    """`pyarrow` and its Parquet part, imported when a Parquet file is met. Raises: ConfigError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("Parquet files need pyarrow: pip install 'alm[tables]', or use CSV or JSONL") from None
    return pyarrow, pyarrow.parquet


def _opened(path: Path) -> BinaryIO:
    try:
        if path.is_fifo():
            raise RecordError(f"{path}: is a pipe; rows are read more than once, so save them to a file")
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no valid path"
        raise RecordError(f"{path}: cannot be read ({reason}); check the path and rights") from None


def _checked_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(f"{where}: a {type(value).__name__}, not an object with fields such as messages and audios")
    # Level by level, not by recursion: what can be read may still be too deep to be written.
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        held = (v.values() if isinstance(v, dict) else v for v in level)
        level = [inner for values in held for inner in values if isinstance(inner, dict | list)]
        if not level:
            return value
    raise RecordError(f"{where}: more than {MAX_DEPTH} lists and objects in each other; rows are flat")


def _checked_header(names: list[str], file: str) -> list[str]:
    if twice := {name for name in names if names.count(name) > 1}:
        raise RecordError(f"{file}: two columns are called {min(twice)!r}; rename one")
    return names


def _some_suffixes() -> str:
    return ", ".join(sorted(AUDIO_SUFFIXES)[:8])


@dataclass
class _Scanner:
    """Values of a JSON text of any length, of which only the part around the next value is in memory."""

    file: TextIO
    name: str
    number: int = 0
    buffer: str = ""
    at: int = 0

    @property
    def where(self) -> str:
        return f"{self.name} item {self.number}"

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            blank = _BLANK.match(self.buffer, self.at)
            self.at = blank.end() if blank else self.at
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._fill():
                return ""

    def take(self, wanted: str) -> None:
        found = self.peek()
        if found != wanted:
            shown = repr(found) if found else "the end"
            raise RecordError(f"{self.where}: {shown} where {wanted!r} should follow; give one JSON list of objects")
        self.at += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.buffer, self.at)
                return value
            except RecursionError as error:
                raise RecordError(f"{self.where}: not JSON ({error})") from None
            except ValueError as error:
                if len(self.buffer) - self.at > MAX_RECORD_BYTES or not self._fill():
                    raise RecordError(f"{self.where}: not JSON ({error})") from None

    def _fill(self) -> bool:
        """As much again as there is, so that a long value is not begun too often."""
        self.buffer, self.at = self.buffer[self.at :], 0
        try:
            piece = self.file.read(max(_CHUNK_CHARACTERS, len(self.buffer)))
        except UnicodeDecodeError as error:
            raise RecordError(f"{self.where}: not UTF-8 ({error.reason})") from None
        self.buffer += piece
        return bool(piece)


@dataclass
class _Lines:
    """Lines of a text file for the CSV reader; neither a line nor a record grows without bound."""

    file: TextIO
    name: str
    number: int = 0
    characters: int = 0

    def begin(self) -> int:
        """A new record begins; the number of its first line."""
        self.characters = 0
        return self.number + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MAX_RECORD_BYTES)
        if not line:
            raise StopIteration
        self.number += 1
        self.characters += len(line)
        if self.characters >= MAX_RECORD_BYTES:
            raise RecordError(f"{self.name} line {self.number}: a row of more than {MAX_RECORD_BYTES} characters")
        return line
