"""Records become a folder of shards: sorted into shards by what they are about, packed, indexed, described."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import remove_leftovers, write_text
from data_prep.code_version import code_version
from data_prep.errors import CorpusError
from data_prep.places import Places
from data_prep.records import Record
from data_prep.shards.card import card
from data_prep.shards.layout import CARD, INDEX, WORK, Index, Shard, ShardSettings, write_index
from data_prep.shards.packing import Job, pack
from data_prep.shards.spool import Section, Spool, spooled

KEYS = 2**64
MEGABYTE = 10**6
ROW_BYTES = 1_500
"""About what a record adds to a shard besides its recordings."""
TITLE = "Recordings and instruction rows"
CODE = ("data_prep.shards.packing",)


Runner = Callable[[Callable[[Job], Shard], list[Job]], Iterator[Shard]]
"""Runs a function on jobs, anywhere; results come in the order of the jobs."""


def in_threads(workers: int) -> Runner:
    """In this process; reading, encoding and hashing leave Python's lock alone."""

    def run(work: Callable[[Job], Shard], jobs: list[Job]) -> Iterator[Shard]:
        if workers == 1:
            yield from map(work, jobs)
            return
        with ThreadPoolExecutor(workers) as pool:
            try:
                yield from pool.map(work, jobs)
            finally:
                pool.shutdown(cancel_futures=True)

    return run


def write_shards(
    records: Iterable[Record],
    folder: Path,
    settings: ShardSettings = ShardSettings(),
    *,
    recordings: Places | Path = Path(),
    work: Path | None = None,
    run: Runner | None = None,
    title: str = "",
    planned: Callable[[int], None] = lambda shards: None,
    advance: Callable[[], None] = lambda: None,
) -> Index:
    """Write `folder` anew, keeping every shard that an earlier run made of the same inputs.

    Args:
        records: of any splits, in any order; the shards do not depend on it.
        recordings: the folder that paths in records are relative to.
        work: for lines on their way and notes on what is done; kept for the next run, can be removed.
        run: where shards are made; in this thread when not given.
        title: of the data card.
        planned: called with the number of shards once it is known.
        advance: called after each shard.

    Raises:
        RecordError: an id occurs twice in a split.
        CorpusError: `folder` holds something else, or a recording is absent or unreadable and `settings` refuse that.
    """
    places = recordings if isinstance(recordings, Places) else Places(recordings)
    work = work or folder / WORK
    _check_target(folder)
    for leftovers in (folder, work):
        remove_leftovers(leftovers)
    spool = spooled(records, work / "spool.jsonl", settings, places)
    try:
        jobs = list(_jobs(spool, folder, work, settings, places))
        planned(len(jobs))
        (folder / INDEX).unlink(missing_ok=True)  # from here on it might not say what is there
        shards = []
        for shard in (run or in_threads(1))(partial(pack, code=code_version(*CODE)), jobs):
            shards.append(shard)
            advance()
    finally:
        spool.path.unlink(missing_ok=True)
    index = Index(settings, tuple(shard for shard in shards if shard.samples or shard.lost_records))
    write_text(folder / CARD, card(index, title or TITLE))
    write_index(index, folder)
    _remove_stale(folder, work, index)
    return index


def _check_target(folder: Path) -> None:
    """A folder that is not one of shards is left alone."""
    ours = (folder / INDEX).is_file() or (folder / WORK).is_dir()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not ours):
        raise CorpusError(f"{folder}: holds something else than shards; give a new folder, or one of shards")
    (folder / WORK).mkdir(parents=True, exist_ok=True)


def _jobs(spool: Spool, folder: Path, work: Path, settings: ShardSettings, places: Places) -> Iterator[Job]:
    for section in spool.sections:
        for number, (low, high) in enumerate(_bounds(section, _shards_of(section, spool, settings, places))):
            yield Job(
                name=f"{section.split}/{section.kind}/{number:05d}",
                spool=spool.path,
                keys=section.keys[low:high].tolist(),
                places=section.places[low:high].tolist(),
                folder=folder,
                work=work,
                settings=settings,
                recordings=places,
            )


def _shards_of(section: Section, spool: Spool, settings: ShardSettings, places: Places) -> int:
    """How many shards a section gets, by the sizes of its files as they are."""
    first = np.flatnonzero(np.diff(section.keys, prepend=section.keys[:1] + np.uint64(1)))
    size = ROW_BYTES * len(section.keys)
    for row in spool.lines(section.places[first]):
        size += sum(_size(places.path(name)) for name in row["audios"])
    by_size = math.ceil(size / (settings.megabytes * MEGABYTE))
    return max(1, by_size, math.ceil(len(section.keys) / settings.records))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the packing says so


def _bounds(section: Section, count: int) -> Iterator[tuple[int, int]]:
    """Which records each shard takes: keys are spread evenly, so equal ranges of them are about equally large."""
    borders: NDArray[np.uint64] = np.array([KEYS * number // count for number in range(count)], np.uint64)
    starts = [*np.searchsorted(section.keys, borders).tolist(), len(section.keys)]
    yield from pairwise(starts)


def _remove_stale(folder: Path, work: Path, index: Index) -> None:
    """Shards of an earlier, differently cut run."""
    names = {shard.name for shard in index.shards}
    for root, endings in ((folder, (".tar", ".parquet")), (work / "shards", (".json",))):
        for path in sorted(root.glob("*/*/[0-9][0-9][0-9][0-9][0-9].*")):
            if path.suffix in endings and path.relative_to(root).with_suffix("").as_posix() not in names:
                path.unlink()
    if not any((folder / WORK).iterdir()):
        (folder / WORK).rmdir()
