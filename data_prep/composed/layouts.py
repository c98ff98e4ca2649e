"""Which sounds a scene has and when: one function for each kind of scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from data_prep.composed import clips
from data_prep.composed.apart import SPEECH
from data_prep.composed.clips import Sound
from data_prep.composed.plan import ScenePlan
from data_prep.composed.pool import Pool
from data_prep.errors import CorpusError

EDGE_SECONDS = 0.05
OVERLAP_LEAST_SECONDS = 0.4
OVERLAP_SHARES = (0.3, 0.8)
SINGLE_MOST_SECONDS = 2.0
REPEAT_GAP_SECONDS = 0.4
CUT_TRIES, LABEL_TRIES, PLACE_TRIES = 8, 12, 40
FEW = "it has {} labels of which {} can be told apart, with sound of {:g} s at least"


@dataclass(frozen=True)
class Slot:
    """A sound and its beginning in the scene, in seconds."""

    sound: Sound
    onset: float

    @property
    def label(self) -> str:
        """What is heard."""
        return self.sound.cut.label


@dataclass
class Draft:
    """A scene whose sounds are being chosen."""

    plan: ScenePlan
    pool: Pool
    rng: Generator
    seconds: float
    bed: Sound | None = None
    """The background, drawn first: no event may be taken for it."""
    lost: dict[str, str] = field(default_factory=dict)
    """Recordings that could not be read, and why."""

    def pick(self, label: str, most: float, keep: Callable[[Sound], bool] = lambda sound: True) -> Sound | None:
        """A sound of a label that `keep` wants; None when a few tries find none."""
        for cut in self.pool.draw_cuts(self.rng, label, CUT_TRIES):
            try:
                found = clips.sound(cut, self.plan.rate_hz, self.rng, self.plan.event_seconds[0], most)
            except CorpusError as fault:
                self.lost[cut.sample.audio] = str(fault)
                continue
            if found is not None and keep(found):
                return found
        return None

    def labels(self) -> list[str]:
        """Labels in random order, all of which can be told apart from each other and from the background."""
        taken = [self.bed.cut.label] if self.bed is not None else []
        return self.pool.draw_labels(self.rng, len(self.pool.labels), taken)

    def pick_several(self, count: int, most: float, keep: Callable[[Sound], bool] = lambda s: True) -> list[Sound]:
        """Sounds of labels that can be told apart.

        Raises:
            CorpusError: the split has too few.
        """
        found: list[Sound] = []
        for label in self.labels():
            if len(found) == count:
                break
            one = self.pick(label, most, keep)
            found += [one] if one is not None else []
        least = min(count, self.plan.events[0])
        if len(found) < least:
            what = FEW.format(len(self.pool.labels), len(found), self.plan.event_seconds[0])
            raise CorpusError(f"split '{self.pool.split}': a scene wants {least} sounds; {what}; add samples")
        return found

    def single(self) -> Sound:
        """A short sound whose repetitions can be counted.

        Raises:
            CorpusError: there is none.
        """
        most = min(SINGLE_MOST_SECONDS, self.plan.event_seconds[1])
        for label in self.labels()[:LABEL_TRIES]:
            if SPEECH not in self.pool.apart.families_of(label) and (one := self.pick(label, most, self.is_single)):
                return one
        raise CorpusError(
            f"split '{self.pool.split}': no sound is one short event that can be counted; "
            "add samples, or leave 'repetition' out of the plan's kinds"
        )

    def is_single(self, sound: Sound) -> bool:
        """Whether a sound is one short event, heard to its end."""
        short = sound.whole and self.length(sound) <= SINGLE_MOST_SECONDS
        return short and clips.is_single(sound.samples, self.plan.rate_hz)

    def length(self, sound: Sound) -> float:
        """Seconds."""
        return len(sound.samples) / self.plan.rate_hz

    def count(self, gap: float) -> int:
        """A number of events that fits."""
        low, high = self.plan.events
        fits = int((self.seconds - 2 * EDGE_SECONDS) / (self.plan.event_seconds[0] + gap))
        return max(1, min(fits, int(self.rng.integers(low, high + 1))))

    def cap(self, count: int, gap: float) -> float:
        """Longest that each of `count` events may be."""
        return min(self.plan.event_seconds[1], (self.seconds - 2 * EDGE_SECONDS) / count - gap)

    def place_apart(self, sounds: list[Sound], gap: float) -> list[Slot]:
        """One after the other with at least `gap` seconds between them, the rest of the time spread at random."""
        lengths = [self.length(one) for one in sounds]
        free = self.seconds - 2 * EDGE_SECONDS - sum(lengths) - gap * (len(sounds) - 1)
        spaces = self.rng.dirichlet(np.ones(len(sounds) + 1)) * max(0.0, free)
        at, slots = EDGE_SECONDS, []
        for one, length, space in zip(sounds, lengths, spaces, strict=False):
            at += float(space)
            slots.append(Slot(one, at))
            at += length + gap
        return slots


def sequence(draft: Draft) -> list[Slot]:
    """Different sounds one after the other."""
    gap = draft.plan.gap_seconds
    count = draft.count(gap)
    return draft.place_apart(draft.pick_several(count, draft.cap(count, gap)), gap)


def repetition(draft: Draft) -> list[Slot]:
    """One short sound several times."""
    gap, one = max(REPEAT_GAP_SECONDS, draft.plan.gap_seconds), draft.single()
    fits = int((draft.seconds - 2 * EDGE_SECONDS + gap) / (draft.length(one) + gap))
    return draft.place_apart([one] * min(fits, draft.count(gap)), gap)


def overlap(draft: Draft) -> list[Slot]:
    """Different sounds, each of which begins while the one before is heard."""
    count = max(2, draft.count(0.0))
    enough = max(OVERLAP_LEAST_SECONDS * 2, draft.plan.event_seconds[0])
    sounds = draft.pick_several(count, draft.cap(count, 0.0), lambda sound: draft.length(sound) >= enough)
    at, slots = 0.0, []
    for one in sounds:
        slots.append(Slot(one, at))
        shared = max(OVERLAP_LEAST_SECONDS, draft.length(one) * float(draft.rng.uniform(*OVERLAP_SHARES)))
        at += draft.length(one) - shared
    end = max(slot.onset + draft.length(slot.sound) for slot in slots)
    shift = float(draft.rng.uniform(EDGE_SECONDS, max(EDGE_SECONDS, draft.seconds - end - EDGE_SECONDS)))
    return [Slot(slot.sound, slot.onset + shift) for slot in slots]


def timeline(draft: Draft) -> list[Slot]:
    """Sounds at random times, overlapping or not; one that can be counted is often heard more than once."""
    count = draft.count(0.0)
    sounds = draft.pick_several(count, min(draft.plan.event_seconds[1], draft.seconds / 2))
    again = next((one for one in sounds if draft.is_single(one)), None)
    if again is not None and len(sounds) > 2 and draft.rng.random() < 0.5:
        others = [one for one in sounds if one is not again]
        more = int(draft.rng.integers(1, len(others)))
        sounds = [again] * (1 + more) + others[: len(others) - more]
    slots: list[Slot] = []
    for one in sounds:
        slots += _somewhere(draft, one, slots)
    return sorted(slots, key=lambda slot: slot.onset)


def _somewhere(draft: Draft, one: Sound, slots: list[Slot]) -> list[Slot]:
    """A random place not near the same label; none if a few tries find none."""
    gap = max(REPEAT_GAP_SECONDS, draft.plan.gap_seconds)
    length = draft.length(one)
    same = [slot for slot in slots if slot.label == one.cut.label]
    for _ in range(PLACE_TRIES):
        at = float(draft.rng.uniform(EDGE_SECONDS, max(EDGE_SECONDS, draft.seconds - length - EDGE_SECONDS)))
        ends = [(slot.onset - gap - length, slot.onset + draft.length(slot.sound) + gap) for slot in same]
        if not any(low < at < high for low, high in ends):
            return [Slot(one, at)]
    return []


LAYOUTS: dict[str, Callable[[Draft], list[Slot]]] = {
    "sequence": sequence,
    "overlap": overlap,
    "repetition": repetition,
    "timeline": timeline,
    "needle": sequence,  # over a background that goes on for the whole scene
}


def background(draft: Draft) -> Sound | None:
    """A steady sound; None where the split has none."""
    for label in draft.labels()[: 2 * LABEL_TRIES]:
        if SPEECH in draft.pool.apart.families_of(label):
            continue
        found = draft.pick(label, clips.MOST_READ_SECONDS, lambda s: clips.is_steady(s.samples, draft.plan.rate_hz))
        if found is not None:
            return found
    return None
