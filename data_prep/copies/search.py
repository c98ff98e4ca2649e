"""Comparing many recordings: index them once, look each one up, list the pairs; every step can be interrupted."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from alm.audio import load_audio
from alm.errors import AudioError
from data_prep.copies.exact import pcm_digest
from data_prep.copies.index import Fingerprint, Index, Known, Writer, fingerprint, merge
from data_prep.copies.matching import CopyLimits, Match, find
from data_prep.copies.recordings import Recording
from data_prep.errors import CorpusError
from data_prep.journal import Journal, journal
from data_prep.sources.likeness import groups

Given = TypeVar("Given")
Made = TypeVar("Made")
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Pair:
    """Two recordings of which one is, or has in it, a copy of the other."""

    recording: str
    """The one that was looked for."""
    other: str
    """The one that it was found in, of the index."""
    same_samples: bool
    match: Match | None = None
    """None for the very same samples."""

    @property
    def score(self) -> float:
        """How sure it is; the very same samples are as sure as can be."""
        return self.match.score if self.match else float("inf")

    def to_json(self) -> dict[str, Any]:
        """JSON-able; `pair_from_json` is its inverse."""
        told = {} if self.match is None else dataclasses.asdict(self.match)
        told.pop("recording", None)
        return {"recording": self.recording, "other": self.other, "same_samples": self.same_samples, **told}


def pair_from_json(row: dict[str, Any]) -> Pair:
    """The pair that `to_json` wrote."""
    told = {k: v for k, v in row.items() if k not in ("recording", "other", "same_samples")}
    match = Match(recording=row["other"], **told) if told else None
    return Pair(row["recording"], row["other"], bool(row["same_samples"]), match)


def fill(folder: Path, recordings: Sequence[Recording], advance: Advance, workers: int = 1) -> Index:
    """The index of these recordings in `folder`; those that lie there already are not read again.

    A recording that cannot be read is noted with its reason, not passed over.

    Raises:
        CorpusError: a recording has changed since, or the folder has an index of other recordings.
    """
    known = Index(folder).recordings if folder.is_dir() else {}
    given = {one.name for one in recordings}
    if strange := next((name for name in known if name not in given), None):
        raise CorpusError(f"{folder}: has '{strange}', which is not among these recordings; give another --work folder")
    missing = [one for one in recordings if one.name not in known]
    for one in recordings:
        if one.name in known and one.path.is_file() and known[one.name].modified_ns != one.path.stat().st_mtime_ns:
            raise CorpusError(f"{folder}: '{one.name}' has changed since it was indexed; delete the folder, run again")
    advance(len(known))
    writer = Writer(folder)
    try:
        with _mapped(_taken, missing, workers) as results:
            for row, found in results:
                writer.add(row, found)
                advance(1)
    finally:
        writer.flush()  # when it is interrupted, too
    return merge(folder)


def _taken(recording: Recording) -> tuple[Known, Fingerprint]:
    try:
        stat = recording.path.stat()
    except OSError as fault:
        return Known(recording.name, 0, 0, 0.0, "", f"cannot be opened ({fault.strerror})"), []
    try:
        waveform = load_audio(recording.path)
    except AudioError as fault:
        return Known(recording.name, stat.st_size, stat.st_mtime_ns, 0.0, "", str(fault)[:300]), []
    digest, seconds = pcm_digest(waveform), round(waveform.seconds, 3)
    return Known(recording.name, stat.st_size, stat.st_mtime_ns, seconds, digest), fingerprint(waveform)


@lru_cache(maxsize=2)
def _opened(folder: Path) -> Index:
    """The index, once in every process that looks things up."""
    return Index(folder)


def _looked_up(recording: Recording, folder: Path, limits: CopyLimits) -> tuple[str, str, list[Match]]:
    """Name and hash of the samples of a recording, and what it matches; an unreadable one matches nothing."""
    try:
        waveform = load_audio(recording.path)
    except AudioError:
        return recording.name, "", []
    return recording.name, pcm_digest(waveform), find(_opened(folder), fingerprint(waveform), limits)


def same_samples(index: Index) -> dict[str, list[str]]:
    """Names of the recordings of every hash of samples."""
    found: dict[str, list[str]] = defaultdict(list)
    for known in index.recordings.values():
        if known.pcm:
            found[known.pcm].append(known.name)
    return found


def look_up(
    index: Index,
    recordings: Sequence[Recording],
    known: Path,
    limits: CopyLimits,
    advance: Advance,
    workers: int = 1,
) -> Iterator[Pair]:
    """Pairs of each recording with those of the index; what was looked up before is read from `known`."""
    by_hash = same_samples(index)
    work = partial(_looked_up, folder=index.folder, limits=limits)
    with journal(known) as book:
        done = _done(book, limits)
        advance(sum(one.name in done for one in recordings))
        rest = [one for one in recordings if one.name not in done]
        for one in recordings:
            yield from done.get(one.name, ())
        with _mapped(work, rest, workers) as results:
            for name, digest, matches in results:
                equal = by_hash.get(digest, []) if digest else []
                pairs = [Pair(name, other, True) for other in equal]
                pairs += [Pair(name, m.recording, False, m) for m in matches if m.recording not in equal]
                row = {"name": name, "limits": dataclasses.astuple(limits), "pairs": [pair.to_json() for pair in pairs]}
                book.append(json.dumps(row) + "\n")
                advance(1)
                yield from pairs


def _done(book: Journal, limits: CopyLimits) -> dict[str, list[Pair]]:
    """What an earlier run found under the same limits."""
    done = {}
    for line in book.lines(_is_row):
        row = json.loads(line)
        if tuple(row["limits"]) == dataclasses.astuple(limits):
            done[row["name"]] = [pair_from_json(pair) for pair in row["pairs"]]
    return done


def _is_row(line: str) -> bool:
    try:
        return bool({"name", "limits", "pairs"} <= json.loads(line).keys())
    except (ValueError, AttributeError, RecursionError):
        return False


@dataclass(frozen=True)
class CopyReport:
    """What occurs more than once."""

    recordings: int
    seconds: float
    pairs: tuple[Pair, ...]
    unreadable: dict[str, str]
    """Reason by name."""
    splits: dict[str, tuple[str, ...]]
    """Which splits use each recording."""

    @property
    def groups(self) -> list[list[str]]:
        """Recordings that hang together by copies, largest groups first."""
        members: dict[str, list[str]] = defaultdict(list)
        named = sorted({name for pair in self.pairs for name in (pair.recording, pair.other)})
        for name, group in groups(named, [(pair.recording, pair.other) for pair in self.pairs]).items():
            members[group].append(name)
        return sorted(members.values(), key=lambda group: (-len(group), group))

    @property
    def across_splits(self) -> list[Pair]:
        """Pairs of which one side is in training and the other is not, or the same in other splits."""
        return [p for p in self.pairs if set(self.splits.get(p.recording, ())) ^ set(self.splits.get(p.other, ()))]

    def to_json(self) -> dict[str, Any]:
        """JSON-able, as `copies.json` holds it."""
        return {
            "version": 1,
            "recordings": self.recordings,
            "seconds": self.seconds,
            "same_samples": sum(pair.same_samples for pair in self.pairs),
            "near": sum(not pair.same_samples for pair in self.pairs),
            "across_splits": len(self.across_splits),
            "groups": self.groups,
            "unreadable": self.unreadable,
            "pairs": [
                pair.to_json() | {"splits": [self.splits.get(pair.recording, ()), self.splits.get(pair.other, ())]}
                for pair in self.pairs
            ],
        }


def copies_among(
    recordings: Sequence[Recording],
    work: Path,
    limits: CopyLimits = CopyLimits(),
    advance: Advance = lambda count: None,
    workers: int = 1,
) -> CopyReport:
    """Everything that occurs more than once among the recordings; `work` keeps index and journal.

    `advance` is called with a number of recordings, twice the number of all in total: once for the index, once for
    the looking up.
    """
    index = fill(work / "index", recordings, advance, workers)
    best: dict[tuple[str, str], Pair] = {}
    for pair in look_up(index, recordings, work / "looked-up.jsonl", limits, advance, workers):
        key = (min(pair.recording, pair.other), max(pair.recording, pair.other))
        if pair.recording != pair.other and (key not in best or pair.score > best[key].score):
            best[key] = pair
    faults = {known.name: known.fault for known in index.recordings.values() if known.fault}
    pairs = sorted(best.values(), key=lambda pair: (-pair.score, pair.recording, pair.other))
    seconds = sum(known.seconds for known in index.recordings.values())
    return CopyReport(len(recordings), round(seconds, 1), tuple(pairs), faults, {o.name: o.splits for o in recordings})


@contextmanager
def _mapped(
    work: Callable[[Given], Made], items: Iterable[Given], workers: int
) -> Iterator[Iterator[Made]]:
    """`work` over the items, in order, in this process or in several."""
    if workers <= 1:
        yield map(work, items)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield pool.imap(work, items, chunksize=8)
