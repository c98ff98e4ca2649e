"""Sound events: a class, a time and perhaps a direction; read from an answer and compared segment by segment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from eval.scorers.quantities import number_in
from eval.scorers.records import Read, field_of, lines_of, objects_in, says_nothing, text_of, times_of
from eval.scorers.spans import Tally, spans_in_line
from eval.text import simple

MOST_EVENTS = 1000
"""Of one answer that are looked at: comparing takes the square of their number."""
MOST_WORDS = 6
"""Of the name of a class that stands before its times."""
NAMES = ("class", "label", "event", "eventlabel", "sound", "name", "type", "category", "speaker", "text")
AZIMUTH, ELEVATION = ("azimuth", "azi", "az", "azimuthdeg"), ("elevation", "ele", "el", "elevationdeg")


@dataclass(frozen=True)
class Event:
    """One event; the direction in degrees, anticlockwise from the front and up from the horizon."""

    label: str
    start: float
    """Seconds."""
    end: float
    azimuth: float = 0.0
    elevation: float = 0.0


def event_of(record: Mapping[str, Any]) -> Event | None:
    """An event out of a benchmark's or a model's object; None where class or times are missing."""
    label, times = text_of(record, NAMES), times_of(record)
    if not label or times is None:
        return None
    return Event(label, *times, _angle(field_of(record, AZIMUTH)), _angle(field_of(record, ELEVATION)))


def _angle(value: object) -> float:
    if isinstance(value, str):
        value = number_in(value).value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 720:
        return 0.0
    return float(value)


def read_events(text: str, labels: Sequence[str] = ()) -> Read[Event]:
    """
    Args:
        labels: the classes that there are; a class named otherwise stays as it is and counts as a false alarm.

    >>> read_events('[{"class": "Dog Bark", "start": 0, "end": 1.5, "azi": -30}]', ("dog_bark",)).value
    [Event(label='dog_bark', start=0.0, end=1.5, azimuth=-30.0, elevation=0.0)]
    >>> [e.label for e in read_events("dog: 0:01 - 0:02").value]
    ['dog']
    >>> [(e.label, e.start, e.end) for e in read_events("A dog barking (0.0-1.5 s); rain (2.0-3.0 s).").value]
    [('A dog barking', 0.0, 1.5), ('rain', 2.0, 3.0)]
    """
    known = {_plain(name): name for name in labels}
    found, rule = objects_in(text)
    if found is not None:
        events = [e for r in found[:MOST_EVENTS] if isinstance(r, dict) and (e := event_of(r))]
        if events or not found:
            return Read([_named(e, known) for e in events], rule, len(found) - len(events))
    if says_nothing(text):
        return Read([], "nothing")
    events = [e for line in lines_of(text) for e in _in_line(line)][:MOST_EVENTS]
    return Read([_named(e, known) for e in events], "text") if events else Read(None, rule)


def _plain(label: str) -> str:
    return simple(label.replace("_", " ")) or label


def _named(event: Event, known: Mapping[str, str]) -> Event:
    label = known.get(_plain(event.label), event.label)
    return Event(label, event.start, event.end, event.azimuth, event.elevation)


def _in_line(line: str) -> Iterable[Event]:
    """ "dog: 0:01 - 0:02, 0:05 - 0:07", or "dog (0.5-2.0 s); rain (3-4 s)"."""
    name, colon, rest = line.partition(":")
    name = name.strip(" *`\"'")
    if not colon or not name or len(name.split()) > MOST_WORDS or any(c.isdigit() for c in name):
        return [e for part in line.split(";") for e in _in_brackets(part)]
    return [Event(name, *span) for span in spans_in_line(rest)]


def _in_brackets(text: str) -> Iterable[Event]:
    name, bracket, rest = text.rstrip(" .").partition("(")
    name = name.strip(" *`\"'")
    if not bracket or rest.find(")") != len(rest) - 1 or not name or len(name.split()) > MOST_WORDS:
        return []
    return [Event(name, *span) for span in spans_in_line(rest[:-1])]


@dataclass(frozen=True)
class Frames:
    """An event in whole frames, the end excluded."""

    label: str
    first: int
    end: int
    azimuth: float = 0.0
    elevation: float = 0.0


def in_frames(events: Iterable[Event], frames_per_second: float, end: int) -> list[Frames]:
    """Every frame that an event touches, up to the last of the recording."""
    found = []
    for event in events:
        first = math.floor(event.start * frames_per_second + 1e-6)
        last = min(end, math.ceil(event.end * frames_per_second - 1e-6))
        if last > first:
            found.append(Frames(event.label, first, last, event.azimuth, event.elevation))
    return found


def segment_parts(
    gold: Sequence[Frames], said: Sequence[Frames], frames: int, seen: int | None = None
) -> dict[str, float]:
    """Error counts of segments of `frames` frames: in each a class is there or not.

    Args:
        seen: frames at the beginning of each segment that are looked at; None: all.
    """
    wanted, given = _by_segment(gold, frames, seen or frames), _by_segment(said, frames, seen or frames)
    found = dict.fromkeys(("segment_hits", "segment_gold", "segment_said", "segment_errors"), 0.0)
    for place in wanted.keys() | given.keys():
        ours, theirs = wanted.get(place, set()), given.get(place, set())
        found["segment_hits"] += len(ours & theirs)
        found["segment_gold"] += len(ours)
        found["segment_said"] += len(theirs)
        # Substitutions are pairs of a false alarm and a miss, the rest are insertions or deletions.
        found["segment_errors"] += max(len(ours - theirs), len(theirs - ours))
    return found


def _by_segment(events: Sequence[Frames], frames: int, seen: int) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for event in events:
        for place in range(event.first // frames, (event.end - 1) // frames + 1):
            if max(event.first, place * frames) < min(event.end, place * frames + seen):
                found[place].add(event.label)
    return found


def event_tally(gold: Sequence[Event], said: Sequence[Event], collar_seconds: float = 0.2) -> Tally:
    """Events hit: the same class, the start within the collar, the end within it or half the event's length.

    >>> event_tally([Event("dog", 1, 3)], [Event("dog", 1.1, 2.2), Event("cat", 1, 3)])
    Tally(hits=1, extra=1, missed=0)
    """
    pairs = [_near(g, s, collar_seconds) for g in gold for s in said]
    near = np.array(pairs, dtype=bool).reshape(len(gold), len(said))
    rows, columns = linear_sum_assignment(~near) if near.size else ([], [])
    hits = int(near[rows, columns].sum()) if near.size else 0
    return Tally(hits, len(said) - hits, len(gold) - hits)


def _near(gold: Event, said: Event, collar: float) -> bool:
    slack = max(collar, 0.5 * (gold.end - gold.start))
    return (
        gold.label == said.label
        and abs(gold.start - said.start) <= collar + 1e-9
        and abs(gold.end - said.end) <= slack + 1e-9
    )
