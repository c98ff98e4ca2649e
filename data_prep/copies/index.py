"""An index of landmarks on disk: segments of sorted triangles, read through memory maps.

A segment is whole or absent; adding recordings adds segments. Looking something up reads only the pages that hold its
triangles, so memory stays bounded however large the index is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.audio import Waveform
from data_prep.atomic import write_text
from data_prep.copies.landmarks import ASKED, KEPT, NAMES, Points, landmarks, names, pieces, triangles
from data_prep.errors import CorpusError

VERSION = 1
TIME_STEPS = 16
"""Of a frame, in stored points."""
BAND_STEPS = 128
MOST_RECORDINGS = 10_000
"""In a segment; a scan that is interrupted begins again after the last whole one."""
MOST_HITS = 150_000
"""Triangles that are looked at for one piece, those with the rarest names first."""
_BY_NAME = ("names", "owners", "places")
"""Arrays with a row for each triangle, in order of its name."""
_ARRAYS = (*_BY_NAME, "times", "bands", "first", "of", "start")
_TABLE = "recordings.jsonl"
_SLICES = 64
_PART = ".part-"
Fingerprint = list[tuple[float, Points]]
"""Start in seconds and landmarks of every piece of a recording."""


def fingerprint(waveform: Waveform) -> Fingerprint:
    """The landmarks of a recording, as dense as they are looked for."""
    return [(start, landmarks(samples, ASKED)) for start, samples in pieces(waveform)]


def kept(points: Points) -> Points:
    """Those of the landmarks that an index stores."""
    share = KEPT.points_per_second / ASKED.points_per_second
    return points.strongest(max(KEPT.least_points, round(len(points) * share)))


@dataclass(frozen=True)
class Piece:
    """A stretch of a recording in the index."""

    recording: str
    start: float
    """Seconds."""
    points: Points


@dataclass(frozen=True, slots=True)
class Known:
    """What an index keeps of a recording beside its landmarks."""

    name: str
    bytes: int
    """Size of the file."""
    modified_ns: int
    seconds: float
    pcm: str
    """Hash of the decoded samples; empty for a recording that cannot be read."""
    fault: str = ""
    """Why it cannot be read."""


@dataclass
class _Filling:
    """A segment in the making."""

    names: list[NDArray[np.uint32]] = field(default_factory=list)
    owners: list[NDArray[np.uint32]] = field(default_factory=list)
    places: list[NDArray[np.uint32]] = field(default_factory=list)
    points: list[Points] = field(default_factory=list)
    pieces: list[tuple[int, float]] = field(default_factory=list)
    recordings: list[Known] = field(default_factory=list)
    triangles: int = 0

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What a segment stores."""
        none = np.empty(0, np.uint32)
        name = np.concatenate([none, *self.names])
        order = np.argsort(name, kind="stable")
        time = np.concatenate([np.empty(0, np.float32), *(p.time for p in self.points)])
        band = np.concatenate([np.empty(0, np.float32), *(p.band for p in self.points)])
        return {
            "names": name[order],
            "owners": np.concatenate([none, *self.owners])[order],
            "places": np.concatenate([none, *self.places])[order],
            "times": np.rint(time * TIME_STEPS).clip(0).astype(np.uint16),
            "bands": np.rint(band * BAND_STEPS).clip(0).astype(np.uint16),
            "first": np.cumsum([0, *(len(p) for p in self.points)], dtype=np.int64),
            "of": np.array([number for number, _ in self.pieces], np.uint32),
            "start": np.array([start for _, start in self.pieces], np.float32),
        }


