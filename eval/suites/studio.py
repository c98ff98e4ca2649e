"""Where recordings are composed and written: FLAC files, and for each of them what it was made of.

Everything is a pure function of the corpus and a seed. `provenance.jsonl` holds one line for each recording: which
recordings of the corpus it contains, from when to when and how loud, under which licence, and what was done to it; that
is enough to work every right answer out again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from alm.audio import load_audio
from alm.errors import RecordError
from eval.corpus import Clip, Corpus
from eval.harness import items as harness
from eval.harness.items import BenchCard, Item
from eval.harness.prepared import Prepared, write_prepared
from eval.kinds.base import LabelSet
from eval.suites import signal
from eval.suites.pool import Pool, pool_of
from eval.suites.signal import Samples

RATE_HZ = 44_100
"""Of composed recordings."""
AUDIO, PROVENANCE = "audio", "provenance.jsonl"
EVENT_SECONDS = 3.0
"""Longest part of a recording that is one event."""
EVENT_DB = -22.0
TAIL_SECONDS = 0.2
VERSION = "1"
Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]


@contextmanager
def silent(what: str, total: int) -> Iterator[Advance]:
    """Progress that nobody sees."""
    yield lambda count: None


@dataclass(frozen=True)
class Order:
    """What is asked of a suite."""

    corpus: Corpus
    out: Path
    """Folder in which `alm-NAME` is made."""
    items: int
    """About so many questions, rounded so that they stay balanced."""
    seed: int = 0
    progress: Progress = silent

    @cached_property
    def pool(self) -> Pool:
        """The recordings to draw from."""
        return pool_of(self.corpus, self.seed)


@dataclass(frozen=True)
class Part:
    """One recording of the corpus within a composed one; times in seconds from its beginning."""

    clip: Clip
    name: str
    """Class it counts as."""
    onset: float
    offset: float
    level_db: float | None = None
    """None: as it is."""
    background: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        row = {"clip": self.clip.id, "sha": self.clip.sha, "package": self.clip.package, "licence": self.clip.licence}
        times = {"onset": round(self.onset, 4), "offset": round(self.offset, 4)}
        return {**row, "class": self.name, **times, "level_db": self.level_db, "background": self.background}


@dataclass
class Canvas:
    """A recording that is being composed."""

    rate: int = RATE_HZ
    parts: list[Part] = field(default_factory=list)
    placed: list[tuple[int, Samples]] = field(default_factory=list)

    def add(
        self, clip: Clip, name: str, samples: Samples, onset: float, level_db: float | None, background: bool = False
    ) -> Part:
        """Place a sound; its times are those of its samples."""
        start = round(onset * self.rate)
        end = start + len(samples)
        part = Part(clip, name, start / self.rate, end / self.rate, level_db, background)
        self.parts.append(part)
        self.placed.append((start, samples))
        return part

    @property
    def end(self) -> float:
        return max((p.offset for p in self.parts), default=0.0)

    def mixed(self, seconds: float | None = None) -> tuple[Samples, list[Part]]:
        """All sounds in one array, and the parts at the level they ended up with.

        Args:
            seconds: length; a short tail after the last sound if None.
        """
        count = round((self.end + TAIL_SECONDS if seconds is None else seconds) * self.rate)
        total = np.zeros(count, dtype=np.float32)
        for start, samples in self.placed:
            piece = samples[: max(0, count - start)]
            total[start : start + len(piece)] += piece
        total, factor = signal.under_peak(total)
        lower = 20 * float(np.log10(factor))
        parts = [replace(p, level_db=None if p.level_db is None else round(p.level_db + lower, 2)) for p in self.parts]
        return total, parts


class Studio:
    """Writes one suite's recordings and its prepared benchmarks into one folder."""

    def __init__(self, name: str, order: Order) -> None:
        self.name, self.order = name, order
        self.folder = order.out / name
        self._rows: dict[str, dict[str, Any]] = {}
        self._clips: dict[str, harness.Clip] = {}
        (self.folder / AUDIO).mkdir(parents=True, exist_ok=True)
        for old in (self.folder / AUDIO).glob("*.flac"):
            old.unlink()

    def cut(
        self, clip: Clip, seconds: float = EVENT_SECONDS, level_db: float = EVENT_DB, rate: int = RATE_HZ
    ) -> Samples:
        """The audible part of a recording as one event: at most so long, levelled, without clicks at its ends."""
        recording = load_audio(clip.path)
        heard = signal.heard_part(recording.samples, recording.rate)[: max(1, round(seconds * recording.rate))]
        if not len(heard):
            raise RecordError(f"{clip.path}: nothing is heard in it; fetch the corpus again")
        piece = signal.resampled(heard, recording.rate, rate)
        return signal.to_level(signal.faded(piece, rate), rate, level_db)

    def add(
        self,
        canvas: Canvas,
        clip: Clip,
        name: str,
        onset: float,
        seconds: float = EVENT_SECONDS,
        level_db: float = EVENT_DB,
        background: bool = False,
    ) -> Part:
        """Cut an event and place it."""
        samples = self.cut(clip, seconds, level_db, canvas.rate)
        return canvas.add(clip, name, samples, onset, level_db, background)

    def write(
        self,
        name: str,
        samples: Samples,
        rate: int,
        parts: Iterable[Part],
        steps: Sequence[dict[str, Any]] = (),
    ) -> harness.Clip:
        """One recording with what it was made of; the same name twice is the same recording."""
        safe = file_name(name)
        if safe not in self._clips:
            path = self.folder / AUDIO / f"{safe}.flac"
            soundfile.write(path, samples, rate, subtype="PCM_16")
            self.register(safe, len(samples) / rate, rate, parts, steps)
        return self._clips[safe]

    def register(
        self, name: str, seconds: float, rate: int, parts: Iterable[Part], steps: Sequence[dict[str, Any]] = ()
    ) -> harness.Clip:
        """Note a recording that lies in the folder already."""
        path = f"{AUDIO}/{name}.flac"
        sha256 = file_sha256(self.folder / path)
        self._clips[name] = harness.Clip(path=path, sha256=sha256)
        self._rows[path] = {
            "audio": path, "sha256": sha256, "seconds": round(seconds, 4), "rate": rate,
            "parts": [p.to_dict() for p in parts], "steps": list(steps),
        }  # fmt: skip
        return self._clips[name]

    def canvas(self, name: str, canvas: Canvas, seconds: float | None = None) -> harness.Clip:
        """Mix and write a composed recording."""
        samples, parts = canvas.mixed(seconds)
        return self.write(name, samples, canvas.rate, parts)

    def original(self, clip: Clip, name: str, seconds: float = 10.0) -> harness.Clip:
        """The beginning of a recording, as it is."""
        safe = file_name(clip.id if clip.seconds <= seconds else f"{clip.id}-{seconds:g}s")
        if safe in self._clips:
            return self._clips[safe]
        recording = load_audio(clip.path)
        samples = recording.samples[: round(seconds * recording.rate)]
        part = Part(clip, name, 0.0, len(samples) / recording.rate)
        return self.write(safe, samples, recording.rate, [part])

    def finish(self, items: Sequence[Item], part: str = "", label_sets: Iterable[LabelSet] = ()) -> Prepared:
        """Write a prepared benchmark of these questions.

        Args:
            part: name of one benchmark of several that share the recordings; its folder lies in the suite's.
        """
        self._write_provenance()
        used = sorted({c.path for i in items for c in i.audios})
        licences = sorted({str(p["licence"]) for u in used for p in self._rows[u]["parts"] if p["licence"]})
        order = self.order
        card = BenchCard(
            bench=f"{self.name}-{part}" if part else self.name,
            version=VERSION,
            split=order.corpus.judged,
            licence=" AND ".join(licences) or "none stated",
            source=f"generated: {self.name}, {order.items} items, seed {order.seed}, corpus {order.corpus.digest}",
            items=len(items),
            files={u: str(self._rows[u]["sha256"]) for u in used},
            data_root=".." if part else "",
        )
        return write_prepared(self.folder / part if part else self.folder, card, items, label_sets)

    def _write_provenance(self) -> None:
        lines = (json.dumps(self._rows[k], ensure_ascii=False) + "\n" for k in sorted(self._rows))
        (self.folder / PROVENANCE).write_text("".join(lines), encoding="utf-8")


def file_name(text: str) -> str:
    """Text that every file system takes as a name.

    >>> file_name("a b/c.1")
    'a-b-c.1'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)


def file_sha256(path: Path) -> str:
    """Of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(folder: Path) -> dict[str, dict[str, Any]]:
    """What each recording of a suite was made of, by path.

    Raises:
        RecordError: the folder has no such list.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        raise RecordError(f"{path}: no such file; make the suite again with `alm eval make`")
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {row["audio"]: row for row in rows}
