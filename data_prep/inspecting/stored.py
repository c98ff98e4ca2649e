"""Records of a folder of shards as a table: their rows from Parquet, each record and its recordings from the tar."""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alm.errors import RecordError
from data_prep.copies.recordings import record_files
from data_prep.errors import CorpusError
from data_prep.inspecting.table import Table
from data_prep.records import FIELDS, Record, from_row, to_row
from data_prep.shards.layout import INDEX, Shard, read_index
from data_prep.shards.stream import StreamItem, check_sizes, item_of

ROWS_AT_ONCE = 1_024
_COLUMNS = [*FIELDS, "place", "tar_offset", "tar_bytes"]


def is_shards(place: Path) -> bool:
    """Whether it is a folder of shards, and none of files of records."""
    return (place / INDEX).is_file() and not record_files(place)


@dataclass
class ShardTable(Table):
    """Table of shards; `files` are the tars, and recordings go by the names that they had before."""

    shards: tuple[Shard, ...] = ()
    places: array[int] = field(default_factory=lambda: array("q"))
    """Of each row the bytes of its sample, and its number in the sample."""

    @property
    def contents(self) -> str:
        """How many shards there are."""
        return f"{len(self.shards):,} shards"

    def file_name(self, row: int) -> str:
        """Tar of a row, below the folder."""
        return f"{self.shards[self.file[row]].name}.tar"

    def record(self, row: int) -> Record:
        """The record of a row, read from its sample. Raises: CorpusError."""
        item = self._item(row)
        return dataclasses.replace(item.record, audios=item.paths)

    def sounds(self, row: int, record: Record) -> list[Path | bytes]:
        """The bytes of its recordings. Raises: CorpusError."""
        return list(self._item(row).audios)

    def _item(self, row: int) -> StreamItem:
        path, start = self.files[self.file[row]], self.offsets[row]
        size, place = self.places[2 * row : 2 * row + 2]
        try:
            with path.open("rb") as stream:
                stream.seek(start)
                data = stream.read(size)
        except OSError as fault:
            raise CorpusError(f"{path}: cannot be read ({fault.strerror}); copy the folder again") from fault
        return item_of(data, place, f"{path}, byte {start}")

    def _with(self, text: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        wanted, found, at = set(rows.tolist()), [], 0
        for number, shard in enumerate(self.shards):
            for row in _rows(self.files[number], shard):
                try:
                    record = _record(row, "")
                except RecordError:
                    continue
                if at in wanted and text.lower() in json.dumps(to_row(record), ensure_ascii=False).lower():
                    found.append(at)
                at += 1
        return np.array(found, dtype=np.int64)


def read_shard_table(
    folder: Path, take: Callable[[Record, Path, str], None], advance: Callable[[int], None] = lambda count: None
) -> ShardTable:
    """Read all rows of all shards once; the arguments are those of `read_table`.

    Raises:
        CorpusError: the index is damaged, or a shard is absent or damaged.
    """
    shards = tuple(shard for shard in read_index(folder).shards if shard.records)
    check_sizes(folder, shards)
    table = ShardTable(folder, [folder / f"{shard.name}.tar" for shard in shards], shards=shards)
    for number, shard in enumerate(shards):
        for at, row in enumerate(_rows(table.files[number], shard)):
            try:
                record = _record(row, f"{shard.name}.parquet, row {at}")
            except RecordError as fault:
                table.note_wrong(f"{shard.name}.parquet", fault)
                continue
            take(record, folder, table.add(number, row["tar_offset"], record, {}))
            table.places.extend((row["tar_bytes"], row["place"]))
        advance(shard.parquet_bytes)
    return table


def _rows(tar: Path, shard: Shard) -> Iterator[dict[str, Any]]:
    path = tar.with_suffix(".parquet")
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=_COLUMNS, use_threads=False):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as fault:
        raise CorpusError(f"{path}: is damaged ({fault}); build again, or copy the folder again") from fault


def _record(row: dict[str, Any], where: str) -> Record:
    """The record of a row, its recordings by the names that they had before."""
    try:
        told = {**{name: row[name] for name in FIELDS}, "meta": json.loads(row["meta"])}
        return from_row({**told, "audios": [one["path"] for one in row["audios"]]}, where)
    except (ValueError, TypeError, RecursionError) as fault:
        raise RecordError(f"{where}: is no record ({fault})") from fault
