"""What scenes are drawn from: stretches of samples that have one label, by split and label."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.random import Generator

from data_prep.composed.apart import MUSIC, SPEECH, Apart, load_apart
from data_prep.composed.plan import ScenePlan
from data_prep.errors import CorpusError
from data_prep.samples import Event, Sample

VAGUE = ("other ", "unknown", "misc", "unlabel", "undefined")
"""Beginnings of labels that do not say what is heard."""
MARGIN_SECONDS = 0.05
"""Two events nearer than this in a strongly labelled recording are not cut apart."""


@dataclass(frozen=True)
class Cut:
    """A stretch of a sample in which one thing is heard."""

    sample: Sample
    label: str
    start: float
    """Seconds from the start of the file."""
    seconds: float | None = None
    """None: to the end of the file."""
    text: str = ""
    """What is said in all of it."""
    speaker: str = ""

    @property
    def name(self) -> str:
        """Of this stretch alone."""
        return f"{self.sample.source}/{self.sample.id}@{self.start:.3f}"


def cuts(sample: Sample, only_complete: bool = False) -> Iterator[Cut]:
    """Stretches of a sample of which it is known what is heard: one event alone, or a sample with one label."""
    unsure = sample.extras.get("maybe") or sample.extras.get("made_of")  # composed already, or not known to the end
    if unsure or (only_complete and not sample.complete):
        return
    timed = [event for event in sample.events if event.onset is not None and event.offset is not None]
    if timed and len(timed) == len(sample.events):
        if sample.complete:
            yield from _alone(sample, timed)
        return
    label = _only_label(sample)
    if label:
        start = sample.start or 0.0
        yield Cut(sample, label, start, sample.seconds, sample.transcript, sample.voice.speaker)


def _only_label(sample: Sample) -> str:
    """What a sample is all about; speech and music need no label."""
    named = dict.fromkeys((*sample.labels, *(event.label for event in sample.events)))
    if named:
        return next(iter(named)) if len(named) == 1 else ""
    if sample.transcript or sample.voice.speaker:
        return SPEECH
    music = sample.music
    return MUSIC if music.genre or music.instruments or music.tempo_bpm else ""


def _alone(sample: Sample, events: list[Event]) -> Iterator[Cut]:
    for event in events:
        if event.background or not _is_alone(event, events):
            continue
        begin, end = event.onset or 0.0, event.offset or 0.0
        yield Cut(sample, event.label, (sample.start or 0.0) + begin, end - begin, event.text, event.speaker)


def _is_alone(event: Event, events: list[Event]) -> bool:
    begin, end = (event.onset or 0.0) - MARGIN_SECONDS, (event.offset or 0.0) + MARGIN_SECONDS
    return all(other is event or (other.offset or 0.0) < begin or (other.onset or 0.0) > end for other in events)


@dataclass(frozen=True)
class Pool:
    """The cuts of one split by label."""

    split: str
    by_label: dict[str, tuple[Cut, ...]]
    apart: Apart

    @cached_property
    def fingerprint(self) -> str:
        """Changes when other recordings would be drawn: names, times, labels and sizes of files, not their places."""
        digest = hashlib.sha256()
        for label, found in sorted(self.by_label.items()):
            for cut in found:
                digest.update(repr((label, cut.name, cut.seconds, cut.text, _size(cut))).encode())
        return digest.hexdigest()

    @cached_property
    def labels(self) -> list[str]:
        """All labels, sorted."""
        return sorted(self.by_label)

    def draw_label(self, rng: Generator, among: list[str]) -> str:
        """One label; those with more cuts somewhat more often."""
        weights = np.array([min(len(self.by_label[name]), 16) ** 0.5 for name in among])
        return among[int(rng.choice(len(among), p=weights / weights.sum()))]

    def draw_labels(self, rng: Generator, most: int, taken: Iterable[str] = ()) -> list[str]:
        """Up to `most` labels that can be told apart from each other and from `taken`."""
        chosen: list[str] = []
        left = self.apart.opposites(taken, self.labels)
        while left and len(chosen) < most:
            chosen.append(self.draw_label(rng, left))
            left = self.apart.opposites(chosen[-1:], left)
        return chosen

    def draw_cuts(self, rng: Generator, label: str, most: int) -> list[Cut]:
        """Up to `most` cuts of a label in random order."""
        found = self.by_label[label]
        return [found[int(place)] for place in rng.permutation(len(found))[:most]]


def _size(cut: Cut) -> int:
    try:
        return Path(cut.sample.audio).stat().st_size
    except OSError:
        return -1


def make_pools(samples: Iterable[Sample], plan: ScenePlan) -> dict[str, Pool]:
    """Pools by split, without labels that say too little.

    Of each label those cuts are kept whose names have the smallest hashes, so that any order of samples gives the same.

    Raises:
        CorpusError: no sample has a stretch of which it is known what is heard.
    """
    heaps: dict[tuple[str, str], list[tuple[int, str, Cut]]] = defaultdict(list)
    for sample in samples:
        for cut in cuts(sample, plan.only_complete):
            if cut.label in plan.leave_out or cut.label.lower().startswith(VAGUE):
                continue
            rank = int.from_bytes(hashlib.sha256(cut.name.encode()).digest()[:8], "big")
            heap = heaps[sample.split, cut.label]
            heapq.heappush(heap, (-rank, cut.name, cut))
            if len(heap) > plan.clips_per_label:
                heapq.heappop(heap)
    if not heaps:
        raise CorpusError("no sample has a single label or an event alone; scenes need clips of which it is known")
    by_split: dict[str, dict[str, tuple[Cut, ...]]] = defaultdict(dict)
    for (split, label), heap in heaps.items():
        by_split[split][label] = tuple(cut for *_, cut in sorted(heap, key=lambda entry: entry[1]))
    return {split: Pool(split, found, load_apart()) for split, found in by_split.items()}