class Writer:
    """Fills an index folder; a segment is written whenever `triangles_per_segment` are together (12 bytes each)."""

    def __init__(self, folder: Path, triangles_per_segment: int = 8_000_000) -> None:
        self.folder = folder
        self.limit = triangles_per_segment
        self._filling = _Filling()
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_PART}*"):
            shutil.rmtree(leftover)

    def add(self, recording: Known, found: Fingerprint) -> None:
        """Take the landmarks of a recording in."""
        filling = self._filling
        filling.recordings.append(recording)
        for start, dense in found:
            points = kept(dense)
            corners = triangles(points, KEPT.partners)
            filling.names.append(names(points, corners))
            filling.owners.append(np.full(len(corners), len(filling.pieces), np.uint32))
            filling.places.append(_placed(points, corners))
            filling.pieces.append((len(filling.recordings) - 1, start))
            filling.points.append(points)
            filling.triangles += len(corners)
        if filling.triangles >= self.limit or len(filling.recordings) >= MOST_RECORDINGS:
            self.flush()

    def flush(self) -> None:
        """Write what is together as a segment."""
        filling, self._filling = self._filling, _Filling()
        if not filling.recordings:
            return
        temporary = self.folder / f"{_PART}segment"
        temporary.mkdir()
        for key, values in filling.arrays().items():
            np.save(temporary / f"{key}.npy", values, allow_pickle=False)
        _finish(temporary, filling.recordings, ())


def _finish(temporary: Path, recordings: Iterable[Known], instead_of: Iterable[str]) -> None:
    """Make a segment of a temporary folder, in the place of others if any are named."""
    head = json.dumps({"version": VERSION, "instead_of": list(instead_of)})
    rows = (json.dumps(asdict(one), ensure_ascii=False) for one in recordings)
    write_text(temporary / _TABLE, "".join(f"{line}\n" for line in (head, *rows)))
    number = 1 + max((int(path.name.split("-")[1]) for path in temporary.parent.glob("segment-*")), default=-1)
    temporary.rename(temporary.parent / f"segment-{number:06d}")


def merge(folder: Path) -> Index:
    """Join all segments into one, which is faster to look things up in; in bounded memory, whole or not at all."""
    index = Index(folder)
    if len(index.segments) < 2:
        return index
    temporary = folder / f"{_PART}segment"
    temporary.mkdir()
    segments = index.segments
    starts = np.cumsum([0, *(len(segment.of) for segment in segments)])
    columns = {key: _column(temporary / f"{key}.npy", index.triangles, np.uint32) for key in _BY_NAME}
    row = 0
    for low, high in pairwise(np.linspace(0, NAMES, _SLICES + 1).astype(np.int64)):
        spans = [np.searchsorted(segment.names, [low, high]) for segment in segments]
        parts = {
            "names": [s.names[a:b] for s, (a, b) in zip(segments, spans, strict=True)],
            "owners": [s.owners[a:b] + np.uint32(n) for s, n, (a, b) in zip(segments, starts, spans, strict=False)],
            "places": [s.places[a:b] for s, (a, b) in zip(segments, spans, strict=True)],
        }
        order = np.argsort(np.concatenate(parts["names"]), kind="stable")
        for key, values in parts.items():
            columns[key][row : row + len(order)] = np.concatenate(values)[order]
        row += len(order)
    recordings = np.cumsum([0, *(len(segment.recordings) for segment in segments)])
    points = np.cumsum([0, *(len(segment.times) for segment in segments)])
    rest = {
        "times": [segment.times for segment in segments],
        "bands": [segment.bands for segment in segments],
        "first": [s.first[:-1] + n for s, n in zip(segments, points, strict=False)] + [points[-1:]],
        "of": [s.of + np.uint32(n) for s, n in zip(segments, recordings, strict=False)],
        "start": [segment.start for segment in segments],
    }
    for key, arrays in rest.items():
        np.save(temporary / f"{key}.npy", np.concatenate(arrays), allow_pickle=False)
    columns.clear()  # closes the maps, which writes them
    old = sorted(folder.glob("segment-*"))  # those that an earlier merge replaced and a kill left behind, too
    _finish(temporary, (one for segment in segments for one in segment.recordings), [path.name for path in old])
    for path in old:
        shutil.rmtree(path)
    return Index(folder)


def _column(path: Path, rows: int, kind: type[np.generic]) -> NDArray[Any]:
    """A file of this many rows, to be written bit by bit."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(rows,))


def _placed(points: Points, corners: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Time of the first point (frames), its band (halves) and the length (frames) of each triangle in 32 bits."""
    time = np.rint(points.time[corners[:, 0]]).clip(0).astype(np.uint32)
    band = np.rint(points.band[corners[:, 0]] * 2).astype(np.uint32)
    length = np.rint(points.time[corners[:, 2]] - points.time[corners[:, 0]]).astype(np.uint32)
    packed = (time << np.uint32(16)) | (band << np.uint32(8)) | np.minimum(length, np.uint32(255))
    return np.asarray(packed, dtype=np.uint32)


