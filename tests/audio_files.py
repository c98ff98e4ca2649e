"""Encoded recordings for the audio tests, made with libsndfile and PyAV, and edits of their headers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

SNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16", 44_100),
    "wav24": ("WAV", "PCM_24", 44_100),
    "float": ("WAV", "FLOAT", 44_100),
    "rf64": ("RF64", "PCM_16", 44_100),
    "w64": ("W64", "PCM_16", 44_100),
    "aiff": ("AIFF", "PCM_16", 44_100),
    "au": ("AU", "PCM_16", 44_100),
    "caf": ("CAF", "PCM_16", 44_100),
    "flac": ("FLAC", "PCM_16", 44_100),
    "ogg": ("OGG", "VORBIS", 44_100),
    "opus": ("OGG", "OPUS", 48_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100),
}
FFMPEG_FORMATS = {
    "m4a": ("ipod", "aac", 44_100),
    "aac": ("adts", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "wv": ("wv", "wavpack", 44_100),
    "g722": ("g722", "g722", 16_000),
}


def scene(seconds: float = 1.0, rate: int = 44_100, seed: int = 0) -> NDArray[np.float32]:
    """A chirp over noise: no two halves alike, and not compressible to nothing."""
    times = np.arange(round(seconds * rate)) / rate
    hiss = 0.02 * np.random.default_rng(seed).standard_normal(len(times))
    return (0.3 * np.sin(2 * np.pi * (200 + 300 * times) * times) + hiss).astype(np.float32)


def encode(samples: NDArray[Any], rate: int, container: str, subtype: str | None = None) -> bytes:
    """`[samples]` or `[samples, channels]` by libsndfile, in blocks: its Vorbis writer needs short ones."""
    buffer = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(buffer, "w", rate, channels, format=container, subtype=subtype) as file:
        for start in range(0, len(samples), 16_384):
            file.write(samples[start : start + 16_384])
    return buffer.getvalue()


def encoded(kind: str, seconds: float = 1.0) -> bytes:
    """One recording of `scene` in any of the formats above."""
    if kind in SNDFILE_FORMATS:
        container, subtype, rate = SNDFILE_FORMATS[kind]
        return encode(scene(seconds, rate), rate, container, subtype)
    container, codec, rate = FFMPEG_FORMATS[kind]
    return encode_ffmpeg(scene(seconds, rate), rate, container, codec)


def encode_ffmpeg(
    samples: NDArray[np.float32],
    rate: int,
    container: str,
    codec: str,
    video: bool = False,
    index_first: Path | None = None,
) -> bytes:
    """Mono `[samples]` by PyAV, with a picture track if wanted, or via a file with the index in front."""
    buffer = io.BytesIO()
    # The muxer moves the index by reading its own file again, which a buffer cannot serve.
    options = {"movflags": "faststart"} if index_first else {}
    with av.open(index_first or buffer, "w", format=container, options=options) as output:
        picture: Any = output.add_stream("mpeg4", rate=25) if video else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        stream: Any = output.add_stream(codec, rate=rate)
        stream.layout = "mono"
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", rate, frame_size=context.frame_size or 4096)
        frame = av.AudioFrame.from_ndarray((samples * 32_767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = rate
        if picture is not None:
            for _ in range(round(25 * len(samples) / rate)):
                output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
            output.mux(picture.encode(None))
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))
    return index_first.read_bytes() if index_first else buffer.getvalue()


def with_flac_total(flac: bytes, frames: int) -> bytes:
    """Another sample count in STREAMINFO: the low 36 bits of the eight bytes from 18 on."""
    kept = int.from_bytes(flac[18:26], "big") >> 36 << 36
    return flac[:18] + (kept | frames).to_bytes(8, "big") + flac[26:]


def with_flac_rate(flac: bytes, rate: int) -> bytes:
    """Another rate in STREAMINFO: the high 20 bits of the eight bytes from 18 on."""
    kept = int.from_bytes(flac[18:26], "big") & ((1 << 44) - 1)
    return flac[:18] + (kept | rate << 44).to_bytes(8, "big") + flac[26:]


def with_wav_field(wav: bytes, offset: int, value: int, size: int = 4) -> bytes:
    """Another number in the 44-byte header: 22 channels (size 2), 24 rate, 40 bytes of audio."""
    return wav[:offset] + value.to_bytes(size, "little") + wav[offset + size :]
