"""Blocks of samples from the bytes of any audio file: libsndfile first, FFmpeg (PyAV) for the rest.

Nothing here trusts a header. Both decoders hand over small blocks, and whoever consumes them counts.
FFmpeg is confined to containers and audio decoders named here: playlists, concatenation scripts and
devices, which make it open other files or addresses, are never tried, and pictures or video are never
decoded.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from alm.audio_containers import container_of, mp3_declares_frames

Block = NDArray[np.float32]  # [samples, channels]

_BLOCK_VALUES = 1 << 14
#: libsndfile's count for "unknown length" (a FLAC stream written to a pipe).
_UNKNOWN_FRAMES = 1 << 62
#: Slack for containers that count whole packets: an Opus packet may last 120 ms.
_FFMPEG_SLACK_SECONDS = 0.15
#: Bytes behind the last sample that a decoder leaves unread without anybody losing audio.
_TAIL_SLACK_BYTES = 4096

#: Formats without a header, known by their extension only: (libsndfile subtype, rate) or an FFmpeg demuxer
#: name.
_HEADERLESS_SNDFILE = {
    ".gsm": ("GSM610", 8_000),
    ".ulaw": ("ULAW", 8_000),
    ".ul": ("ULAW", 8_000),
    ".alaw": ("ALAW", 8_000),
    ".al": ("ALAW", 8_000),
    ".sln": ("PCM_16", 8_000),
    ".sln16": ("PCM_16", 16_000),
}
_HEADERLESS_FFMPEG = {".g722": "g722"}

_FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,g722,m4a,matroska,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,mp4,ogg,rm,tak,tta,voc,w64,wav,webm,wv"
)
#: Containers whose duration comes from an index or a count and not from a guess by bit rate.
_COUNTED_FORMATS = frozenset({"ape", "asf", "avi", "caf", "flac", "matroska", "mov", "tak", "tta", "wv"})
_SAMPLE_SCALE = {
    "u8": (128.0, 128.0),
    "s16": (0.0, 32_768.0),
    "s32": (0.0, 2_147_483_648.0),
    "flt": (0.0, 1.0),
    "dbl": (0.0, 1.0),
}  # sample format -> (zero level, full scale)

#: What libsndfile, FFmpeg and their bindings raise on hostile bytes. Their texts hold addresses: never
#: shown.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    sf.SoundFileError,
    av.FFmpegError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    EOFError,
    RuntimeError,
    TypeError,
    ValueError,
)


class NotRecognisedError(Exception):
    """No decoder knows these bytes, or they hold no audio track. Caught by `alm.audio`."""


class Deadline:
    """An amount of time that runs out, but not while it is paused."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def over(self) -> bool:
        return time.monotonic() > self._end

    @contextmanager
    def paused(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._end += time.monotonic() - began


class MeteredFile(io.RawIOBase):
    """A readable, seekable file for decoders that stops giving bytes when its time is over.

    A decoder may read a whole file before it returns once; the deadline bounds that too, and `out_of_time`
    tells it from the true end. `last_read_end` is where the last read stopped, which shows what a decoder
    left unread.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, deadline: Deadline) -> None:
        """Show the `size` bytes of `file` from `start` on."""
        super().__init__()
        self._file = file
        self._start = start
        self._position = 0
        self._deadline = deadline
        self.size = size
        self.last_read_end = 0

    def readinto(self, buffer: Any) -> int:
        if self.out_of_time():
            return 0
        wanted = min(memoryview(buffer).nbytes, max(0, self.size - self._position))
        self._file.seek(self._start + self._position)
        chunk = self._file.read(wanted)
        memoryview(buffer).cast("B")[: len(chunk)] = chunk
        self._position += len(chunk)
        self.last_read_end = self._position
        return len(chunk)

    def out_of_time(self) -> bool:
        return self._deadline.over()

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self.size)[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def head(self, count: int = 16) -> bytes:
        self.seek(0)
        return self.read(count)


@dataclass(frozen=True)
class Opened:
    """An opened recording: what its header says, and its blocks."""

    rate: int
    channels: int
    declared_frames: int | None
    """Samples per channel by the header; None if it does not say or only guesses."""
    slack_frames: int
    """How many samples fewer than declared are still the same recording."""
    blocks: Iterator[Block]
    reads_to_end: bool
    """False where the decoder stops at the declared count, so that unread bytes mean unread audio."""


class _Sequential(sf.SoundFile):
    """soundfile seeks after every block of a seekable file and fails there if the header lies."""

    def seekable(self) -> bool:
        return False


@contextmanager
def open_decoder(file: MeteredFile, extension: str) -> Iterator[Opened]:
    """Open with the first decoder that recognises the bytes.

    Raises:
        NotRecognisedError: no decoder does.
    """
    headerless = "" if container_of(file.head()) else extension
    if headerless not in _HEADERLESS_FFMPEG:
        sound = _try_soundfile(file, headerless)
        if sound is not None:
            with sound:
                yield _opened_soundfile(sound)
            return
    with _try_ffmpeg(file, _HEADERLESS_FFMPEG.get(headerless)) as container:
        yield _opened_ffmpeg(container)


def unread_bytes(file: MeteredFile) -> int:
    """Bytes behind the last read that are neither slack nor a tag: audio, if the decoder stopped early."""
    left = file.size - file.last_read_end
    if left <= _TAIL_SLACK_BYTES:
        return 0
    file.seek(file.last_read_end)
    rest = file.read(left)
    padding = rest.count(rest[:1]) == len(rest)
    return 0 if padding or rest.startswith((b"APETAGEX", b"LYRICSBEGIN", b"TAG")) else left


def _try_soundfile(file: MeteredFile, extension: str) -> sf.SoundFile | None:
    file.seek(0)
    raw: dict[str, Any] = {}
    if extension in _HEADERLESS_SNDFILE:
        subtype, rate = _HEADERLESS_SNDFILE[extension]
        raw = {"format": "RAW", "subtype": subtype, "samplerate": rate, "channels": 1, "endian": "LITTLE"}
    try:
        sound = _Sequential(file, **raw)
    except DECODER_ERRORS:
        return None
    # libsndfile guesses the length of an MP3 without a count and stops there; FFmpeg reads to the end.
    guessed = sound.format == "MP3" and not _states_length(file)
    if guessed or sound.frames >= _UNKNOWN_FRAMES:
        sound.close()
        return None
    return sound


def _states_length(file: MeteredFile) -> bool:
    position = file.tell()  # libmpg123 goes on reading from where it left the file
    stated = mp3_declares_frames(cast(BinaryIO, file))
    file.seek(position)
    return stated


def _opened_soundfile(sound: sf.SoundFile) -> Opened:
    block_frames = max(1, _BLOCK_VALUES // max(1, sound.channels))

    def blocks() -> Iterator[Block]:
        left = int(sound.frames)  # asking for more makes libFLAC stumble over whatever follows the audio
        while left > 0:
            block = sound.read(min(left, block_frames), dtype="float32", always_2d=True)
            if not len(block):
                return
            yield block
            left -= len(block)

    # WAV, AIFF and the like carry other chunks behind the audio; `audio_containers.measure` has compared
    # their sizes.
    stops_early = sound.format in ("FLAC", "MP3")
    return Opened(int(sound.samplerate), int(sound.channels), int(sound.frames), 0, blocks(), not stops_early)


def _refuse_open(*_: object) -> Any:
    raise OSError("a recording may not open other files")


def _try_ffmpeg(file: MeteredFile, demuxer: str | None) -> AbstractContextManager[Any]:
    file.seek(0)
    options = {
        "format_whitelist": _FFMPEG_FORMATS,
        "codec_whitelist": _audio_decoders(),
        "protocol_whitelist": "none",
    }
    try:
        container = av.open(file, "r", format=demuxer, container_options=options, io_open=_refuse_open)
    except DECODER_ERRORS:
        raise NotRecognisedError(
            "is not audio, or so damaged or cut that neither libsndfile nor FFmpeg opens it"
        ) from None
    if not container.streams.audio:
        container.close()
        raise NotRecognisedError("has no audio track")
    return container


def _audio_decoders() -> str:
    """Names of FFmpeg's audio decoders, so that probing a video file decodes none of its pictures."""
    names = []
    for name in sorted(av.codecs_available):
        try:
            if av.Codec(name, "r").type == "audio":
                names.append(name)
        except DECODER_ERRORS:  # an encoder without a decoder of that name
            continue
    return ",".join(names)


def _opened_ffmpeg(container: Any) -> Opened:
    stream = container.streams.audio[0]  # as players do: the first track
    try:
        rate, channels = int(stream.codec_context.sample_rate), int(stream.codec_context.channels)
    except DECODER_ERRORS:
        raise NotRecognisedError("holds audio of an unknown codec") from None
    seconds = _declared_seconds(container, stream)
    declared = None if seconds is None else round(seconds * rate)
    stream.codec_context.thread_count = 1
    slack = round(_FFMPEG_SLACK_SECONDS * rate)
    return Opened(rate, channels, declared, slack, _ffmpeg_blocks(container, stream, rate), True)


def _declared_seconds(container: Any, stream: Any) -> float | None:
    if _COUNTED_FORMATS.isdisjoint(container.format.name.split(",")):
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    text = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = (float(part) for part in text.split(":"))
        return hours * 3600 + minutes * 60 + seconds
    except ValueError:
        pass
    alone = len(container.streams) == 1 and container.duration is not None
    return container.duration / av.time_base if alone else None


def _ffmpeg_blocks(container: Any, stream: Any, rate: int) -> Iterator[Block]:
    for frame in container.decode(stream):
        if frame.sample_rate != rate:
            raise ValueError("the rate changes inside the recording")
        yield _frame_values(frame)


def _frame_values(frame: Any) -> Block:
    """One FFmpeg frame as `[samples, channels]`, full scale 1.0."""
    zero, full = _SAMPLE_SCALE[frame.format.name.removesuffix("p")]
    values = frame.to_ndarray()
    if not frame.format.is_planar:  # packed: [1, samples * channels]
        values = values.reshape(-1, frame.layout.nb_channels).T
    with np.errstate(all="ignore"):  # NaN and overflow are looked for where the blocks are collected
        scaled = (values - np.float32(zero)) / np.float32(full)
        return np.ascontiguousarray(scaled.astype(np.float32).T)
