"""An index of landmarks on disk: segments of sorted triangles, read through memory maps.

A segment is whole or absent; adding recordings adds segments. Looking something up reads only the pages that hold its
triangles, so memory stays bounded however large the index is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alm.audio import Waveform
from data_prep.atomic import write_text
from data_prep.copies.landmarks import ASKED, KEPT, Points, landmarks, names, pieces, triangles
from data_prep.errors import CorpusError

VERSION = 1
TIME_STEPS = 16
"""Of a frame, in stored points."""
BAND_STEPS = 128
MOST_HITS = 150_000
"""Triangles that are looked at for one piece, those with the rarest names first."""
_ARRAYS = ("names", "owners", "places", "times", "bands", "first")
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


@dataclass
class _Filling:
    """A segment in the making."""

    names: list[NDArray[np.uint32]] = field(default_factory=list)
    owners: list[NDArray[np.uint32]] = field(default_factory=list)
    places: list[NDArray[np.uint32]] = field(default_factory=list)
    points: list[Points] = field(default_factory=list)
    pieces: list[tuple[str, float]] = field(default_factory=list)
    triangles: int = 0

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What a segment stores."""
        name = np.concatenate(self.names)
        order = np.argsort(name, kind="stable")
        return {
            "names": name[order],
            "owners": np.concatenate(self.owners)[order],
            "places": np.concatenate(self.places)[order],
            "times": np.rint(np.concatenate([p.time for p in self.points]) * TIME_STEPS).clip(0).astype(np.uint16),
            "bands": np.rint(np.concatenate([p.band for p in self.points]) * BAND_STEPS).clip(0).astype(np.uint16),
            "first": np.cumsum([0, *(len(p) for p in self.points)], dtype=np.int64),
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

    def add(self, recording: str, found: Fingerprint) -> None:
        """Take the landmarks of a recording in, under its name."""
        filling = self._filling
        for start, dense in found:
            points = kept(dense)
            corners = triangles(points, KEPT.partners)
            filling.names.append(names(points, corners))
            filling.owners.append(np.full(len(corners), len(filling.pieces), np.uint32))
            filling.places.append(_placed(points, corners))
            filling.pieces.append((recording, start))
            filling.points.append(points)
            filling.triangles += len(corners)
        if filling.triangles >= self.limit:
            self.flush()

    def flush(self) -> None:
        """Write what is together as a segment."""
        filling, self._filling = self._filling, _Filling()
        if not filling.pieces:
            return
        number = 1 + max((int(p.name.split("-")[1]) for p in self.folder.glob("segment-*")), default=-1)
        temporary = self.folder / f"{_PART}{number}"
        temporary.mkdir()
        for key, values in filling.arrays().items():
            np.save(temporary / f"{key}.npy", values, allow_pickle=False)
        write_text(temporary / "pieces.json", json.dumps({"version": VERSION, "pieces": filling.pieces}))
        temporary.rename(self.folder / f"segment-{number:06d}")


def _placed(points: Points, corners: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Time of the first point (frames), its band (halves) and the length (frames) of each triangle in 32 bits."""
    time = np.rint(points.time[corners[:, 0]]).clip(0).astype(np.uint32)
    band = np.rint(points.band[corners[:, 0]] * 2).astype(np.uint32)
    length = np.rint(points.time[corners[:, 2]] - points.time[corners[:, 0]]).astype(np.uint32)
    return (time << np.uint32(16)) | (band << np.uint32(8)) | np.minimum(length, np.uint32(255))


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
        try:
            table = json.loads((folder / "pieces.json").read_text(encoding="utf-8"))
            if table["version"] != VERSION:
                raise ValueError(f"version {table['version']}, this program reads {VERSION}")
            self.pieces: list[tuple[str, float]] = [(str(name), float(start)) for name, start in table["pieces"]]
            loaded = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in _ARRAYS}
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise CorpusError(f"{folder}: not a segment of an index ({fault}); delete the index and run again") from None
        self.names, self.owners, self.places = loaded["names"], loaded["owners"], loaded["places"]
        self.times, self.bands, self.first = loaded["times"], loaded["bands"], loaded["first"]
        self.bytes = sum(int(array.nbytes) for array in loaded.values())

    def piece(self, number: int) -> Piece:
        """A piece with its stored landmarks."""
        begin, end = int(self.first[number]), int(self.first[number + 1])
        time = (self.times[begin:end] / TIME_STEPS).astype(np.float32)
        band = (self.bands[begin:end] / BAND_STEPS).astype(np.float32)
        return Piece(*self.pieces[number], Points(time, band, np.arange(end - begin, dtype=np.int32)))

    def rows(self, asked: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row and number of rows of every name."""
        begin = np.searchsorted(self.names, asked, "left")
        return begin, np.searchsorted(self.names, asked, "right") - begin


class Index:
    """All segments of a folder; pieces are numbered through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = [Segment(path) for path in sorted(folder.glob("segment-*"))]
        self._starts = np.cumsum([0, *(len(segment.pieces) for segment in self.segments)])

    @cached_property
    def recordings(self) -> frozenset[str]:
        """Names of all recordings."""
        return frozenset(name for segment in self.segments for name, _ in segment.pieces)

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
        total = np.sum([count for _, count in found], axis=0, dtype=np.int64)
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

    def __iter__(self) -> Iterator[Piece]:
        """Every piece."""
        return (segment.piece(number) for segment in self.segments for number in range(len(segment.pieces)))
