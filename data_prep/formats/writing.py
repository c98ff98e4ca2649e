"""Files of rows, written as a stream; each is whole or absent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import orjson

from data_prep.atomic import writing
from data_prep.formats.base import Row
from data_prep.formats.chat import json_text

BATCH_ROWS = 4096
COLUMNS = ("id", "messages", "audios", "source", "task", "split", "licence", "duration", "meta")


def _json(row: Row) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # whole numbers of more than 64 bits
        return json_text(row).encode()


def write_lines(path: Path, rows: Iterable[Row]) -> None:
    """A JSON object a line."""
    with writing(path) as stream:
        for row in rows:
            stream.write(_json(row) + b"\n")


def write_list(path: Path, rows: Iterable[Row]) -> None:
    """One JSON list, a row a line."""
    with writing(path) as stream:
        before = b"[\n"
        for row in rows:
            stream.write(before + _json(row))
            before = b",\n"
        stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """A list where the name ends in `.json`, else lines."""
    (write_list if path.suffix.lower() == ".json" else write_lines)(path, rows)


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """One line of names, then the rows; tabs instead of commas where the name ends in `.tsv`."""
    with writing(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
        writer = csv.DictWriter(text, COLUMNS, delimiter=delimiter(path), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text.flush()
        text.detach()


def delimiter(path: Path) -> str:
    """Between the cells of a table."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Columns as in our row, `meta` as JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    kinds = {"messages": pa.list_(message), "audios": pa.list_(pa.string()), "duration": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    with writing(path) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for some in _batches(rows):
            writer.write_table(pa.Table.from_pylist(some, schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    stream = iter(rows)
    while some := list(islice(stream, BATCH_ROWS)):
        yield some
