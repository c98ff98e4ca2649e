"""From what the caller gives (path, bytes, stream) to a seekable file of known size, without waiting."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from alm.errors import AudioError, ConfigError

_SHOWN_NAME_CHARACTERS = 80


@dataclass(frozen=True)
class AudioLimits:
    """What is accepted; checked before decoding where the header tells, and always while decoding."""

    max_file_bytes: int = 512 * 2**20
    """Bytes of the encoded file."""
    max_seconds: float = 3_600.0
    """Length of one recording."""
    max_decoded_bytes: int = 1_536 * 2**20
    """Decoded samples x channels x 4 bytes: enough for an hour of stereo at 48 kHz."""
    min_rate_hz: int = 1_000
    """Lowest sample rate."""
    max_rate_hz: int = 384_000
    """Highest sample rate."""
    max_channels: int = 32
    """Channels of the source; they are averaged."""
    max_peak: float = 100.0
    """Largest absolute sample; full scale is 1. Beyond it the values are not normalised audio."""
    max_decode_seconds: float = 120.0
    """Wall-clock time for one recording."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"AudioLimits.{name} is {value}; it must be above 0")
        if self.min_rate_hz > self.max_rate_hz:
            raise ConfigError("AudioLimits.min_rate_hz is above max_rate_hz; swap them")


def shown_name(name: object) -> str:
    """A name fit for a message: the last part of a path, printable, short."""
    text = (Path(name).name if isinstance(name, str | Path) else "") or "recording"
    text = "".join(character if character.isprintable() else "?" for character in text)
    if len(text) <= _SHOWN_NAME_CHARACTERS:
        return text
    return text[: _SHOWN_NAME_CHARACTERS - 20] + "..." + text[-17:]  # keeps the extension


def refuse(name: str, what: str, remedy: str) -> NoReturn:
    raise AudioError(f"{name}: {what}. {remedy}.")


@contextmanager
def opened_source(source: Any, name: str | None, limits: AudioLimits) -> Iterator[tuple[BinaryIO, int, str]]:
    if isinstance(source, str | Path):
        shown = shown_name(name or source)
        with _open_regular(source, shown) as file:
            size = os.fstat(file.fileno()).st_size
            _check_size(shown, size, limits)
            yield file, size, shown
        return
    if isinstance(source, bytes | bytearray | memoryview):
        shown = shown_name(name or "bytes")
        _check_size(shown, memoryview(source).nbytes, limits)
        content = bytes(source)
    elif hasattr(source, "read"):
        shown = shown_name(name or getattr(source, "name", None) or "stream")
        content = _read_stream(source, shown, limits)
        _check_size(shown, len(content), limits)
    else:
        remedy = "Give a path, bytes, a binary stream, a numpy array with rate=, or a Waveform"
        refuse(
            shown_name(name or "recording"),
            f"an object of type {type(source).__name__} is no recording",
            remedy,
        )
    yield io.BytesIO(content), len(content), shown


def _open_regular(path: str | Path, shown: str) -> BinaryIO:
    """Open without waiting: a pipe or device is refused before and, should the file change, after opening."""
    try:
        _check_regular(shown, Path(path).stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        _refuse_unopened(shown, error)
    file = os.fdopen(descriptor, "rb")
    try:
        _check_regular(shown, os.fstat(descriptor).st_mode)
    except AudioError:
        file.close()
        raise
    return file


def _check_regular(shown: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        refuse(shown, "is a directory", "Name one audio file in it")
    if not stat.S_ISREG(mode):
        refuse(shown, "is a pipe, socket or device", "Save the audio to a file, or pass an open binary stream")


def _refuse_unopened(shown: str, error: OSError | ValueError) -> NoReturn:
    code = getattr(error, "errno", None)
    if code in (errno.ENOENT, errno.ENOTDIR):
        remedy = "Check the path; addresses on the network are not fetched, download the file first"
        raise AudioError(f"{shown}: no such file. {remedy}.") from None
    if isinstance(error, PermissionError):
        raise AudioError(f"{shown}: no permission to read it. Change its permissions or its owner.") from None
    reason = errno.errorcode.get(code, "unknown reason") if code else "the path is not valid"
    raise AudioError(f"{shown}: cannot be opened ({reason}). Check the path and the disk.") from None


def _read_stream(stream: Any, shown: str, limits: AudioLimits) -> bytes:
    """At most one byte more than the limit, in pieces, so that a stream without end costs bounded memory."""
    content = bytearray()
    while len(content) <= limits.max_file_bytes:
        try:
            piece = stream.read(min(1 << 20, limits.max_file_bytes + 1 - len(content)))
        except (OSError, ValueError):
            raise AudioError(f"{shown}: the stream cannot be read. Open it again in binary mode.") from None
        if isinstance(piece, str):
            refuse(shown, "the stream gives text", "Open it in binary mode ('rb')")
        if not piece:
            break
        content += piece
    return bytes(content)


def _check_size(shown: str, size: int, limits: AudioLimits) -> None:
    if size == 0:
        refuse(shown, "is empty (0 bytes)", "Give a recording; a stream must stand at its beginning")
    if size > limits.max_file_bytes:
        what = f"has more than {limits.max_file_bytes} bytes, the limit for one recording"
        refuse(shown, what, "Cut or compress it, or raise max_file_bytes")
