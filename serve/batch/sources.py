"""What a batch reads: a file or folder, how it is built, what its fields mean, and which id each row has."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from alm.audio import AudioLimits
from alm.audio_opening import opened_source
from alm.errors import AudioError, ConfigError, RecordError
from alm.terminal import printable
from serve.batch import readers
from serve.batch.readers import Record
from serve.batch.rows import ADDED_FIELDS, Line, Row, check_row, openaqa_row
from serve.batch.stages import Ready, RecordingCache

Container = Literal["jsonl", "json", "csv", "parquet", "folder"]
Dialect = Literal["rows", "openaqa", "openai"]
_UNITS = {"jsonl": "line", "json": "item", "csv": "line", "parquet": "row", "folder": "recording"}
_HASHES_KEPT = 4096


_COLUMNS_SHOWN = 200
"""Letters of their names."""
TABLES = (".tsv", ".xlsx", ".xls", ".ods")
"""Endings of tables that are neither read nor written."""


@dataclass(frozen=True)
class Source:
    """The input of a batch. It is read more than once and must not change meanwhile."""

    path: Path
    container: Container
    dialect: Dialect = "rows"
    question: str = ""
    """For a folder of recordings."""

    @property
    def folder(self) -> Path:
        """Where relative recordings are looked for."""
        return self.path if self.container == "folder" else self.path.parent

    @property
    def unit(self) -> str:
        return _UNITS[self.container]

    @property
    def columns(self) -> bool:
        return self.container in ("csv", "parquet")

    def records(self) -> Iterator[Record]:
        """Every record in order. Raises: RecordError."""
        if self.container == "folder":
            return readers.folder_records(self.path, self.question)
        read = {
            "jsonl": readers.jsonl_records,
            "json": readers.json_records,
            "csv": readers.csv_records,
            "parquet": readers.parquet_records,
        }
        return read[self.container](self.path)

    def given_id(self, record: Record) -> str | None:
        """The id that the record says itself. Raises: RecordError."""
        number, fields = record
        name = "custom_id" if self.dialect == "openai" else "id"
        value = fields.get(name)
        if value is None or (self.columns and value == ""):
            if self.dialect == "openai":
                raise RecordError(f"{self.path.name} {self.unit} {number}: no 'custom_id'; give each request its own")
            return None
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise RecordError(
                f"{self.path.name} {self.unit} {number}: the field {name!r} is {str(value)[:40]!r}; give a text or "
                "whole number, or leave it out"
            )
        return str(value)

    def row(self, line: Line) -> Row:
        """The row of a line of our own dialect or of OpenAQA's. Raises: RecordError."""
        if self.dialect == "openaqa":
            return openaqa_row(line, self.folder)
        return check_row(line, self.folder, self.columns)

    def ready(self, line: Line, recordings: RecordingCache) -> Ready:
        """The row with its recordings.

        Raises:
            RecordError: a field is missing or wrong.
            AudioError: a recording cannot be used.
            ConversationError: messages are out of order (OpenAI batch lines).
        """
        if self.dialect == "openai":
            from serve.batch.openai_lines import ready_request

            return ready_request(line)
        row = self.row(line)
        return Ready(row, [recordings.load(path) for path in row.audios])


def open_source(path: Path, question: str | None = None) -> Source:
    """What kind of input lies at a path: by its ending, and by the fields of its first record.

    Raises:
        RecordError: it cannot be read.
        ConfigError: a folder without a question, or a question beside a file.
    """
    if path.is_dir():
        if not (question or "").strip():
            raise ConfigError(f"{path}: is a folder; say what to ask about each recording in it with --question")
        return Source(path, "folder", question=str(question))
    if question is not None:
        raise ConfigError(f"{path}: --question goes with a folder of recordings; rows of a file have their own")
    source = Source(path, _container(path))
    first = next(source.records(), None)
    if first is None:
        return source
    _check_fields(path, source.container, first[1])
    return Source(path, source.container, _dialect(first[1]))


def _check_fields(path: Path, container: Container, fields: Mapping[str, Any]) -> None:
    """What would else be found row by row, after the model was loaded."""
    if added := [name for name in ADDED_FIELDS if name in fields]:
        raise RecordError(f"{path}: the field {added[0]!r} is written by the batch; rename it in the input")
    if container in ("csv", "parquet") and not {"question", "messages", "instruction"} & fields.keys():
        hint = "; a CSV's cells are parted by commas" if container == "csv" else ""
        columns = printable(", ".join(fields), keep="")[:_COLUMNS_SHOWN]
        raise RecordError(f"{path}: no column 'question' or 'messages'; the columns are {columns}{hint}")


def _container(path: Path) -> Container:
    ending = path.suffix.lower()
    if ending in TABLES:
        raise RecordError(f"{path}: tables are read as .csv (with commas) or .parquet; write it so")
    if ending == ".csv":
        return "csv"
    if ending == ".parquet":
        return "parquet"
    return "json" if ending == ".json" and readers.is_json_list(path) else "jsonl"


def _dialect(fields: Mapping[str, Any]) -> Dialect:
    if "custom_id" in fields and "body" in fields:
        return "openai"
    return "openaqa" if "instruction" in fields and "audio_id" in fields else "rows"


@dataclass(frozen=True)
class ContentIds:
    """Ids for rows without one: the hash of their recordings' content and their messages, never of a path alone.

    A recording that cannot be read counts by its name: the row fails, and has another id once the recording is there.
    """

    source: Source
    limits: AudioLimits = field(default_factory=AudioLimits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_recording", lru_cache(_HASHES_KEPT)(self._hash_recording))

    def of(self, record: Record) -> str:
        """32 hexadecimal digits."""
        number, fields = record
        try:
            row = self.source.row(Line(number, "", fields, self.source.unit))
        except RecordError:
            parts = [b"fields", json.dumps(fields, sort_keys=True, default=str).encode()]
        else:
            recordings = [self._recording(path) for path in row.audios]  # type: ignore[attr-defined]
            parts = [b"row", json.dumps(row.messages, sort_keys=True).encode(), *recordings]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()[:32]

    def _hash_recording(self, path: Path) -> bytes:
        try:
            with opened_source(path, None, self.limits) as (file, _, _):
                digest = hashlib.sha256()
                while piece := file.read(2**20):
                    digest.update(piece)
                return digest.digest()
        except (AudioError, OSError):
            inside = path.is_relative_to(self.source.folder)
            return b"unread " + os.fsencode(path.relative_to(self.source.folder) if inside else path)
