"""TensorFlow's checkpoints (`NAME.index` with `NAME.data-*` beside it), read without TensorFlow.

The index is a sorted table of LevelDB's kind, from names to small protocol buffers that say where in the data a tensor
lies. Numbers are taken; whatever is a string or an object graph is passed over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alm.errors import WeightsError

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_MOST_INDEX_BYTES = 64 * 2**20
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 19: np.float16}
"""Numbers of TensorFlow's types that a weight may have."""


def read_bundle(index: Path) -> dict[str, Tensor]:
    """Every tensor of numbers by its name.

    Raises:
        WeightsError: no such table, damaged, or data that lie outside their file.
    """
    try:
        table = _bounded(index)
        entries = [(key, _fields(value)) for key, value in _table(table)]
        return _tensors(index, entries)
    except (OSError, IndexError, KeyError, ValueError, struct.error, UnicodeDecodeError) as error:
        raise WeightsError(f"{index}: no readable TensorFlow checkpoint ({error}); fetch it again") from error


def _bounded(index: Path) -> bytes:
    if (size := index.stat().st_size) > _MOST_INDEX_BYTES:
        raise ValueError(f"its index has {size} bytes, the limit is {_MOST_INDEX_BYTES}")
    return index.read_bytes()


def _tensors(index: Path, entries: list[tuple[bytes, dict[int, list[int | bytes]]]]) -> dict[str, Tensor]:
    shards = _number(dict(entries)[b""], 1)
    data = {
        shard: np.memmap(index.with_suffix(f".data-{shard:05d}-of-{shards:05d}"), np.uint8, "r")
        for shard in {_number(fields, 3) for key, fields in entries if key}
    }
    if sum(_number(fields, 5) for key, fields in entries if key) > sum(len(content) for content in data.values()):
        raise ValueError("its tensors overlap, which TensorFlow never writes")
    found: dict[str, Tensor] = {}
    for key, fields in entries:
        kind = _TYPES.get(_number(fields, 1))
        if not key or kind is None:
            continue
        shape = [_number(_fields(dim), 1) for dim in _fields(_bytes(fields, 2)).get(2, []) if isinstance(dim, bytes)]
        first, size = _number(fields, 4), _number(fields, 5)
        stored = data[_number(fields, 3)][first : first + size]
        if stored.size != size or size != math.prod(shape) * np.dtype(kind).itemsize:
            raise ValueError(f"{key.decode()} does not lie whole in its file")
        found[key.decode()] = torch.from_numpy(np.frombuffer(stored.tobytes(), kind).reshape(shape).copy())
    return found


# --- LevelDB's table ---


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values in their order."""
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("its end is not that of an index")
    _, place = _handle(footer, 0)
    (first, size), _ = _handle(footer, place)
    for _, value in _block(content, first, size):
        (start, length), _ = _handle(value, 0)
        yield from _block(content, start, length)


def _handle(content: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Where a block starts and how long it is, and where the next thing starts."""
    first, place = _varint(content, place)
    size, place = _varint(content, place)
    return (first, size), place


def _block(content: bytes, first: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block; each name repeats the start of the one before it."""
    if content[first + size]:
        raise ValueError("its index is compressed, which TensorFlow never does")
    block = content[first : first + size]
    end, place, key = len(block) - 4 * (1 + struct.unpack("<I", block[-4:])[0]), 0, b""
    while place < end:
        shared, place = _varint(block, place)
        unshared, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + unshared]
        place += unshared
        yield key, block[place : place + length]
        place += length


# --- protocol buffers ---


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        byte = content[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("a number in it has no end")


def _fields(content: bytes) -> dict[int, list[int | bytes]]:
    """Values by field number."""
    found: dict[int, list[int | bytes]] = {}
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        value: int | bytes
        if tag & 7 == 0:
            value, place = _varint(content, place)
        else:
            length = {1: 8, 5: 4}.get(tag & 7, -1)
            if tag & 7 == 2:
                length, place = _varint(content, place)
            if length < 0:
                raise ValueError("an entry of it is of no known form")
            value, place = content[place : place + length], place + length
        found.setdefault(tag >> 3, []).append(value)
    return found


def _number(fields: dict[int, list[int | bytes]], field: int) -> int:
    """A whole number; 0 where it is left out."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise ValueError("a number was expected in it")
    return value


def _bytes(fields: dict[int, list[int | bytes]], field: int) -> bytes:
    value = fields.get(field, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError("a part was expected in it")
    return value
