"""Manifest of extra clips -> audio store: fetch each source at its exact version, decode, cut, check, store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from alm.errors import AlmError
from data_prep import store
from data_prep.corpus import StoredClip
from data_prep.decode import decode
from data_prep.errors import CorpusError
from data_prep.fetch import MAX_FAILURES_SHARE, FetchReport
from data_prep.sources import extra_debian, extra_git
from data_prep.sources.catalog import GIT, Catalog, Source
from data_prep.sources.cut import cut
from data_prep.sources.extra_manifest import ExtraClip
from data_prep.sources.scan import SourceFiles


@dataclass(frozen=True)
class Places:
    """Where sources are looked for before anything is downloaded, and where downloads go."""

    target: Path
    """The audio store."""
    mirrors: tuple[Path, ...] = ()
    """Folders of git directories called `owner+name`."""
    debs: tuple[Path, ...] = ()
    """Folders of Debian packages."""
    offline: bool = False
    host: str = extra_git.HOST

    def files(self, source: Source) -> SourceFiles:
        """The files of `source`; raises `CorpusError` when it is not to be had."""
        if source.origin == GIT:
            folder = None if self.offline else self.target / "git"
            return extra_git.open_source(source, self.mirrors, folder, self.host)
        folder = None if self.offline else self.target / "debs"
        return extra_debian.open_source(source, self.debs, folder)


def by_source(clips: Iterable[ExtraClip], catalog: Catalog) -> dict[Source, list[ExtraClip]]:
    """Clips of each source, in the order of the catalogue."""
    found: dict[str, list[ExtraClip]] = defaultdict(list)
    for item in clips:
        found[item.clip.package].append(item)
    for package in found:
        catalog.by_package(package)
    return {source: found[source.package] for source in catalog.sources if source.package in found}


def _store_file(
    path: str, data: bytes, clips: list[ExtraClip], target: Path
) -> tuple[list[StoredClip], list[store.Failure]]:
    try:
        samples, rate = decode(data, path)
    except AlmError as fault:
        return [], [store.Failure(item.clip.id, str(fault)) for item in clips]
    stored: list[StoredClip] = []
    for item in clips:
        part = cut(samples, rate, item.start, item.end) if item.end else samples
        if len(part):
            stored.append(store.put(target, item.clip, part, rate))
    done = {item.clip.id for item in stored}
    missing = [item.clip.id for item in clips if item.clip.id not in done]
    return stored, [store.Failure(key, f"{path} is shorter than the listed place") for key in missing]


def gather_source(source: Source, clips: list[ExtraClip], places: Places, report: FetchReport) -> None:
    """Bring one source into the store, or do nothing when it is there; trouble goes into `report`."""
    plain = [item.clip for item in clips]
    before = store.load_package(places.target, source.package, plain)
    if before is not None:
        report.stored.extend(before)
        return
    wanted: dict[str, list[ExtraClip]] = defaultdict(list)
    for item in clips:
        wanted[item.file].append(item)
    stored: list[StoredClip] = []
    failures: list[store.Failure] = []
    try:
        for path, data in places.files(source).read(sorted(wanted)):
            good, bad = _store_file(path, data, wanted.pop(path, []), places.target)
            stored.extend(good)
            failures.extend(bad)
    except CorpusError as fault:
        report.missing_packages[source.package] = str(fault)
        return
    for left in wanted.values():
        failures.extend(store.Failure(item.clip.id, "its file is not in the source") for item in left)
    report.stored.extend(stored)
    report.failures.extend(failures)
    if len(failures) <= MAX_FAILURES_SHARE * len(clips):
        store.save_package(places.target, source.package, stored)


def gather(
    clips: Iterable[ExtraClip],
    catalog: Catalog,
    places: Places,
    report: FetchReport,
    step: Callable[[Source], None] = lambda source: None,
) -> None:
    """Every source of `clips`; `step` is called before each. The caller writes the index of the store."""
    for source, group in by_source(clips, catalog).items():
        step(source)
        gather_source(source, group, places, report)
