"""Raw samples from a pipe, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from alm.audio_containers import container_of
from alm.audio_opening import refuse

ENCODINGS: dict[str, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}
"""Names as ffmpeg has them (`-f s16le`, `-f f32le`): 16-bit whole numbers, and floats of full scale 1."""
BLOCK_SECONDS = 0.25


def raw_blocks(stream: BinaryIO, rate: int, encoding: str, name: str) -> Iterator[NDArray[np.float32]]:
    """Mono samples `[samples]` of little-endian raw audio, a quarter of a second at a time, to the stream's end.

    Args:
        rate: samples per second.
        encoding: a key of `ENCODINGS`.
        name: the stream's, for errors.

    Raises:
        AudioError: the stream is a file of a known format, which has its own rate and encoding.
    """
    kind = ENCODINGS[encoding]
    size = max(1, round(rate * BLOCK_SECONDS)) * kind.itemsize
    first = True
    while data := stream.read(size):
        if first and (known := container_of(data)):
            refuse(name, f"is a {known} file, not raw samples", "Use `alm ask -`, or decode it with ffmpeg -f s16le")
        first = False
        samples = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind).astype(np.float32)
        if len(samples):
            yield samples / 32_768.0 if encoding == "s16" else samples
