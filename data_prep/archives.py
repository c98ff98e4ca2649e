"""Readers for the game and desktop containers that hold recordings: zip/pk3, OpenTTD, Clonk, Qt, Doom.

Each reader takes the bytes of one container and yields its members in file order. The inputs come from the network:
every offset, count and size is checked before use, and expansion stops at `ArchiveLimits`.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data_prep.binary import ArchiveLimits, ByteView
from data_prep.errors import ArchiveError


@dataclass(frozen=True)
class Member:
    """One file of a container: its inner path with forward slashes, and its bytes."""

    path: str
    data: bytes


Reader = Callable[[ByteView, ArchiveLimits], Iterator[Member]]


def read_archive(data: bytes, name: str, limits: ArchiveLimits | None = None) -> Iterator[Member]:
    """Members of the container `data`, whose kind the suffix of `name` tells.

    Raises `ArchiveError` for an unknown kind, a malformed container, and one beyond `limits`.
    """
    bounds = limits or ArchiveLimits()
    reader = READERS.get(suffix(name))
    if reader is None:
        raise ArchiveError(f"{name}: unknown container kind; known are {', '.join(sorted(READERS))}")
    total = 0
    for count, member in enumerate(reader(ByteView(data, name), bounds), start=1):
        total += len(member.data)
        _check(name, "members", count, bounds.max_members)
        _check(name, "bytes in one member", len(member.data), bounds.max_member_bytes)
        _check(name, "bytes in all members", total, bounds.max_total_bytes)
        yield member


def is_archive(name: str) -> bool:
    """Whether a reader exists for files called like `name`."""
    return suffix(name) in READERS


def suffix(name: str) -> str:
    """The last extension in lower case with its dot, or ''."""
    tail = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "." + tail.rsplit(".", 1)[1].lower() if "." in tail else ""


def _check(name: str, what: str, value: int, limit: int) -> None:
    if value > limit:
        raise ArchiveError(f"{name}: {value} {what} is above the limit of {limit}; is this the right file?")


def _inflate(packed: bytes, window: int, limit: int, name: str) -> bytes:
    """Decompress at most `limit` bytes of a deflate stream; a longer, broken or cut one is an error."""
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(packed, limit + 1)
    except zlib.error as fault:
        raise ArchiveError(f"{name}: its compressed data is damaged ({fault}); fetch the package again") from fault
    _check(name, "bytes after decompression", len(plain), limit)
    if not stream.eof:
        raise ArchiveError(f"{name}: its compressed data ends too early; fetch the package again")
    return plain


def read_zip(view: ByteView, limits: ArchiveLimits) -> Iterator[Member]:
    """Zip under any name: Quake `.pk3`, LOVE `.love`, GrandOrgue `.orgue`."""
    try:
        with zipfile.ZipFile(io.BytesIO(view.data)) as container:
            _check(view.name, "members", len(container.infolist()), limits.max_members)
            for info in container.infolist():
                if not info.is_dir():
                    yield Member(info.filename, _zip_member(container, info, view.name, limits))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, ValueError, OSError) as fault:
        raise ArchiveError(f"{view.name}: not a usable zip file ({fault}); fetch the package again") from fault


def _zip_member(container: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, limits: ArchiveLimits) -> bytes:
    label = f"{name}!{info.filename}"
    _check(label, "bytes", info.file_size, limits.max_member_bytes)
    with container.open(info) as stream:
        data = stream.read(limits.max_member_bytes + 1)
    _check(label, "bytes", len(data), limits.max_member_bytes)
    return data


def read_cat(view: ByteView, limits: ArchiveLimits) -> Iterator[Member]:
    """OpenTTD sample catalogue: pairs of (offset, length), each pointing at a short name and a WAV file."""
    first = view.numbers("<I", 0, "the first offset")[0] & 0x7FFFFFFF
    if first % 8 or not first:
        raise ArchiveError(f"{view.name}: its first offset {first} is not a multiple of 8; not a sample catalogue")
    _check(view.name, "members", first // 8, limits.max_members)
    for index in range(first // 8):
        offset, length = view.numbers("<II", index * 8, f"entry {index}")
        offset &= 0x7FFFFFFF
        title = view.cut(offset, 1, f"the name of entry {index}")[0]
        yield Member(f"{index:02d}.wav", view.cut(offset + 1 + title, length, f"sample {index}"))


C4_HEADER_BYTES = 204
C4_ENTRY_BYTES = 316


def read_c4group(view: ByteView, limits: ArchiveLimits) -> Iterator[Member]:
    """OpenClonk group file: gzip with another magic number around a tree of scrambled directories."""
    if view.cut(0, 2, "the magic number") not in (b"\x1e\x8c", b"\x1f\x8b"):
        raise ArchiveError(f"{view.name}: does not begin like a group file")
    plain = _inflate(b"\x1f\x8b" + view.data[2:], 31, limits.max_total_bytes, view.name)
    yield from _c4_folder(ByteView(plain, view.name), "", limits, limits.max_depth)


def _c4_header(scrambled: bytes) -> bytes:
    """Undo the header's scrambling: XOR with 237, then swap the outer two of every three bytes."""
    header = bytearray(byte ^ 237 for byte in scrambled)
    for start in range(0, len(header) - 2, 3):
        header[start], header[start + 2] = header[start + 2], header[start]
    return bytes(header)


