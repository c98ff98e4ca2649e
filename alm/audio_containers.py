"""What the header of a container promises about its audio bytes, read without any decoder.

Decoders tend to clamp a short file to what is there and to stop at a count that is too small, both without
a word. These checks find the difference, so that nothing is cut silently. Only chunk headers are read: time
is bounded by the number of chunks or Ogg pages, memory by a few hundred bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: Writers that cannot seek back leave sizes from here up (0x7FFFF000 SoX, 0xFFFFFFFF FFmpeg); it means
#: "until the end".
_OPEN_ENDED_32 = 0x7FFF_F000
_OPEN_ENDED_64 = 1 << 62
#: A walk gives up after this many chunks or pages: 512 MiB of Ogg has about 120,000 pages.
_MAX_STEPS = 4_000_000
#: An Ogg page has at most 65,307 bytes, so a whole page later the next one must have begun.
_OGG_RESYNC_BYTES = 1 << 17
#: Real recorders leave a few stray bytes at the end; less than a tenth of a second of the plainest audio.
_LEFTOVER_SLACK_BYTES = 1024
_PADDING_BYTES = 64
_MAX_ID3_TAGS = 16
#: The tag begins at most 36 bytes into the frame; some files have a little padding before it.
_MP3_TAG_BYTES = 256
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
HEADS = {
    b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "WAV", b"FORM": "AIFF", b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3",
    b"caff": "CAF", b".snd": "AU", b"riff": "Wave64",
}  # fmt: skip
"""How files with a header begin; raw samples hardly ever do."""


def container_of(head: bytes) -> str | None:
    """What a file that begins so is called; None without a header that is known."""
    return next((name for magic, name in HEADS.items() if head.startswith(magic)), None)


@dataclass(frozen=True)
class Extent:
    """Bytes of audio that a header declares, bytes present, and what else makes the file unusable."""

    declared_bytes: int
    """Size of the audio (or of the whole file) as the header says it."""
    present_bytes: int
    """Bytes of it that the file holds."""
    problem: str | None = None
    """A fault other than missing bytes, as the middle of a sentence."""
    links: tuple[int, ...] = (0,)
    """Where each recording begins in a chained Ogg file, of which a decoder would read only the first."""

    @property
    def missing_bytes(self) -> int:
        return max(0, self.declared_bytes - self.present_bytes)


_Chunk = tuple[bytes, int, int]  # identifier, first byte of the body, declared body size


def measure(file: BinaryIO, size: int) -> Extent | None:
    """Compare header and file; None where the container declares nothing that can be checked this way.

    `file` is seekable and `size` bytes long; its position is moved.
    """
    file.seek(0)
    head = file.read(40)
    for magic, check in _CHECKS:
        if head.startswith(magic):
            try:
                return check(file, size, head)
            except struct.error:  # a header cut in the middle: the decoders say so themselves
                return None
    return None


def mp3_declares_frames(file: BinaryIO) -> bool:
    """Whether an MP3 states its length (Xing, Info or VBRI tag) so that nobody has to guess it."""
    start = 0
    for _ in range(_MAX_ID3_TAGS):
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        # 7 bits in each of the four size bytes; flag 0x10 announces a footer of ten bytes more.
        body = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        start += 10 + body + (10 if head[5] & 0x10 else 0)
    file.seek(start)
    frame = file.read(_MP3_TAG_BYTES)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))


def _chunks(file: BinaryIO, size: int, start: int, layout: str, pad: int) -> Iterator[_Chunk]:
    header_bytes = struct.calcsize(layout)
    position = start
    for _ in range(_MAX_STEPS):
        if position + header_bytes > size:
            return
        file.seek(position)
        identifier, body = struct.unpack(layout, file.read(header_bytes))
        yield identifier, position + header_bytes, body
        position += header_bytes + body
        position += -position % pad


def _data_extent(file: BinaryIO, size: int, chunks: Iterator[_Chunk], wanted: bytes, open_ended: int) -> Extent | None:
    for identifier, start, body in chunks:
        if identifier != wanted:
            continue
        present = max(0, size - start)
        if body >= open_ended:
            return Extent(present, present)
        if body == 0 and present > 0:
            return Extent(0, 0, f"declares 0 bytes of audio although {present} bytes follow")
        return Extent(body, min(body, present), _behind_audio(file, size, start + body, chunks))
    return None


def _behind_audio(file: BinaryIO, size: int, end: int, chunks: Iterator[_Chunk]) -> str | None:
    for identifier, start, body in chunks:
        if identifier in (b"RIFF", b"RIFX", b"FORM"):
            return "holds several recordings one behind the other"
        text = identifier.isascii() and identifier.decode("ascii").isprintable()
        if not (text and start + body <= size + 1):
            break
        end = start + body
    return _leftover(file, size, end)


def _leftover(file: BinaryIO, size: int, end: int) -> str | None:
    if size - end <= _LEFTOVER_SLACK_BYTES:
        return None
    file.seek(end)
    begin = file.read(_PADDING_BYTES)
    if begin.count(begin[:1]) == len(begin):  # padding, behind which some systems append their own records
        return None
    return f"declares audio up to byte {end}, but {size - end} bytes that are no known part of it follow"


def _riff(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    order = ">" if head.startswith(b"RIFX") else "<"
    if head[8:12] != b"WAVE":  # AVI and the like: only the outer size can be compared
        outer = int(struct.unpack(order + "I", head[4:8])[0]) + 8
        return None if outer >= _OPEN_ENDED_32 else Extent(outer, min(outer, size))
    if head[12:16] == b"ds64":
        declared = int(struct.unpack("<Q", head[28:36])[0])
        for identifier, start, _ in _chunks(file, size, 12, "<4sI", 2):
            if identifier == b"data":
                return Extent(declared, min(declared, size - start)) if declared < _OPEN_ENDED_64 else None
        return None
    return _data_extent(file, size, _chunks(file, size, 12, order + "4sI", 2), b"data", _OPEN_ENDED_32)


def _aiff(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    return _data_extent(file, size, _chunks(file, size, 12, ">4sI", 2), b"SSND", _OPEN_ENDED_32)


def _caf(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    # A size of -1 means "until the end" and reads as 2**64 - 1 here.
    return _data_extent(file, size, _chunks(file, size, 8, ">4sQ", 1), b"data", _OPEN_ENDED_64)


def _au(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    order = ">" if head.startswith(b".snd") else "<"
    start, body = struct.unpack(order + "II", head[4:12])
    return _data_extent(file, size, iter([(b"data", start, body)]), b"data", _OPEN_ENDED_32)


def _w64(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    outer = int(struct.unpack("<Q", head[16:24])[0])
    return None if outer >= _OPEN_ENDED_64 else Extent(outer, min(outer, size), _leftover(file, size, outer))


def _matroska(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    """Compare the size of the one segment that holds everything; a live recording leaves it open."""
    header_start, header_bytes = _ebml_size(head, 4)
    position = header_start + (header_bytes or 0)
    file.seek(position)
    segment = file.read(12)
    if not segment.startswith(b"\x18\x53\x80\x67"):
        return None
    body_start, body_bytes = _ebml_size(segment, 4)
    if body_bytes is None:
        return None
    return Extent(body_bytes, min(body_bytes, max(0, size - position - body_start)))


def _ebml_size(data: bytes, at: int) -> tuple[int, int | None]:
    """Where the body behind the size field begins, and the size; None if all its bits are set, for "unknown".

    The number of leading zero bits of the first byte is the number of bytes that follow it.
    """
    if len(data) <= at or data[at] == 0:
        raise struct.error("no EBML size")
    length = 9 - data[at].bit_length()
    if len(data) < at + length:
        raise struct.error("the EBML size is cut")
    bits = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length], "big") & bits
    return at + length, None if value == bits else value


def _ogg(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    """Walk the pages: a page that runs past the end, lost synchronisation, or a second recording behind the
    first.

    A missing end-of-stream flag is no fault: one in forty of the recordings in circulation lacks it.
    """
    position, started, links = 0, False, [0]
    for _ in range(_MAX_STEPS):
        file.seek(position)
        header = file.read(27)
        if len(header) < 27 or not header.startswith(b"OggS"):
            break
        first, segments = bool(header[5] & 2), header[26]
        table = file.read(segments)
        if first and started:
            links.append(position)
        started = not first
        position += 27 + segments + sum(table)
        if position > size or len(table) < segments:
            return Extent(max(position, size + 1), size)
    return _ogg_tail(file, size, position, tuple(links))


def _ogg_tail(file: BinaryIO, size: int, position: int, links: tuple[int, ...]) -> Extent:
    """What follows the last whole page: nothing, a page that was cut, or pages behind damaged bytes."""
    file.seek(position)
    tail = file.read(_OGG_RESYNC_BYTES)
    if tail and b"OggS".startswith(tail[:4]):
        return Extent(size + 1, size)
    if b"OggS" in tail:
        return Extent(size, size, f"is damaged at byte {position}: an Ogg page is missing there")
    return Extent(size, size, links=links)


_CHECKS: tuple[tuple[bytes, Callable[[BinaryIO, int, bytes], Extent | None]], ...] = (
    (b"RIFF", _riff),
    (b"RIFX", _riff),
    (b"RF64", _riff),
    (b"FORM", _aiff),
    (b"caff", _caf),
    (b".snd", _au),
    (b"dns.", _au),
    (_W64_RIFF, _w64),
    (b"OggS", _ogg),
    (b"\x1a\x45\xdf\xa3", _matroska),
)
