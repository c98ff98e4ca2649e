"""Bounds-checked reading of little binary structures out of bytes that nobody vouches for."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from data_prep.errors import ArchiveError


@dataclass(frozen=True)
class ArchiveLimits:
    """What a container may contain before it is refused."""

    max_members: int = 200_000
    max_member_bytes: int = 512 * 2**20
    max_total_bytes: int = 4 * 2**30
    max_depth: int = 16


@dataclass(frozen=True)
class ByteView:
    """Bytes with a name; every read outside of them is an `ArchiveError` that says where."""

    data: bytes
    name: str

    def __len__(self) -> int:
        return len(self.data)

    def cut(self, start: int, length: int, what: str) -> bytes:
        """`length` bytes from `start`; raises `ArchiveError` when they are not all there."""
        if start < 0 or length < 0 or start + length > len(self.data):
            raise ArchiveError(
                f"{self.name}: {what} at byte {start} with {length} bytes lies outside the "
                f"{len(self.data)} bytes of the container; fetch the package again"
            )
        return self.data[start : start + length]

    def numbers(self, layout: str, start: int, what: str) -> tuple[int, ...]:
        """Integers laid out as in `struct`, from `start`."""
        return struct.unpack(layout, self.cut(start, struct.calcsize(layout), what))