def _c4_folder(view: ByteView, prefix: str, limits: ArchiveLimits, depth: int) -> Iterator[Member]:
    if depth <= 0:
        raise ArchiveError(f"{view.name}: folders nested deeper than the limit of {limits.max_depth}")
    header = _c4_header(view.cut(0, C4_HEADER_BYTES, f"the header of '{prefix}'"))
    if not header.startswith(b"RedWolf Design"):
        raise ArchiveError(f"{view.name}: the header of '{prefix}' is not that of a group file")
    count = struct.unpack_from("<i", header, 36)[0]
    if count < 0:
        raise ArchiveError(f"{view.name}: '{prefix}' claims {count} members")
    _check(view.name, "members", count, limits.max_members)
    base = C4_HEADER_BYTES + C4_ENTRY_BYTES * count
    for index in range(count):
        start = C4_HEADER_BYTES + C4_ENTRY_BYTES * index
        raw = view.cut(start, 260, f"the name of member {index} of '{prefix}'")
        path = prefix + raw.split(b"\0", 1)[0].decode("latin1")
        _, child, size, _, offset = view.numbers("<5i", start + 260, f"the entry of '{path}'")
        data = view.cut(base + offset, size, f"'{path}'")
        if child:
            yield from _c4_folder(ByteView(data, view.name), path + "/", limits, depth - 1)
        else:
            yield Member(path, data)


@dataclass(frozen=True)
class _QtTables:
    """Where the three tables of a Qt resource file begin, and how long one node of its tree is."""

    tree: int
    data: int
    names: int
    node_bytes: int


def read_rcc(view: ByteView, limits: ArchiveLimits) -> Iterator[Member]:
    """Qt binary resource file (`qres`)."""
    if view.cut(0, 4, "the magic number") != b"qres":
        raise ArchiveError(f"{view.name}: does not begin with 'qres'")
    version, tree, data, names = view.numbers(">4I", 4, "the header")
    tables = _QtTables(tree, data, names, 22 if version >= 2 else 14)
    budget = [limits.max_members]
    yield from _rcc_node(view, tables, 0, "", limits, budget)


def _rcc_name(view: ByteView, tables: _QtTables, offset: int) -> str:
    start = tables.names + offset
    length = view.numbers(">H", start, "a name")[0]
    return view.cut(start + 6, 2 * length, "a name").decode("utf-16-be", "replace")


