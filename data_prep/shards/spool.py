"""Records on their way into shards: lines in a file, and in memory only where each begins and what it is about."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.errors import RecordError
from data_prep.atomic import writing
from data_prep.errors import CorpusError
from data_prep.places import Places
from data_prep.records import Record
from data_prep.shards.layout import ShardSettings, kind_of
from data_prep.shards.recordings import ending_of

KEY_BYTES = 8
MAX_SECTIONS = 2_000


@dataclass(frozen=True)
class Section:
    """Records of one split with one kind of recordings: what lies in one folder of shards."""

    split: str
    kind: str
    keys: NDArray[np.uint64]
    """[records] of their recordings, ascending"""
    places: NDArray[np.uint64]
    """[records] where their lines begin in the spool"""


def line_of(record: Record, audios: Sequence[str]) -> bytes:
    """A record as samples hold it: every row has the same fields of the same types, so `meta` is JSON in a text.

    `audios` is how its recordings are named here.
    """
    row = {
        "id": record.id,
        "messages": [{"content": message.content, "role": message.role} for message in record.messages],
        "source": record.source,
        "task": record.task,
        "split": record.split,
        "licence": record.licence,
        "duration": float(record.duration),
        "meta": json.dumps(record.meta, ensure_ascii=False, sort_keys=True),
        "audios": list(audios),
    }
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as fault:
        raise RecordError(f"record '{record.id!a}': holds half of a surrogate pair ({fault}); mend its text") from None


def key_of(*texts: str) -> int:
    """A number from 0 to 2**64 - 1 that stands for these texts; the order of shards is that of these numbers."""
    return int.from_bytes(hashlib.blake2b("\0".join(texts).encode(), digest_size=KEY_BYTES).digest(), "little")


@dataclass
class Spool:
    """Lines in `path`; 26 bytes of memory for each."""

    path: Path
    sections: list[Section]
    records: int

    def lines(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The rows that begin at these places."""
        with self.path.open("rb") as stream:
            for place in places:
                stream.seek(int(place))
                yield json.loads(stream.readline())


def spooled(records: Iterable[Record], path: Path, settings: ShardSettings, names: Places) -> Spool:
    """Write the records to `path` and sort them by what they are about; their own order does not matter.

    Raises:
        RecordError: two records have one id.
    """
    keys, ids, places, owners = array("Q"), array("Q"), array("Q"), array("H")
    numbers: dict[tuple[str, str], int] = {}
    place = 0
    with writing(path) as stream:
        for record in records:
            audios = [names.name(path) for path in record.audios]
            line = line_of(record, audios)
            kind = kind_of([ending_of(name, settings) for name in audios])
            owners.append(_number(numbers, (record.split, kind)))
            keys.append(key_of(*audios) if audios else key_of(record.id))
            ids.append(key_of(record.split, record.id))
            places.append(place)
            stream.write(line)
            place += len(line)
    spool = Spool(path, [], len(keys))
    _check_ids(spool, _numbers(ids), _numbers(places))
    order = np.lexsort((_numbers(ids), _numbers(keys)))
    owner = np.frombuffer(owners, np.uint16) if owners else np.zeros(0, np.uint16)
    for (split, kind), number in sorted(numbers.items()):
        mine = order[owner[order] == number]
        spool.sections.append(Section(split, kind, _numbers(keys)[mine], _numbers(places)[mine]))
    return spool


def _number(numbers: dict[tuple[str, str], int], section: tuple[str, str]) -> int:
    if len(numbers) >= MAX_SECTIONS:
        raise CorpusError(f"records have over {MAX_SECTIONS} kinds of recordings together; use audio flac or opus")
    return numbers.setdefault(section, len(numbers))


def _numbers(values: array[int]) -> NDArray[np.uint64]:
    return np.frombuffer(values, np.uint64) if values else np.zeros(0, np.uint64)


def _check_ids(spool: Spool, ids: NDArray[np.uint64], places: NDArray[np.uint64]) -> None:
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    for at in twice[:100]:
        first, second = spool.lines((places[order[at]], places[order[at + 1]]))
        if first["id"] == second["id"]:
            raise RecordError(f"the id '{first['id']}' occurs twice in {first['split']}; ids must be unique in a split")
