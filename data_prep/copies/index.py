"""An index of landmarks on disk: segments of sorted triangles, read through memory maps.

A segment holds the pieces of some thousand recordings and is whole or absent; adding more recordings adds segments,
and `merge` joins them. Looking something up reads only the pages that hold its triangles, so memory stays bounded
however large the index is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alm.audio import Waveform
from data_prep.atomic import write_text
from data_prep.copies.landmarks import (
    ASKED,
    KEPT,
    Points,
    landmarks,
    names,
    pieces,
    triangles,
)
from data_prep.errors import CorpusError

VERSION = 1
TIME_STEPS = 16
"""Of a frame, in stored points."""
BAND_STEPS = 128
COMMON = 96
"""A triangle that more pieces of one segment have than this tells nothing, and is passed over."""
_ARRAYS = ("names", "owners", "places", "times", "bands", "first")


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


def fingerprint(waveform: Waveform) -> list[tuple[float, Points]]:
    """Start in seconds and landmarks of every piece, as dense as they are looked for."""
    return [(start, landmarks(samples, ASKED)) for start, samples in pieces(waveform)]


def kept(points: Points) -> Points:
    """Those of the landmarks that an index stores."""
    share = KEPT.points_per_second / ASKED.points_per_second
    return points.strongest(max(KEPT.least_points, round(len(points) * share)))


class Writer:
    """Fills an index folder; a segment is written whenever `triangles_per_segment` are together."""

    def __init__(self, folder: Path, triangles_per_segment: int = 8_000_000) -> None:
        self.folder = folder
        self.limit = triangles_per_segment
        self._filling = _Filling()
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".part-*"):
            shutil.rmtree(leftover)

    def add(self, recording: str, found: list[tuple[float, Points]]) -> None:
        """Take the landmarks of a recording in, under its name."""
        filling = self._filling
        for start, dense in found:
            points = kept(dense)
            corners = triangles(points, KEPT.partners)
            owner = len(filling.pieces)
            filling.pieces.append((recording, start))
            filling.points.append(points)
            filling.names.append(names(points, corners))
            filling.owners.append(np.full(len(corners), owner, np.uint32))
            filling.places.append(_placed(points, corners))
            filling.triangles += len(corners)
        if filling.triangles >= self.limit:
            self.flush()

    def flush(self) -> None:
        """Write what is together as a segment."""
        filling, self._filling = self._filling, _Filling()
        if not filling.pieces:
            return
        number = 1 + max((int(p.name.split("-")[1]) for p in self.folder.glob("segment-*")), default=-1)
        target = self.folder / f"segment-{number:06d}"
        temporary = self.folder / f".part-{os.getpid()}-{number}"
        temporary.mkdir()
        name = np.concatenate(filling.names)
        order = np.argsort(name, kind="stable")
        ends = np.cumsum([0, *(len(points) for points in filling.points)])
        arrays = {
            "names": name[order],
            "owners": np.concatenate(filling.owners)[order],
            "places": np.concatenate(filling.places)[order],
            "times": np.rint(np.concatenate([p.time for p in filling.points]) * TIME_STEPS).astype(np.uint16),
            "bands": np.rint(np.concatenate([p.band for p in filling.points]) * BAND_STEPS).astype(np.uint16),
            "first": ends.astype(np.int64),
        }
        for key, values in arrays.items():
            np.save(temporary / f"{key}.npy", values, allow_pickle=False)
        write_text(temporary / "pieces.json", json.dumps({"version": VERSION, "pieces": filling.pieces}))
        temporary.rename(target)


def _placed(points: Points, corners: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Time of the first point (frames), its band (halves) and the length (frames) of each triangle in 32 bits."""
    time = np.rint(points.time[corners[:, 0]]).astype(np.uint32)
    band = np.rint(points.band[corners[:, 0]] * 2).astype(np.uint32)
    length = np.rint(points.time[corners[:, 2]] - points.time[corners[:, 0]]).astype(np.uint32)
    return (time << np.uint32(16)) | (band << np.uint32(8)) | np.minimum(length, np.uint32(255))


@dataclass(frozen=True)
class Hits:
    """Triangles of an index that some of the asked ones may be copies of."""

    asked: NDArray[np.int64]
    """Which of the asked triangles."""
    piece: NDArray[np.int64]
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
        # Where every 256th part of the names begins: a lookup then touches a page or two.
        self.size = sum(int(array.nbytes) for array in loaded.values())

    def piece(self, number: int) -> Piece:
        """A piece with its stored landmarks."""
        begin, end = int(self.first[number]), int(self.first[number + 1])
        time = (self.times[begin:end] / TIME_STEPS).astype(np.float32)
        band = (self.bands[begin:end] / BAND_STEPS).astype(np.float32)
        return Piece(*self.pieces[number], Points(time, band, np.arange(end - begin, dtype=np.int32)))

    def look_up(self, asked: NDArray[np.uint32], owner: NDArray[np.int64]) -> Hits:
        """All triangles with one of the names `asked`; `owner` says which asked triangle each name is of."""
        order = np.argsort(asked, kind="stable")
        sorted_names = asked[order]
        begin = np.searchsorted(self.names, sorted_names, "left")
        count = np.searchsorted(self.names, sorted_names, "right") - begin
        useful = (count > 0) & (count <= COMMON)
        begin, count, who = begin[useful], count[useful], owner[order][useful]
        total = int(count.sum())
        within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
        rows = np.repeat(begin, count) + within
        places = self.places[rows].astype(np.int64)
        return Hits(
            np.repeat(who, count),
            self.owners[rows].astype(np.int64),
            (places >> 16).astype(np.float64),
            (places >> 8 & 255) / 2.0,
            (places & 255).astype(np.float64),
        )


class Index:
    """All segments of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = [Segment(path) for path in sorted(folder.glob("segment-*"))]

    def recordings(self) -> Iterator[str]:
        """Names of all recordings, each once."""
        seen: set[str] = set()
        for segment in self.segments:
            for name, _ in segment.pieces:
                if name not in seen:
                    seen.add(name)
                    yield name
