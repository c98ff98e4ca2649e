"""Records out of shards for training: shuffled, split over nodes and workers, and resumed at the very next record.

The order of an epoch is a function of its seed and number alone. It is cut into windows, each of which takes the same
part of every kind of sample, so that rare kinds come all through the epoch; inside of a window the order is random.
Consumer `c` of `n` takes every n-th record from the c-th on. So nothing is kept in memory but one window's places, and
a position is enough to go on from: with the same consumers exactly where each stopped, with more or fewer of them
from the first record that the slowest had not reached.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alm.audio import Waveform, load_audio
from alm.errors import ConfigError, RecordError
from data_prep.errors import CorpusError
from data_prep.records import Record, from_row
from data_prep.shards.layout import Shard, read_index

WINDOW_RECORDS = 65_536
OPEN_FILES = 64


@dataclass(frozen=True)
class StreamItem:
    """A record with the bytes of its recordings; `record.audios` are the names of members of the tar."""

    record: Record
    audios: tuple[bytes, ...]
    paths: tuple[str, ...] = ()
    """Where the recordings came from, as the row had named them."""

    def waveform(self, place: int = 0) -> Waveform:
        """Recording `place`, decoded to mono at its own rate. Raises: AudioError."""
        return load_audio(self.audios[place], name=self.record.audios[place])


class ShardStream:
    """Iterates over the rest of an epoch; the next iteration is the next epoch.

    Args:
        folder: what `write_shards` wrote.
        split: whose records.
        seed: another seed, another order.
        rank, world: this node (or process of a distributed run), and how many there are.
        worker, workers: this loader worker of the node, and how many it has.
        even: leave out up to `world * workers - 1` records of each epoch, so that all consumers get as many.
        window_records: how many records are shuffled together; more is more random, and reads from more files at once.

    Raises:
        ConfigError: a number is out of range, or the folder has no such split.
        CorpusError: the folder has no index, or a shard is absent or of another size.
    """

    def __init__(
        self,
        folder: Path,
        split: str = "train",
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        worker: int = 0,
        workers: int = 1,
        even: bool = False,
        window_records: int = WINDOW_RECORDS,
    ) -> None:
        for name, value, most in (("rank", rank, world - 1), ("worker", worker, workers - 1)):
            if not 0 <= value <= most:
                raise ConfigError(f"{name} is {value}; it must be from 0 to {most}, the number of them less one")
        if window_records < 1:
            raise ConfigError(f"window_records is {window_records}; it must be at least 1")
        self.folder, self.split, self.seed, self.even = Path(folder), split, seed, even
        self.consumer, self.consumers = rank * workers + worker, world * workers
        self.window_records = window_records
        index = read_index(self.folder)
        self.shards = [shard for shard in index.of(split) if shard.records]
        if not self.shards:
            raise ConfigError(f"{self.folder}: has no split {split!r}; it has {', '.join(index.splits) or 'none'}")
        check_sizes(self.folder, self.shards)
        self.epoch = 0
        self._start = 0
        self._taken = 0

    def __len__(self) -> int:
        """Records of one epoch for this consumer."""
        return len(range(self.consumer, self._end, self.consumers))

    @cached_property
    def records(self) -> int:
        """Records of the split."""
        return sum(shard.records for shard in self.shards)

    @property
    def _end(self) -> int:
        return self.records - self.records % self.consumers if self.even else self.records

    @cached_property
    def fingerprint(self) -> str:
        """Of the shards: a state belongs to them."""
        facts = [[shard.name, shard.tar_sha256, shard.records] for shard in self.shards]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def _next(self) -> int:
        """Position in the epoch of the record that comes next."""
        return self._start + self.consumer + self._taken * self.consumers

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, JSON-able; as it was when the last record came out."""
        return {
            "shards": self.fingerprint,
            "seed": self.seed,
            "window_records": self.window_records,
            "epoch": self.epoch,
            "start": self._start,
            "taken": self._taken,
            "consumers": self.consumers,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a stream was. After a change of `world * workers`, give every consumer the state of the slowest.

        Raises:
            ConfigError: the state is of other shards or another order, or is none.
        """
        for name, mine in (("shards", self.fingerprint), ("seed", self.seed), ("window_records", self.window_records)):
            if state.get(name) != mine:
                raise ConfigError(f"the state of a stream has {name} {state.get(name)!r}, this one {mine!r}")
        numbers = {name: state.get(name) for name in ("epoch", "start", "taken", "consumers")}
        if any(type(value) is not int or value < 0 for value in numbers.values()):
            raise ConfigError(f"the state of a stream must have whole numbers, not {numbers}")
        self.epoch, self._start, self._taken = state["epoch"], state["start"], state["taken"]
        if state["consumers"] != self.consumers:
            self._start, self._taken = self._start + self._taken * state["consumers"], 0

    def __iter__(self) -> Iterator[StreamItem]:
        while self._next < self._end:
            first, orders = self._window(self._next)
            with _Files(self.folder, self.shards) as files:
                while self._next < min(first + len(orders), self._end):
                    shard, place = orders[self._next - first]
                    item = files.item(int(shard), int(place))
                    self._taken += 1
                    yield item
        self.epoch, self._start, self._taken = self.epoch + 1, 0, 0

    def _window(self, position: int) -> tuple[int, NDArray[np.int64]]:
        """Where the window begins that holds `position`, and its records as `[records, (shard, place in shard)]`."""
        count = -(-self.records // self.window_records)
        by_kind = self._orders()
        first = 0
        for number in range(count):
            cuts = [(len(o) * number // count, len(o) * (number + 1) // count) for o in by_kind]
            size = sum(high - low for low, high in cuts)
            if position < first + size:
                rows = np.concatenate([order[low:high] for order, (low, high) in zip(by_kind, cuts, strict=True)])
                return first, self._rng("window", number).permutation(rows)
            first += size
        raise AssertionError("the windows hold every record")

    def _orders(self) -> list[NDArray[np.int64]]:
        """For each kind of sample its records, shards in random order: `[records, (shard, place in shard)]`."""
        kinds: dict[str, list[int]] = defaultdict(list)
        for number, shard in enumerate(self.shards):
            kinds[shard.kind].append(number)
        orders = []
        for kind, numbers in sorted(kinds.items()):
            shuffled = [numbers[at] for at in self._rng(kind).permutation(len(numbers))]
            pieces = [_pieces(number, self.shards[number].records) for number in shuffled]
            orders.append(np.concatenate(pieces))
        return orders

    def _rng(self, *key: object) -> np.random.Generator:
        digest = hashlib.sha256(repr((self.seed, self.epoch, self.split, *key)).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _pieces(number: int, records: int) -> NDArray[np.int64]:
    return np.stack([np.full(records, number, np.int64), np.arange(records, dtype=np.int64)], axis=1)


def check_sizes(folder: Path, shards: Sequence[Shard]) -> None:
    """Raises `CorpusError` when a shard is absent or of another size than the index says."""
    for shard in shards:
        for ending, size in ((".tar", shard.tar_bytes), (".parquet", shard.parquet_bytes)):
            path = folder / f"{shard.name}{ending}"
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                has = "is absent" if found is None else f"has {found} bytes"
                raise CorpusError(f"{path}: {has}, the index says {size}; build again, or copy the folder again")


class _Files:
    """Open tars of a window, and where the records lie in them."""

    def __init__(self, folder: Path, shards: list[Shard]) -> None:
        self.folder, self.shards = folder, shards
        self.places: dict[int, NDArray[np.int64]] = {}
        self.open: dict[int, BinaryIO] = {}
        self.at_end = ExitStack()

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        self.at_end.close()

    def item(self, number: int, row: int) -> StreamItem:
        """Record `row` of a shard."""
        start, size, place = self._places(number)[row].tolist()
        data = os.pread(self._file(number).fileno(), size, start)
        return item_of(data, place, f"{self.folder / self.shards[number].name}.tar, byte {start}")

    def _places(self, number: int) -> NDArray[np.int64]:
        if number not in self.places:
            self.places[number] = _places(self.folder, self.shards[number])
        return self.places[number]

    def _file(self, number: int) -> BinaryIO:
        if number not in self.open:
            if len(self.open) >= OPEN_FILES:
                self.at_end.close()
                self.open.clear()
            self.open[number] = self.at_end.enter_context((self.folder / f"{self.shards[number].name}.tar").open("rb"))
        return self.open[number]


def _places(folder: Path, shard: Shard) -> NDArray[np.int64]:
    """`[records, (offset, bytes, place)]`; hashed first, so that damage does not become an offset."""
    path = folder / f"{shard.name}.parquet"
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != shard.parquet_sha256:
        raise CorpusError(f"{path}: has other bytes than the index says; build again, or copy the folder again")
    # Without threads: Arrow's pool and a loader's forked worker do not go together.
    table = pq.ParquetFile(io.BytesIO(data)).read(["tar_offset", "tar_bytes", "place"], use_threads=False)
    if table.num_rows != shard.records:
        raise CorpusError(f"{path}: has {table.num_rows} rows, the index says {shard.records}; build again")
    return np.stack([table[name].to_numpy().astype(np.int64) for name in ("tar_offset", "tar_bytes", "place")], 1)


def item_of(data: bytes, place: int, where: str) -> StreamItem:
    """A record of the sample that these bytes of a tar hold. Raises `CorpusError` naming `where`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            # Offsets are of regular members written by `packing`: nothing is extracted to disk.
            members = {info.name: data[info.offset_data : info.offset_data + info.size] for info in tar if info.isreg()}
        name = next(name for name in members if name.endswith(".json"))
        sample = json.loads(members[name])
        row = sample["records"][place]
        record = from_row(row | {"meta": json.loads(row["meta"])}, where)
        paths = tuple(str(one["path"]) for one in sample["audios"])
        return StreamItem(record, tuple(members[audio] for audio in record.audios), paths)
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError, StopIteration, RecordError) as fault:
        raise CorpusError(f"{where}: is no sample of a shard ({fault!r}); check it with --verify") from fault
