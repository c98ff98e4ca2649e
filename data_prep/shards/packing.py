"""One shard: a tar and a Parquet file out of lines of the spool. Shards do not know of each other."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.atomic import write_text, writing
from data_prep.errors import CorpusError
from data_prep.places import Places
from data_prep.shards.layout import VERSION, Shard, ShardSettings, fields_of, shard_from_json
from data_prep.shards.recordings import Facts, ending_of, recording

ROWS_AT_ONCE = 4_096
MODE = 0o644
SHOWN_LOST = 200
"""Recordings left out that the index names, per shard; all are counted."""

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_FACTS = pa.struct([
    ("path", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64()), ("seconds", pa.float64()),
    ("rate", pa.int32()), ("channels", pa.int32()),
])  # fmt: skip
SCHEMA = pa.schema([
    ("id", pa.string()), ("task", pa.string()), ("split", pa.string()), ("source", pa.string()),
    ("licence", pa.string()), ("duration", pa.float64()), ("messages", pa.list_(_MESSAGE)), ("meta", pa.string()),
    ("audios", pa.list_(_FACTS)), ("key", pa.string()), ("place", pa.int32()), ("tar_offset", pa.int64()),
    ("tar_bytes", pa.int64()),
])  # fmt: skip
"""Columns of the Parquet files; `place` is the record's number in its sample, the last two where the sample lies."""


@dataclass(frozen=True)
class Job:
    """A shard to be made; picklable, so that any process can make it."""

    name: str
    spool: Path
    keys: list[int]
    places: list[int]
    folder: Path
    work: Path
    settings: ShardSettings
    recordings: Places

    @property
    def state(self) -> Path:
        """Where it is noted that the shard is done, and out of what."""
        return self.work / "shards" / f"{self.name}.json"

    @property
    def tar(self) -> Path:
        """The tar to write."""
        return self.folder / f"{self.name}.tar"

    @property
    def parquet(self) -> Path:
        """The Parquet file to write."""
        return self.folder / f"{self.name}.parquet"


@dataclass
class _Made:
    """What has gone into a shard so far."""

    samples: int = 0
    records: int = 0
    seconds: float = 0.0
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {"tasks": Counter(), "licences": Counter(), "sources": Counter()}
    )
    lost: dict[str, str] = field(default_factory=dict)
    lost_records: int = 0

    def count(self, row: dict[str, Any]) -> None:
        self.records += 1
        self.counts["tasks"][row["task"]] += 1
        self.counts["licences"].update(row["licence"].split(" AND "))
        self.counts["sources"].update(row["source"].split(" + "))


def pack(job: Job, code: str) -> Shard:
    """Make the shard, unless it is there and made of the same lines, recordings, settings and code.

    Raises:
        CorpusError: a recording is absent or unreadable, and the settings refuse that.
    """
    inputs = _inputs_of(job, code)
    done = _done_before(job, inputs)
    if done is not None:
        return done
    job.state.unlink(missing_ok=True)
    made = _Made()
    with ExitStack() as files:
        tar_file = files.enter_context(writing(job.tar))
        parquet_file = files.enter_context(writing(job.parquet))
        with (
            tarfile.open(fileobj=tar_file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
            pq.ParquetWriter(parquet_file, SCHEMA, compression="zstd") as rows,
        ):
            for batch in _batched(_samples(job, tar, made)):
                rows.write_table(pa.Table.from_pylist(batch, SCHEMA))
        tar_bytes, tar_sha = _digest(tar_file)
        parquet_bytes, parquet_sha = _digest(parquet_file)
    counts = {name: dict(sorted(found.items())) for name, found in made.counts.items()}
    lost = dict(sorted(made.lost.items())[:SHOWN_LOST])
    sizes = (tar_bytes, tar_sha, parquet_bytes, parquet_sha)
    seconds = round(made.seconds, 3)
    shard = Shard(job.name, made.records, made.samples, seconds, *sizes, counts, lost, made.lost_records)
    write_text(job.state, json.dumps({"inputs": inputs, "shard": dataclasses.asdict(shard)}))
    return shard


def _inputs_of(job: Job, code: str) -> str:
    """A digest of all that the shard is made of; of recordings size and times stand for what is in them."""
    digest = hashlib.sha256(json.dumps([VERSION, code, dataclasses.asdict(job.settings)], sort_keys=True).encode())
    with job.spool.open("rb") as stream:
        for place in job.places:
            stream.seek(place)
            line = stream.readline()
            digest.update(line)
            for name in json.loads(line)["audios"]:
                digest.update(_stamp(job.recordings.path(name)))
    return digest.hexdigest()


def _stamp(path: Path) -> bytes:
    try:
        found = os.stat(path)  # noqa: PTH116 -- twice as fast as Path.stat, and called once per record
    except OSError:
        return b"absent"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}".encode()


