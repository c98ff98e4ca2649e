"""What a folder of shards holds: settings, names of files, and the index of them.

    index.json                    every shard with its size, hashes and counts
    README.md                     the data card; `datasets.load_dataset(FOLDER, CONFIG)` reads its head
    SPLIT/KIND/00000.tar          WebDataset: recordings (`KEY.flac`, or `KEY.0.flac`, `KEY.1.flac`) and `KEY.json`
    SPLIT/KIND/00000.parquet      one row per record: all its fields, and where its sample lies in the tar

A sample is a recording (or several that are asked about together) with all records on it, so that no recording is
stored once per question. KIND tells the recordings of a sample (`flac`, `flacx2`, `wav`, `text`): all samples of one
tar have the same members, which `datasets` asks for.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from data_prep.atomic import write_text
from data_prep.errors import CorpusError

FORMAT = "alm-shards"
VERSION = 1
INDEX = "index.json"
CARD = "README.md"
WORK = ".work"
AUDIO = ("stored", "flac", "opus")
MISSING = ("refuse", "leave_out")
TEXT = "text"
SHARD_NAME = re.compile(r"[a-z]+/[a-z0-9+]+/\d{5}")


@dataclass(frozen=True)
class ShardSettings:
    """How records become shards.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    audio: str = "stored"
    """`stored`: the bytes of the file as they are; `flac`: lossless up to 24 bit; `opus`: lossy, small."""
    megabytes: float = 256.0
    """About how large a shard gets."""
    records: int = 50_000
    """About how many records a shard gets at most."""
    opus_kbps: int = 64
    """Per channel."""
    missing: str = "refuse"
    """What to do about a recording that is absent or unreadable: `refuse` the build, or `leave_out` its records."""

    def __post_init__(self) -> None:
        for name, allowed in (("audio", AUDIO), ("missing", MISSING)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"shards: {name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        for name, low, high in (("megabytes", 0.001, 65_536), ("records", 1, 10_000_000), ("opus_kbps", 6, 256)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigError(f"shards: {name} is {value!r}; it must be a number from {low} to {high}")


@dataclass(frozen=True)
class Shard:
    """One tar with its Parquet file."""

    name: str
    """`SPLIT/KIND/NUMBER`, without the ending."""
    records: int
    samples: int
    seconds: float
    """Of all recordings in it."""
    tar_bytes: int
    tar_sha256: str
    parquet_bytes: int
    parquet_sha256: str
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Records by task, licence and source."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """Recordings that were left out, and why."""
    lost_records: int = 0

    @property
    def split(self) -> str:
        """The side of the split."""
        return self.name.split("/")[0]

    @property
    def kind(self) -> str:
        """The recordings of its samples, such as `flac` or `flacx2`."""
        return self.name.split("/")[1]


@dataclass(frozen=True)
class Index:
    """What `index.json` says."""

    settings: ShardSettings
    shards: tuple[Shard, ...]

    def of(self, split: str) -> tuple[Shard, ...]:
        """The shards of one split."""
        return tuple(shard for shard in self.shards if shard.split == split)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that have any shard."""
        return tuple(dict.fromkeys(shard.split for shard in self.shards))

    def total(self, name: str, split: str = "") -> int:
        """Sum of a number over the shards, of one split or all."""
        return sum(int(getattr(shard, name)) for shard in self.shards if split in ("", shard.split))

    def counted(self, what: str, split: str = "") -> dict[str, int]:
        """`tasks`, `licences` or `sources` with their records, most first."""
        found: Counter[str] = Counter()
        for shard in self.shards if not split else self.of(split):
            found.update(shard.counts.get(what, {}))
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def kind_of(endings: Sequence[str]) -> str:
    """The name of samples with such recordings."""
    if not endings:
        return TEXT
    if len(endings) > 1 and len(set(endings)) == 1:
        return f"{endings[0]}x{len(endings)}"
    return "+".join(endings)


def endings_of(kind: str) -> list[str]:
    """The inverse of `kind_of`."""
    if kind == TEXT:
        return []
    ending, _, count = kind.rpartition("x")
    return [ending] * int(count) if ending and count.isdecimal() else kind.split("+")


def fields_of(endings: Sequence[str]) -> list[str]:
    """Endings of the members of a sample, as WebDataset names its fields."""
    return list(endings) if len(endings) < 2 else [f"{place}.{ending}" for place, ending in enumerate(endings)]


def write_index(index: Index, folder: Path) -> None:
    """Write `index.json` atomically; last of all, so that it names only what is there."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "settings": dataclasses.asdict(index.settings),
        "shards": [dataclasses.asdict(shard) for shard in index.shards],
    }
    write_text(folder / INDEX, json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_index(folder: Path) -> Index:
    """The index of a folder of shards.

    Raises:
        CorpusError: there is none, it is damaged, or of another version.
    """
    path = folder / INDEX
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; `alm data shard` and `alm data build` write shards with their index")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT or document["version"] != VERSION:
            found = f"{document['format']} version {document['version']}"
            raise CorpusError(f"{path}: is {found}; this program reads {FORMAT} version {VERSION}; build again")
        shards = tuple(shard_from_json(row) for row in document["shards"])
        return Index(ShardSettings(**document["settings"]), shards)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise CorpusError(f"{path}: is damaged ({fault!r}); build again") from fault


def shard_from_json(row: Mapping[str, Any]) -> Shard:
    """The shard that `dataclasses.asdict` wrote; raises ValueError, TypeError or KeyError when it is none."""
    shard = Shard(**row)
    if not SHARD_NAME.fullmatch(shard.name):
        raise ValueError(f"{shard.name!r} is no name of a shard")
    for name in ("records", "samples", "tar_bytes", "parquet_bytes"):
        if type(getattr(shard, name)) is not int or getattr(shard, name) < 0:
            raise ValueError(f"{name} of {shard.name} is {getattr(shard, name)!r}")
    return shard
