"""Stretches of time: read from an answer, compared frame by frame and by overlap."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eval.harness.items import StructuredWant
from eval.scorers.quantities import durations
from eval.scorers.records import Read, lines_of, objects_in, says_nothing, times_of

Span = tuple[float, float]
_BETWEEN = re.compile(r"\s*(?:-|–|—|~|to|until|till|and|,)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Tally:
    """Hits, false alarms and misses, in whatever is counted."""

    hits: float = 0.0
    extra: float = 0.0
    missed: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.hits + other.hits, self.extra + other.extra, self.missed + other.missed)

    @property
    def f1(self) -> float:
        """2 hits / (2 hits + extra + missed); 1 where there is nothing and nothing was said."""
        total = 2 * self.hits + self.extra + self.missed
        return 2 * self.hits / total if total else 1.0

    @property
    def iou(self) -> float:
        """Hits over all; 1 where there is nothing and nothing was said."""
        total = self.hits + self.extra + self.missed
        return self.hits / total if total else 1.0

    def parts(self, name: str = "") -> dict[str, float]:
        return {f"{name}hits": self.hits, f"{name}extra": self.extra, f"{name}missed": self.missed}


def read_spans(text: str) -> Read[Span]:
    """
    >>> read_spans('[{"start": "1:00", "end": 75.5}, {"start": 3}]')
    Read(value=[(60.0, 75.5)], rule='json', dropped=1)
    >>> read_spans("From 0:10 to 0:20, and 1:00 - 1:05.").value, read_spans("There are none.").value
    ([(10.0, 20.0), (60.0, 65.0)], [])
    """
    found, rule = objects_in(text)
    if found is not None:
        spans = [s for s in map(_span, found) if s]
        if spans or not found:
            return Read(spans, rule, len(found) - len(spans))
        if len(found) == 2 and (pair := _span(found)):
            return Read([pair], rule)
    if says_nothing(text):
        return Read([], "nothing")
    spans = [s for line in lines_of(text) for s in spans_in_line(line)]
    return Read(spans, "text") if spans else Read(None, rule)


def wanted_spans(want: StructuredWant) -> list[Span]:
    """The wanted spans: pairs of seconds, or objects with `start` and `end`."""
    ends = [(s["start"], s["end"]) if isinstance(s, dict) else s for s in want.answer]
    return [(float(start), float(end)) for start, end in ends]


def _span(record: object) -> Span | None:
    if isinstance(record, dict):
        return times_of(record)
    if isinstance(record, list) and len(record) == 2:
        return times_of({"start": record[0], "end": record[1]})
    return None


def spans_in_line(line: str) -> list[Span]:
    """Pairs of times with "to" or a dash between."""
    times, found, at = durations(line), [], 0
    while at + 1 < len(times):
        first, second = times[at], times[at + 1]
        joined = _BETWEEN.fullmatch(line, first.end, second.start)
        if joined and 0 <= first.value <= second.value:
            found.append((first.value, second.value))
            at += 2
        else:
            at += 1
    return found


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted, without overlaps and without empty ones."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(s for s in spans if s[1] > s[0]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def common(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> int:
    """Length that two merged lists share."""
    total = i = j = 0
    while i < len(first) and j < len(second):
        total += max(0, min(first[i][1], second[j][1]) - max(first[i][0], second[j][0]))
        if first[i][1] <= second[j][1]:
            i += 1
        else:
            j += 1
    return total


def frame_tally(gold: Sequence[tuple[int, int]], said: Sequence[tuple[int, int]]) -> Tally:
    """Frames hit, said too much and missed; spans in frames, the end excluded."""
    wanted, given = merged(gold), merged(said)
    hits = common(wanted, given)
    return Tally(hits, sum(e - s for s, e in given) - hits, sum(e - s for s, e in wanted) - hits)


def span_tally(gold: Iterable[Span], said: Iterable[Span], frame_seconds: float = 0.01) -> Tally:
    """Frames of `frame_seconds`, edges rounded to the nearest.

    >>> span_tally([(0, 1.0)], [(0.5, 2.0)], 0.5)
    Tally(hits=1, extra=2, missed=1)
    """

    def frames(spans: Iterable[Span]) -> list[tuple[int, int]]:
        return [(round(s / frame_seconds), round(e / frame_seconds)) for s, e in spans]

    return frame_tally(frames(gold), frames(said))