def _done_before(job: Job, inputs: str) -> Shard | None:
    """The shard of an earlier run, if it is of the same inputs and its files are there."""
    try:
        state = json.loads(job.state.read_text())
        shard = shard_from_json(state["shard"])
        whole = (job.tar.stat().st_size, job.parquet.stat().st_size) == (shard.tar_bytes, shard.parquet_bytes)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return shard if whole and state["inputs"] == inputs else None


def _batched(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _samples(job: Job, tar: tarfile.TarFile, made: _Made) -> Iterator[dict[str, Any]]:
    """Write sample after sample into the tar; gives the rows of the Parquet file."""
    for key, rows in _grouped(job):
        names = rows[0]["audios"]
        if any(row["audios"] != names for row in rows):
            raise CorpusError(f"{job.name}: two sets of recordings share the key {key:016x}; rename one of {names}")
        try:
            found = [recording(job.recordings.path(name), job.recordings.provenance(name), job.settings)
                     for name in names]  # fmt: skip
        except CorpusError as fault:
            if job.settings.missing == "refuse":
                raise CorpusError(f"record '{rows[0]['id']}': {fault}") from fault
            made.lost[job.recordings.provenance(" ".join(names))] = str(fault)
            made.lost_records += len(rows)
            continue
        made.samples += 1
        made.seconds += sum(facts.seconds for _, facts in found)
        yield from _sample(job, tar, made, f"{key:016x}", rows, found)


def _grouped(job: Job) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Rows about the same recordings, sample by sample."""
    with job.spool.open("rb") as stream:
        group: list[dict[str, Any]] = []
        for at, (key, place) in enumerate(zip(job.keys, job.places, strict=True)):
            stream.seek(place)
            group.append(json.loads(stream.readline()))
            if at + 1 == len(job.keys) or job.keys[at + 1] != key:
                yield key, group
                group = []


def _sample(
    job: Job,
    tar: tarfile.TarFile,
    made: _Made,
    key: str,
    rows: list[dict[str, Any]],
    found: list[tuple[bytes, Facts]],
) -> Iterator[dict[str, Any]]:
    start = tar.offset
    endings = [ending_of(name, job.settings) for name in rows[0]["audios"]]
    members = [f"{key}.{name}" for name in fields_of(endings)]
    for name, (data, _) in zip(members, found, strict=True):
        _add(tar, name, data)
    facts = [dataclasses.asdict(one) for _, one in found]
    for row in rows:
        row["audios"] = members
        made.count(row)
    _add(tar, f"{key}.json", json.dumps({"audios": facts, "records": rows}, ensure_ascii=False).encode())
    for place, row in enumerate(rows):
        yield row | {
            "audios": facts,
            "key": key,
            "place": place,
            "tar_offset": start,
            "tar_bytes": tar.offset - start,
        }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member whose header says nothing about when and by whom it was made."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), MODE
    tar.addfile(info, io.BytesIO(data))


def _digest(stream: io.BufferedRandom) -> tuple[int, str]:
    stream.flush()
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return stream.seek(0, os.SEEK_END), digest