def _rcc_node(
    view: ByteView, tables: _QtTables, index: int, prefix: str, limits: ArchiveLimits, budget: list[int]
) -> Iterator[Member]:
    """Walk one node; `budget` bounds the nodes visited, so that a cycle in the tree ends."""
    budget[0] -= 1
    if budget[0] < 0 or prefix.count("/") > limits.max_depth:
        raise ArchiveError(f"{view.name}: its tree is deeper or larger than the limits; it may contain a cycle")
    start = tables.tree + index * tables.node_bytes
    name_offset, flags = view.numbers(">IH", start, f"node {index}")
    path = f"{prefix}/{_rcc_name(view, tables, name_offset)}" if index else prefix
    if flags & 2:
        count, first = view.numbers(">II", start + 6, f"node {index}")
        _check(view.name, "members", count, limits.max_members)
        for child in range(first, first + count):
            yield from _rcc_node(view, tables, child, path, limits, budget)
        return
    place = tables.data + view.numbers(">I", start + 10, f"node {index}")[0]
    length = view.numbers(">I", place, f"'{path}'")[0]
    yield Member(path.lstrip("/"), _rcc_payload(view, place + 4, length, flags, path, limits))


def _rcc_payload(view: ByteView, start: int, length: int, flags: int, path: str, limits: ArchiveLimits) -> bytes:
    data = view.cut(start, length, f"'{path}'")
    if flags & 4:
        raise ArchiveError(f"{view.name}: '{path}' is compressed with Zstandard, which this reader does not know")
    if not flags & 1:
        return data
    if length < 4:
        raise ArchiveError(f"{view.name}: '{path}' is too short for compressed data")
    return _inflate(data[4:], 15, limits.max_member_bytes, f"{view.name}!{path}")


DMX_FORMAT = 3
DMX_PADDING_BYTES = 16


def read_wad(view: ByteView, limits: ArchiveLimits) -> Iterator[Member]:
    """Doom WAD: the `DS*` lumps, which are WAV/Ogg/FLAC files or DMX sounds (8-bit mono), given as WAV."""
    if view.cut(0, 4, "the magic number") not in (b"IWAD", b"PWAD"):
        raise ArchiveError(f"{view.name}: does not begin like a WAD")
    count, directory = view.numbers("<ii", 4, "the header")
    if count < 0:
        raise ArchiveError(f"{view.name}: claims {count} lumps")
    _check(view.name, "lumps", count, limits.max_members)
    for index in range(count):
        offset, length = view.numbers("<ii", directory + 16 * index, f"lump {index}")
        raw = view.cut(directory + 16 * index + 8, 8, f"the name of lump {index}")
        name = raw.split(b"\0", 1)[0].decode("latin1")
        if name.startswith("DS") and length >= 40:
            yield from _wad_sound(name, ByteView(view.cut(offset, length, f"lump {name}"), view.name))


def _wad_sound(name: str, lump: ByteView) -> Iterator[Member]:
    if lump.data[:4] in (b"RIFF", b"OggS", b"fLaC"):
        yield Member(name, lump.data)
        return
    kind, rate, samples = lump.numbers("<HHI", 0, f"the header of {name}")
    if kind == DMX_FORMAT and samples > 2 * DMX_PADDING_BYTES:
        start = 8 + DMX_PADDING_BYTES
        yield Member(name + ".wav", _wav_8bit(lump.cut(start, samples - 2 * DMX_PADDING_BYTES, name), rate))


def _wav_8bit(pcm: bytes, rate: int) -> bytes:
    """A WAV file around unsigned 8-bit mono samples."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", len(pcm)) + pcm
    return struct.pack("<4sI", b"RIFF", len(body)) + body


READERS: dict[str, Reader] = {
    ".pk3": read_zip,
    ".love": read_zip,
    ".orgue": read_zip,
    ".zip": read_zip,
    ".cat": read_cat,
    ".ocg": read_c4group,
    ".rcc": read_rcc,
    ".wad": read_wad,
}
