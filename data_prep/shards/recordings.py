"""A recording as a shard holds it: the file's own bytes, FLAC, or Opus. The same file always gives the same bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from alm.audio import load_audio
from alm.errors import AudioError
from data_prep.errors import CorpusError
from data_prep.shards.layout import ShardSettings

BLOCK_FRAMES = 2**18
OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_CHANNELS = 2
DEEP = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""Sample formats that 16 bit would cut short."""


@dataclass(frozen=True)
class Facts:
    """What the Parquet file and the sample's JSON tell about a recording."""

    path: str
    """Where it came from, relative to the folder of downloads."""
    sha256: str
    """Of the bytes in the shard."""
    bytes: int
    seconds: float
    rate: int
    channels: int


def ending_of(name: str, settings: ShardSettings) -> str:
    """Ending of the member that holds the recording called `name`."""
    if settings.audio != "stored":
        return settings.audio
    ending = Path(name).suffix[1:].lower()
    return ending if ending.isascii() and ending.isalnum() and 0 < len(ending) <= 5 else "audio"


def recording(path: Path, shown: str, settings: ShardSettings) -> tuple[bytes, Facts]:
    """Bytes for the shard, and facts about them; `shown` is how rows name the file.

    Raises:
        CorpusError: the file is absent, is no recording, or has more channels than Opus takes.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise CorpusError(f"recording {shown}: cannot be read ({fault.strerror}); fetch it, or leave it out") from None
    seconds, rate, channels, kind = _header(data, shown)
    wanted = {"stored": kind, "flac": "FLAC", "opus": "OPUS"}[settings.audio]
    if kind != wanted:
        data = _flac(data, shown) if settings.audio == "flac" else _opus(data, shown, settings.opus_kbps)
        seconds, rate, channels, _ = _header(data, shown)
    digest = hashlib.sha256(data).hexdigest()
    return data, Facts(shown, digest, len(data), round(seconds, 4), rate, channels)


def _header(data: bytes, shown: str) -> tuple[float, int, int, str]:
    """Seconds, rate, channels, and `FLAC`, `OPUS` or another format."""
    try:
        info = soundfile.info(io.BytesIO(data))
    except soundfile.LibsndfileError:
        found = _decoded(data, shown)
        return found.seconds, found.rate, 1, "other"
    if not info.frames:
        raise CorpusError(f"recording {shown}: is empty; leave it out")
    return info.frames / info.samplerate, info.samplerate, info.channels, _kind(info)


def _kind(info: Any) -> str:
    return "OPUS" if info.subtype == "OPUS" else str(info.format)


def _decoded(data: bytes, shown: str) -> Any:
    """What libsndfile does not read (m4a, webm, ...), decoded and mixed to mono."""
    try:
        return load_audio(data, name=shown)
    except AudioError as fault:
        raise CorpusError(f"{fault}; mend the file, or leave it out") from fault


def _blocks(data: bytes, shown: str, dtype: str) -> tuple[int, int, Iterator[NDArray[Any]]]:
    """Rate, channels, and blocks `[frames, channels]`."""
    try:
        stream = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError:
        found = _decoded(data, shown)
        samples = found.samples[:, None]
        whole = samples if dtype == "float32" else np.clip(np.round(samples * 32767), -32768, 32767).astype(dtype)
        return found.rate, 1, iter([whole])
    return stream.samplerate, stream.channels, stream.blocks(BLOCK_FRAMES, dtype=dtype, always_2d=True)


def _flac(data: bytes, shown: str) -> bytes:
    """16 bit, or 24 where the file has more; lossless but for floating point, which is rounded to 24 bit."""
    try:
        deep = soundfile.info(io.BytesIO(data)).subtype in DEEP
    except soundfile.LibsndfileError:
        deep = False
    out = io.BytesIO()
    rate, channels, blocks = _blocks(data, shown, "int32" if deep else "int16")
    try:
        subtype = "PCM_24" if deep else "PCM_16"
        with soundfile.SoundFile(out, "w", rate, channels, subtype=subtype, format="FLAC") as target:
            for block in blocks:
                target.write(block)
    except soundfile.LibsndfileError as fault:
        raise CorpusError(f"recording {shown}: cannot become FLAC ({fault}); leave it out") from fault
    return out.getvalue()


def _opus(data: bytes, shown: str, kbps: int) -> bytes:
    """Ogg Opus with a fixed serial number, so that two runs give the same bytes (libsndfile draws one)."""
    import av

    rate, channels, blocks = _blocks(data, shown, "float32")
    if channels > OPUS_CHANNELS:
        raise CorpusError(f"recording {shown}: has {channels} channels, Opus takes {OPUS_CHANNELS}; use flac or stored")
    out = io.BytesIO()
    layout = "mono" if channels == 1 else "stereo"
    to_rate = next((known for known in OPUS_RATES_HZ if known >= rate), OPUS_RATES_HZ[-1])
    with av.open(out, "w", format="ogg", options={"fflags": "+bitexact"}) as target:
        stream = target.add_stream("libopus", rate=to_rate, layout=layout)
        stream.bit_rate = 1000 * kbps * channels
        place = 0
        for block in _resampled(blocks, rate, to_rate, channels):
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts = to_rate, place
            place += len(block)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


def _resampled(blocks: Iterator[NDArray[Any]], rate: int, to_rate: int, channels: int) -> Iterator[NDArray[Any]]:
    """Blocks `[frames, channels]` at a rate that Opus knows; no empty ones."""
    if rate == to_rate:
        yield from (np.ascontiguousarray(block) for block in blocks if len(block))
        return
    import soxr

    resampler = soxr.ResampleStream(rate, to_rate, channels, dtype="float32")
    for block in blocks:
        if len(made := resampler.resample_chunk(block)):
            yield np.ascontiguousarray(made)
    if len(made := resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)):
        yield np.ascontiguousarray(made)