@dataclass(frozen=True)
class Hits:
    """Triangles of an index that some of the asked ones may be copies of, one a row."""

    asked: NDArray[np.int64]
    """Which of the asked triangles."""
    piece: NDArray[np.int64]
    """Number of the piece in the index."""
    time: NDArray[np.float64]
    band: NDArray[np.float64]
    length: NDArray[np.float64]


class Segment:
    """One segment, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        try:
            with (folder / _TABLE).open(encoding="utf-8") as stream:
                head = json.loads(stream.readline())
                self.recordings = [Known(**json.loads(line)) for line in stream]
            if head["version"] != VERSION:
                raise ValueError(f"version {head['version']}, this program reads {VERSION}")
            self.instead_of = frozenset(head["instead_of"])
            loaded = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in _ARRAYS}
        except (OSError, ValueError, LookupError, TypeError) as fault:
            raise CorpusError(f"{folder}: not a segment of an index ({fault}); delete it and run again") from None
        self.names, self.owners, self.places = (loaded[key] for key in _BY_NAME)
        self.times, self.bands, self.first = loaded["times"], loaded["bands"], loaded["first"]
        self.of, self.start = loaded["of"], loaded["start"]
        self.bytes = sum(int(array.nbytes) for array in loaded.values())

    def piece(self, number: int) -> Piece:
        """A piece with its stored landmarks."""
        begin, end = int(self.first[number]), int(self.first[number + 1])
        time = (self.times[begin:end] / TIME_STEPS).astype(np.float32)
        band = (self.bands[begin:end] / BAND_STEPS).astype(np.float32)
        points = Points(time, band, np.arange(end - begin, dtype=np.int32))
        return Piece(self.recordings[int(self.of[number])].name, float(self.start[number]), points)

    def rows(self, asked: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row and number of rows of every name."""
        begin = np.searchsorted(self.names, asked, "left")
        return begin, np.searchsorted(self.names, asked, "right") - begin


class Index:
    """All segments of a folder; pieces are numbered through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [Segment(path) for path in sorted(folder.glob("segment-*"))]
        replaced = frozenset[str]().union(*(segment.instead_of for segment in found))
        self.segments = [segment for segment in found if segment.name not in replaced]
        self._starts = np.cumsum([0, *(len(segment.of) for segment in self.segments)])

    @cached_property
    def recordings(self) -> dict[str, Known]:
        """All recordings by name."""
        return {known.name: known for segment in self.segments for known in segment.recordings}

    @property
    def triangles(self) -> int:
        """How many there are."""
        return sum(len(segment.names) for segment in self.segments)

    def piece(self, number: int) -> Piece:
        """A piece by its number."""
        which = int(np.searchsorted(self._starts, number, "right")) - 1
        return self.segments[which].piece(number - int(self._starts[which]))

    def look_up(self, asked: NDArray[np.uint32], owner: NDArray[np.int64]) -> Hits:
        """Triangles with one of the names `asked`; `owner` says which asked triangle each name is of.

        Of more than `MOST_HITS` only those with the rarest names are given: they tell most.
        """
        order = np.argsort(asked, kind="stable")
        asked, owner = asked[order], owner[order]
        found = [segment.rows(asked) for segment in self.segments]
        total = np.asarray(np.sum([count for _, count in found], axis=0), dtype=np.int64)
        rarest = np.argsort(total, kind="stable")
        useful = np.zeros(len(asked), bool)
        useful[rarest] = np.cumsum(total[rarest]) <= MOST_HITS
        parts = [
            self._hits(which, begin[useful], count[useful], owner[useful]) for which, (begin, count) in enumerate(found)
        ]
        return Hits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _hits(
        self, which: int, begin: NDArray[np.int64], count: NDArray[np.int64], owner: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        segment = self.segments[which]
        rows = np.repeat(begin, count) + np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        places = segment.places[rows].astype(np.int64)
        return (
            np.repeat(owner, count),
            segment.owners[rows].astype(np.int64) + int(self._starts[which]),
            (places >> 16).astype(np.float64),
            (places >> 8 & 255) / 2.0,
            (places & 255).astype(np.float64),
        )
