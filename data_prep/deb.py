"""Reading Debian packages without installing them: `dpkg-deb` when it is there, else ar + tar in Python.

The data member is streamed: only the files asked for are ever held, nothing is unpacked to disk.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from data_prep.binary import ArchiveLimits
from data_prep.errors import ArchiveError

AR_MAGIC = b"!<arch>\n"
AR_HEADER_BYTES = 60
MAX_CONTROL_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ArMember:
    """Where one member of an ar file lies."""

    name: str
    start: int
    size_bytes: int


@dataclass(frozen=True)
class DebIdentity:
    """Name and version that the package itself states."""

    package: str
    version: str


def ar_members(path: Path) -> list[ArMember]:
    """Members of the ar file `path`; raises `ArchiveError` when its structure does not hold."""
    length = path.stat().st_size
    members: list[ArMember] = []
    with path.open("rb") as stream:
        if stream.read(len(AR_MAGIC)) != AR_MAGIC:
            raise ArchiveError(f"{path}: is not a Debian package (no ar header); download it again")
        place = len(AR_MAGIC)
        while place < length and len(members) < 64:
            stream.seek(place)
            header = stream.read(AR_HEADER_BYTES)
            member = _ar_header(path, header, place + AR_HEADER_BYTES, length)
            members.append(member)
            place = member.start + member.size_bytes + member.size_bytes % 2
    return members


def _ar_header(path: Path, header: bytes, start: int, length: int) -> ArMember:
    digits = header[48:58].strip()
    if len(header) < AR_HEADER_BYTES or header[58:60] != b"`\n" or not digits.isdigit():
        raise ArchiveError(f"{path}: broken member header before byte {start}; download it again")
    size = int(digits)
    if start + size > length:
        raise ArchiveError(
            f"{path}: a member of {size} bytes ends beyond the {length} bytes of the file; it is cut short"
        )
    return ArMember(header[:16].decode("latin1").strip().rstrip("/"), start, size)


class _Window(io.RawIOBase):
    """Read-only view of one member inside a file."""

    def __init__(self, stream: IO[bytes], member: ArMember) -> None:
        self._stream = stream
        self._left = member.size_bytes
        stream.seek(member.start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(min(len(buffer), self._left))
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)


def _member(path: Path, stem: str) -> ArMember:
    for member in ar_members(path):
        if member.name.startswith(stem + "."):
            return member
    raise ArchiveError(f"{path}: holds no '{stem}.tar' member; it is not a Debian package")


def _plain(window: IO[bytes], name: str, path: Path) -> IO[bytes]:
    """The decompressed stream of a tar member, by its suffix."""
    kind = name.rsplit(".", 1)[-1]
    if kind == "xz" or kind == "lzma":
        return cast(IO[bytes], lzma.open(window))
    if kind == "gz":
        return cast(IO[bytes], gzip.open(window))
    if kind == "bz2":
        return cast(IO[bytes], bz2.open(window))
    if kind == "tar":
        return window
    if kind == "zst":
        return _plain_zstd(window, path)
    raise ArchiveError(f"{path}: member '{name}' has an unknown compression")


def _plain_zstd(window: IO[bytes], path: Path) -> IO[bytes]:
    try:
        import zstandard
    except ImportError as fault:
        raise ArchiveError(
            f"{path}: is compressed with Zstandard; install dpkg, or `pip install zstandard`, to read it"
        ) from fault
    return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(window))


@contextmanager
def _tar_stream(path: Path, use_dpkg: bool) -> Iterator[tarfile.TarFile]:
    """The data member as a tar stream that can only go forward."""
    tool = shutil.which("dpkg-deb") if use_dpkg else None
    if tool is None:
        member = _member(path, "data.tar")
        with path.open("rb") as stream:
            window = cast(IO[bytes], io.BufferedReader(_Window(stream, member), 2**20))
            with _plain(window, member.name, path) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                yield tar
        return
    yield from _dpkg_stream(tool, path)


def _dpkg_stream(tool: str, path: Path) -> Iterator[tarfile.TarFile]:
    process = subprocess.Popen([tool, "--fsys-tarfile", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    try:
        with tarfile.open(fileobj=process.stdout, mode="r|", bufsize=2**20) as tar:
            yield tar
        while process.stdout.read(2**20):  # what follows the end mark; closing early would kill dpkg-deb
            pass
        message = process.stderr.read().decode("utf-8", "replace").strip()
        if process.wait() != 0:
            raise ArchiveError(f"{path}: dpkg-deb cannot read it ({message}); download it again")
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait()


def identity(path: Path) -> DebIdentity:
    """Package name and version out of the control member."""
    member = _member(path, "control.tar")
    fields: dict[str, str] = {}
    with path.open("rb") as stream, _faults(path):
        window = cast(IO[bytes], io.BufferedReader(_Window(stream, member)))
        with _plain(window, member.name, path) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for entry in tar:
                if entry.name.lstrip("./") == "control" and entry.size < MAX_CONTROL_BYTES:
                    body = tar.extractfile(entry)
                    text = body.read().decode("utf-8", "replace") if body else ""
                    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line[1:])
    if "Package" not in fields or "Version" not in fields:
        raise ArchiveError(f"{path}: its control file states no package and version")
    return DebIdentity(fields["Package"].strip(), fields["Version"].strip())


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn the many ways in which a cut or broken stream fails into one typed error."""
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as fault:
        raise ArchiveError(f"{path}: cannot be read as a Debian package ({fault}); download it again") from fault


def read_files(
    path: Path, wanted: set[str], limits: ArchiveLimits | None = None, *, use_dpkg: bool = True
) -> Iterator[tuple[str, bytes]]:
    """(path in the package, bytes) of every wanted file that is there, in package order.

    Hard links are followed by a second pass; symbolic links are not followed. Raises `ArchiveError`.
    """
    bounds = limits or ArchiveLimits()
    links: dict[str, list[str]] = {}
    yield from _one_pass(path, wanted, bounds, use_dpkg, links)
    if links:
        for target, data in _one_pass(path, set(links), bounds, use_dpkg, None):
            for name in links[target]:
                yield name, data


def _one_pass(
    path: Path, wanted: set[str], limits: ArchiveLimits, use_dpkg: bool, links: dict[str, list[str]] | None
) -> Iterator[tuple[str, bytes]]:
    left = set(wanted)
    with _faults(path), _tar_stream(path, use_dpkg) as tar:
        for count, entry in enumerate(tar):
            if count > limits.max_members:
                raise ArchiveError(f"{path}: more than {limits.max_members} files")
            name = entry.name.removeprefix("./")
            if name not in left:
                continue
            left.discard(name)
            if entry.islnk() and links is not None:
                links.setdefault(entry.linkname.removeprefix("./"), []).append(name)
            elif entry.isreg():
                yield name, _entry_bytes(path, tar, entry, limits)
            if not left and links is None:
                return


def _entry_bytes(path: Path, tar: tarfile.TarFile, entry: tarfile.TarInfo, limits: ArchiveLimits) -> bytes:
    if entry.size > limits.max_member_bytes:
        raise ArchiveError(f"{path}: '{entry.name}' has {entry.size} bytes, the limit is {limits.max_member_bytes}")
    body = tar.extractfile(entry)
    data = body.read() if body is not None else b""
    if len(data) != entry.size:
        raise ArchiveError(f"{path}: '{entry.name}' ends after {len(data)} of {entry.size} bytes; download it again")
    return data
