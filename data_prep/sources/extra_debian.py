"""Reading files of further Debian packages, also out of containers too large to be held in memory."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep import deb
from data_prep.archives import is_archive, read_archive, suffix
from data_prep.errors import ArchiveError, CorpusError
from data_prep.fetch import download_deb, find_deb
from data_prep.sources.catalog import Source

ZIPS = (".zip", ".pk3", ".wz")
MAX_INNER_BYTES = 256 * 2**20
INSIDE = "!"


@contextmanager
def package_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """The files of a package as a tar stream that goes forward only; raises `CorpusError` without `dpkg-deb`."""
    tool = shutil.which("dpkg-deb")
    if tool is None:
        raise CorpusError(f"{path}: dpkg-deb is needed to read this package; it comes with Debian and Ubuntu")
    with subprocess.Popen([tool, "--fsys-tarfile", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|", bufsize=2**20) as tar:
                yield tar
        except (tarfile.TarError, EOFError) as fault:
            raise ArchiveError(f"{path}: cannot be read as a Debian package ({fault}); download it again") from fault
        finally:
            process.kill()


def list_package(path: Path) -> list[str]:
    """Paths of the regular files of a package."""
    with package_tar(path) as tar:
        return [entry.name.removeprefix("./") for entry in tar if entry.isreg()]


@contextmanager
def spooled(path: Path, name: str) -> Iterator[Path]:
    """One file of a package, copied to a temporary file piece by piece."""
    with package_tar(path) as tar, tempfile.TemporaryDirectory(prefix="container-") as folder:
        for entry in tar:
            if entry.isreg() and entry.name.removeprefix("./") == name:
                body = tar.extractfile(entry)
                target = Path(folder) / "container"
                with target.open("wb") as stream:
                    if body is not None:
                        shutil.copyfileobj(body, stream, 2**20)
                yield target
                return
    raise CorpusError(f"{path}: has no file '{name}'; it may be another version of the package")


def _zip_members(path: Path, outer: str, wanted: set[str] | None) -> Iterator[tuple[str, bytes]]:
    """Members of a zip file in the package; only names, with empty content, when `wanted` is None."""
    with spooled(path, outer) as file:
        try:
            with zipfile.ZipFile(file) as container:
                for info in container.infolist():
                    if wanted is None:
                        yield info.filename, b""
                    elif info.filename in wanted and info.file_size <= MAX_INNER_BYTES:
                        yield info.filename, container.read(info)
        except (zipfile.BadZipFile, NotImplementedError, OSError) as fault:
            raise ArchiveError(f"{path}: '{outer}' is no usable zip file ({fault})") from fault


@dataclass(frozen=True)
class DebianFiles:
    """The files of one package file; a path with `!` lies inside a container of the package."""

    path: Path

    def paths(self) -> list[str]:
        """All paths of the package, sorted, with those inside containers."""
        names = list_package(self.path)
        outers = [name for name in names if is_archive(name) or suffix(name) in ZIPS]
        inner = [f"{outer}{INSIDE}{member}" for outer, member, _ in self._members(dict.fromkeys(outers))]
        return sorted([*names, *inner])

    def _members(self, wanted: Mapping[str, set[str] | None]) -> Iterator[tuple[str, str, bytes]]:
        """(container, member, content) for the wanted members of each container; None wants the names of all."""
        zips = [name for name in wanted if suffix(name) in ZIPS]
        for name in zips:
            for member, data in _zip_members(self.path, name, wanted[name]):
                yield name, member, data
        rest = set(wanted) - set(zips)
        for outer, data in deb.read_files(self.path, rest) if rest else ():
            names = wanted[outer]
            for item in read_archive(data, outer):
                if names is None or item.path in names:
                    yield outer, item.path, item.data

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Content of each of `paths` that the package has, plain files first."""
        plain: set[str] = set()
        inside: dict[str, set[str]] = defaultdict(set)
        for path in paths:
            outer, mark, inner = path.partition(INSIDE)
            if mark:
                inside[outer].add(inner)
            else:
                plain.add(outer)
        if plain:
            yield from deb.read_files(self.path, plain)
        for outer, member, data in self._members(inside):
            yield f"{outer}{INSIDE}{member}", data


def open_source(source: Source, folders: Iterable[Path], folder: Path | None) -> DebianFiles:
    """Files of the package of `source`: already downloaded in one of `folders`, else downloaded into `folder`.

    With `folder` None nothing is downloaded, and a missing package is a `CorpusError`.
    """
    places = list(folders)
    found = find_deb(source.name, [*places, *([folder] if folder else [])])
    if found is not None:
        return DebianFiles(found)
    if folder is None:
        looked = ", ".join(map(str, places)) or "no folder"
        raise CorpusError(f"{source.name}: no package file in {looked}, and downloads are off")
    return DebianFiles(download_deb(source.name, source.version, folder))
