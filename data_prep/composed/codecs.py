"""What a lossy codec leaves of a recording, by libsndfile; the times of all sounds stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from data_prep.signal import Samples

BLOCK_FRAMES = 441_000


@dataclass(frozen=True)
class Codec:
    """A setting of libsndfile."""

    container: str
    subtype: str
    rate_hz: int | None
    """None: that of the recording. Of the rates of a codec only such are taken at which it adds no delay."""
    settings: tuple[tuple[str, Any], ...] = ()


CODECS = {
    "mp3": Codec("MP3", "MPEG_LAYER_III", 44_100, (("bitrate_mode", "CONSTANT"), ("compression_level", 0.9))),
    "vorbis": Codec("OGG", "VORBIS", None, (("compression_level", 1.0),)),
    "opus": Codec("OGG", "OPUS", 48_000, (("compression_level", 0.95),)),
    "opus-speech": Codec("OGG", "OPUS", 16_000, (("compression_level", 0.97),)),
    "telephone": Codec("WAV", "ULAW", 8_000),
    "gsm": Codec("WAV", "GSM610", 8_000),
}


def coded(
    blocks: Iterator[Samples], name: str, rate: int, channels: int, count: int, scratch: Path
) -> Iterator[Samples]:
    """The recording, `count` samples in blocks `[samples, channels]`, after it went through the file `scratch`."""
    codec = CODECS[name]
    inner = codec.rate_hz or rate
    try:
        with soundfile.SoundFile(
            scratch, "w", inner, channels, subtype=codec.subtype, format=codec.container, **dict(codec.settings)
        ) as file:
            for block in _resampled(blocks, rate, inner, channels):
                file.write(block)
        with soundfile.SoundFile(scratch) as file:
            yield from _exactly(_resampled(_read(file), inner, rate, channels), count, channels)
    finally:
        scratch.unlink(missing_ok=True)


def _read(file: soundfile.SoundFile) -> Iterator[Samples]:
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def _resampled(blocks: Iterator[Samples], old: int, new: int, channels: int) -> Iterator[Samples]:
    if old == new:
        yield from blocks
        return
    stream = soxr.ResampleStream(old, new, channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True)


def _exactly(blocks: Iterator[Samples], count: int, channels: int) -> Iterator[Samples]:
    """The first `count` samples, silence after the end."""
    left = count
    for block in blocks:
        yield block[:left]
        left -= min(left, len(block))
    yield np.zeros((left, channels), dtype=np.float32)
