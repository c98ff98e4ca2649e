"""Reads CTranslate2's `model.bin`, a flat list of named arrays. Layout, little-endian:

u32 container version (6)
str name of the specification ("WhisperSpec")           str: u16 length with the final NUL, then the bytes
u32 revision of the specification
u32 number of arrays, then each:
    str name; u8 rank; u32 dimension x rank; u8 type (table below); u32 bytes; the values, C order
u32 number of aliases, then each: str alias; str name of the array it stands for
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.errors import WeightsError

_VERSION = 6
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Container:
    """A read container; the arrays are views of the mapped file."""

    specification: str
    revision: int
    arrays: dict[str, NDArray[Any]]
    aliases: dict[str, str]


class _Reader:
    """A position in the mapped bytes; every read is checked against the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
        self.offset = 0

    def take(self, count: int, what: str) -> NDArray[np.uint8]:
        if self.offset + count > self.data.size:
            raise WeightsError(
                f"{self.path} ends inside {what}: {count} bytes wanted at {self.offset}, file has {self.data.size}"
            )
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def number(self, code: str, what: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize(code), what).tobytes())[0])

    def text(self, what: str) -> str:
        raw = self.take(self.number("H", what), what).tobytes()
        if not raw.endswith(b"\0"):
            raise WeightsError(f"{self.path}: {what} at byte {self.offset} is not a terminated string")
        return raw[:-1].decode("utf-8", "replace")


def read(path: Path) -> Container:
    """Parse the whole container.

    Raises:
        WeightsError: another version, an unknown type, sizes that contradict, or bytes missing or left over.
    """
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty; it should be a CTranslate2 model")
    reader = _Reader(path)
    if (version := reader.number("I", "the version")) != _VERSION:
        raise WeightsError(f"{path}: container version {version}; this reader knows {_VERSION}")
    specification, revision = reader.text("the specification"), reader.number("I", "the revision")
    arrays = dict(_array(reader) for _ in range(reader.number("I", "the number of arrays")))
    count = reader.number("I", "the number of aliases")
    aliases = {reader.text("an alias"): reader.text("an alias") for _ in range(count)}
    if reader.offset != reader.data.size:
        raise WeightsError(f"{path}: {reader.data.size - reader.offset} bytes are left over after the aliases")
    return Container(specification, revision, arrays, aliases)


def _array(reader: _Reader) -> tuple[str, NDArray[Any]]:
    name = reader.text("an array's name")
    if (rank := reader.number("B", name)) > _MOST_DIMENSIONS:
        raise WeightsError(f"{reader.path}: {name} has {rank} dimensions; the limit is {_MOST_DIMENSIONS}")
    shape = tuple(reader.number("I", name) for _ in range(rank))
    if (kind := reader.number("B", name)) not in _TYPES:
        raise WeightsError(f"{reader.path}: {name} has unknown type {kind}; known are {sorted(_TYPES)}")
    dtype, count = np.dtype(_TYPES[kind]), reader.number("I", name)
    if count != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise WeightsError(f"{reader.path}: {name} has {count} bytes; shape {shape} of {dtype} needs another number")
    return name, np.frombuffer(reader.take(count, name), dtype.newbyteorder("<")).reshape(shape)
