"""CSV and Parquet as streams of rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from alm.errors import RecordError
from data_prep.formats.base import BadRow, Raw, ReadRows, Row, RowError, shown
from data_prep.formats.json_rows import CHUNK_BYTES, check_text
from data_prep.formats.writing import delimiter

MAX_LINE_LETTERS = 1 << 24
MAX_COLUMNS = 1000
MAX_GROUP_BYTES = 1 << 31
BATCH_ROWS = 1024


def read_csv(path: Path, options: ReadRows) -> Iterator[Raw | BadRow]:
    """Rows of a table whose first line names the columns.

    Raises:
        RecordError: there is no such file, or its first line does not name columns.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such table")
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        cells = csv.reader(_lines(stream, options), strict=True, delimiter=delimiter(path))
        names = _names(path, cells)
        index = 0
        while True:
            line = cells.line_num + 1
            try:
                row = next(cells, None)
                if row is None:
                    return
                index += 1
                if row:
                    yield Raw(index, line, _row(names, row))
                else:
                    index -= 1
            except RowError as fault:
                yield BadRow(str(path), index, line, fault.name, shown(fault.value), fault.rule, fault.remedy)
            except csv.Error as fault:
                index += 1
                rule = f"must be a row of a CSV table ({fault})"
                yield BadRow(str(path), index, line, "row", "", rule, "quote cells that hold commas, quotes or lines")


def _lines(stream: TextIO, options: ReadRows) -> Iterator[str]:
    told = 0
    while line := stream.readline(MAX_LINE_LETTERS):
        told += len(line)
        if told >= CHUNK_BYTES:
            options.advance(told)
            told = 0
        if len(line) == MAX_LINE_LETTERS:
            raise csv.Error(f"line of more than {MAX_LINE_LETTERS} letters")
        yield line
    options.advance(told)


def _names(path: Path, cells: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip() for name in next(cells, [])]
        check_text(names)
    except (csv.Error, ValueError) as fault:
        raise RecordError(f"{path}:1: must name the columns ({fault}); write it as UTF-8 CSV") from None
    if not names or len(names) > MAX_COLUMNS or "" in names or len(set(names)) < len(names):
        rule = f"must name 1 to {MAX_COLUMNS} columns, each once"
        raise RecordError(f"{path}:1: is {shown(names)!r}; it {rule}")
    return names


def _row(names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        rule = f"must have {len(names)} cells, as the first line"
        raise RowError("row", f"{len(cells)} cells", rule, "quote cells that hold commas, quotes or lines")
    for name, cell in zip(names, cells, strict=True):
        if not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell):
            raise RowError(name, ascii(cell), "must be UTF-8", "write the table anew as UTF-8")
    return dict(zip(names, cells, strict=True))


def read_parquet(path: Path, options: ReadRows) -> Iterator[Raw | BadRow]:
    """Rows of a Parquet file, a batch at a time.

    Raises:
        RecordError: there is no such file, it is damaged, or it is written in parts too large to read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise RecordError(f"{path}: no such table")
    size = path.stat().st_size
    try:
        with pq.ParquetFile(path, memory_map=False) as table:
            _check_size(path, table.metadata)
            index, total = 0, max(1, table.metadata.num_rows)
            for batch in table.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                for row in _rows(batch):
                    index += 1
                    yield _checked(path, index, row)
                options.advance(size * batch.num_rows // total)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as fault:
        raise RecordError(f"{path}: is not a Parquet file that can be read ({str(fault)[:200]})") from fault


def _rows(batch: Any) -> Iterator[Row | None]:
    """Rows of a batch; None for one whose bytes are not UTF-8, which Arrow does not look at."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for place in range(batch.num_rows):
            try:
                yield batch.slice(place, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None


def _check_size(path: Path, metadata: Any) -> None:
    largest = max((metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups)), default=0)
    if largest > MAX_GROUP_BYTES:
        limit = f"may have {MAX_GROUP_BYTES} bytes; write it in smaller row groups"
        raise RecordError(f"{path}: has a row group of {largest} bytes; it {limit}")


def _checked(path: Path, index: int, row: Row | None) -> Raw | BadRow:
    """A row whose values JSON has, too."""
    if row is None:
        return BadRow(str(path), index, None, "row", "", "must be UTF-8", "write the table anew as UTF-8")
    for name, value in row.items():
        if value is None or isinstance(value, str | bool | int):
            continue
        try:
            check_text(value)
        except (TypeError, ValueError, RecursionError):
            rule, remedy = "must be text, a number, or lists and objects of them", "leave the column out or write text"
            return BadRow(str(path), index, None, name, shown(value), rule, remedy)
    return Raw(index, None, row)
