"""Rows of other projects, read as records and written from them: `FORMATS[name].read(path)`, `.write(records, path)`.

Reading is a stream in bounded memory. What a row does wrong is a `BadRow`, what a target cannot hold is counted in
`Losses`: nothing goes away in silence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from data_prep.formats import af3, chat, kimi, openaqa, own
from data_prep.formats.base import (
    BadRow,
    Losses,
    Raw,
    ReadContainer,
    ReadRows,
    Row,
    RowError,
    RowReport,
    WriteContainer,
    shown,
)
from data_prep.formats.facts import Reading
from data_prep.formats.json_rows import read_json
from data_prep.formats.tables import read_csv, read_parquet
from data_prep.formats.writing import write_csv, write_json, write_lines, write_parquet
from data_prep.records import FieldError, Record

__all__ = ["FORMATS", "BadRow", "Format", "Losses", "ReadRows", "RowReport"]

Unpack = Callable[[Row, str, Reading], Record]
Pack = Callable[[Record, str, Losses], Row | None]
REMEDIES = {
    "messages": "begin with the user (or one system message), end with the assistant, leave no message empty",
    "audios": "put one <audio> into a user message for each recording",
}


def _alone(row: Row) -> Iterator[Row | RowError]:
    yield row


@dataclass(frozen=True)
class Format:
    """A layout of rows and the files that it is kept in."""

    name: str
    title: str
    unpack: Unpack
    pack: Pack
    open: ReadContainer = read_json
    save: WriteContainer = write_json
    explode: Callable[[Row], Iterator[Row | RowError]] = _alone
    """One row of the file as rows of one record each."""
    advice: Callable[[Path], str] = lambda path: ""
    """What else its project wants to be told of a written file."""

    def read(self, path: Path, options: ReadRows | None = None) -> Iterator[Record | BadRow]:
        """The records of a file as a stream, and a `BadRow` for each row that is none.

        Raises:
            RecordError: the file as a whole cannot be read.
        """
        options = options or ReadRows()
        reading = Reading(path, options)
        for raw in self.open(path, options):
            if isinstance(raw, BadRow):
                yield raw
            elif not isinstance(raw.value, dict):
                yield _bad(path, raw, RowError("row", raw.value, "must be a JSON object", "write one object a row"))
            else:
                yield from self._records(path, raw, reading)

    def _records(self, path: Path, raw: Raw, reading: Reading) -> Iterator[Record | BadRow]:
        for place, row in enumerate(self.explode(raw.value)):
            index = f"{raw.index:07d}" if row is raw.value else f"{raw.index:07d}-{place + 1}"
            try:
                if isinstance(row, RowError):
                    raise row
                record = self.unpack(row, index, reading)
            except RecordError as fault:
                yield _bad(path, raw, fault)
            else:
                yield record

    def write(
        self, records: Iterable[Record], path: Path, audio_root: Path | None = None, *, lossless: bool = False
    ) -> Losses:
        """Write a file, whole or not at all; paths below `audio_root` (or the file's folder) become relative to it.

        Raises:
            RecordError: something would be lost and it must be `lossless`.
        """
        losses = Losses(self.name)
        self.save(path, self._packed(records, audio_root or path.parent, losses, lossless))
        return losses

    def losses(self, records: Iterable[Record], *, lossless: bool = False) -> Losses:
        """What `write` would lose; nothing is written."""
        losses = Losses(self.name)
        for _ in self._packed(records, Path(), losses, lossless):
            pass
        return losses

    def _packed(self, records: Iterable[Record], folder: Path, losses: Losses, lossless: bool) -> Iterator[Row]:
        below = os.path.join(folder.absolute(), "")  # noqa: PTH118 a Path drops the separator at the end
        for record in records:
            row = self.pack(record, below, losses)
            if lossless and losses:
                what = ", ".join([*losses.refused, *losses.fields])
                rule = f"{self.name} would lose {what}; allow losses, or convert to another format"
                raise RecordError(f"record '{shown(record.id)}': {rule}")
            if row is not None:
                losses.written += 1
                yield row


def _bad(path: Path, raw: Raw, fault: RecordError) -> BadRow:
    """A fault with its place."""
    field, value, rule, remedy = "row", "", str(fault), ""
    if isinstance(fault, RowError | FieldError):
        field, value, rule = shown(fault.name) or "''", shown(fault.value), fault.rule
        remedy = fault.remedy if isinstance(fault, RowError) else ""
    remedy = remedy or REMEDIES.get(field, "mend the row or leave it out")
    return BadRow(str(path), raw.index, raw.line, field, value, rule, remedy)


def _chat(name: str, title: str, pack: Pack, *, adds_marks: bool, **more: Any) -> Format:
    return Format(name, title, partial(chat.unpack, adds_marks=adds_marks), pack, **more)


_ALL = (
    Format("alm", "our own rows, JSON lines", own.unpack, own.pack, save=write_lines),
    Format(
        "openaqa",
        "OpenAQA, OpenASQA, CompA-R (LTU, LTU-AS, GAMA)",
        openaqa.unpack,
        openaqa.pack,
        explode=openaqa.explode,
    ),
    _chat("swift", "ms-swift", chat.pack_swift, adds_marks=True),
    _chat(
        "llamafactory",
        "LLaMA-Factory, ShareGPT",
        chat.pack_llamafactory,
        adds_marks=False,
        advice=chat.dataset_info,
    ),
    Format("af3", "Audio Flamingo 3", af3.unpack, af3.pack),
    Format("kimi", "Kimi-Audio, MOSS-Audio", kimi.unpack, kimi.pack),
    _chat("salmonn2", "SALMONN-2", chat.pack_salmonn2, adds_marks=False),
    Format("csv", "tables", chat.unpack_table, chat.pack_csv, open=read_csv, save=write_csv),
    Format("parquet", "Parquet tables", chat.unpack_table, chat.pack_parquet, open=read_parquet, save=write_parquet),
)
FORMATS: dict[str, Format] = {one.name: one for one in _ALL}
