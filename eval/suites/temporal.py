"""Time in seven levels of growing difficulty: our suite in the place of TeminAL's ZSTE (arXiv 2408.09269), whose
prompts and splits are not public. It is not ZSTE, and figures must not be compared with it.

On every level but the two that ask for seconds, each wording is right with each of its answers equally often: the same
events are composed in several orders, and all of them are asked about.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from eval.corpus import Clip
from eval.harness import items as harness
from eval.harness.items import Item, PairWant
from eval.harness.prepared import Prepared
from eval.kinds.base import Measure, Row
from eval.metrics import mean
from eval.suites import asking, figures
from eval.suites.drawing import rng_for
from eval.suites.studio import Canvas, Order, Studio

NAME = "alm-temporal"
EVENT_SECONDS = 2.0
GAPS = (0.2, 0.8)
LONG_EVENT = (0.8, 6.0)
DURATION_TOLERANCE, ONSET_TOLERANCE = 0.5, 1.0
"""Seconds by which an answer may be off."""
TIMELINE_SECONDS = 12.0
RECORDINGS = ("the first recording", "the second recording")
WAYS = ("at the same time", "one after the other")


def make(order: Order) -> list[Prepared]:
    """Levels in turn until there are about so many questions."""
    studio, items, number = Studio(NAME, order), list[Item](), 0
    with order.progress("temporal", order.items) as advance:
        while len(items) < order.items or number < len(LEVELS):
            level = list(LEVELS)[number % len(LEVELS)]
            made = LEVELS[level](_Turn(studio, level, number))
            items += made
            number += 1
            advance(len(made))
    return [studio.finish(items)]


class _Turn:
    """Draws and makes what one set of questions needs."""

    def __init__(self, studio: Studio, level: str, number: int) -> None:
        self.studio, self.pool, self.level = studio, studio.order.pool, level
        self.number = number // len(LEVELS)
        self.name = f"{level[0]}-{number:05d}"
        self.rng: random.Random = rng_for(NAME, studio.order.seed, number)
        self.tags = {"level": level}

    def events(self, count: int) -> list[tuple[str, Clip]]:
        """Classes that are apart, with a recording each."""
        return [(n, self.pool.clip(self.rng, n)) for n in self.pool.strangers(self.rng, count)]

    def phrases(self, events: Sequence[tuple[str, Clip]]) -> list[str]:
        return [self.pool.phrase(n) for n, _ in events]

    def sequence(self, side: str, events: Sequence[tuple[str, Clip]], gaps: Sequence[float]) -> harness.Clip:
        """Events one after the other."""
        canvas = Canvas()
        for number, (name, clip) in enumerate(events):
            onset = canvas.end + gaps[number - 1] if number else 0.0
            self.studio.add(canvas, clip, name, onset, EVENT_SECONDS)
        return self.studio.canvas(f"{self.name}-{side}", canvas)

    def gaps(self, count: int) -> list[float]:
        return [self.rng.uniform(*GAPS) for _ in range(count)]


def _which(turn: _Turn) -> list[Item]:
    """Level 1: which of four is heard at all; each of the four in turn."""
    events, gaps = turn.events(6), turn.gaps(2)
    asked, others = events[:4], events[4:]
    found, options = [], turn.phrases(asked)
    for place, event in enumerate(asked):
        clip = turn.sequence(str(place), turn.rng.sample([event, *others], 3), gaps)
        name = f"{turn.name}-{place}"
        found.append(asking.choice(name, "Which of these is heard?", options, place, [clip], turn.name, turn.tags))
    return found


def _ends(turn: _Turn) -> list[Item]:
    """Level 2: which of three is first, which is last, in three recordings that each begin with another one."""
    events, gaps = turn.events(3), turn.gaps(2)
    options, found = turn.phrases(events), []
    for shift in range(3):
        clip = turn.sequence(str(shift), [*events[shift:], *events[:shift]], gaps)
        for end, answer in (("first", shift), ("last", (shift + 2) % 3)):
            tags = {**turn.tags, "asked": end}
            name = f"{turn.name}-{shift}-{end}"
            found.append(asking.choice(name, f"Which sound is heard {end}?", options, answer, [clip], turn.name, tags))
    return found


def _next(turn: _Turn) -> list[Item]:
    """Level 3: which of two comes right after or right before a third one, each of the two once."""
    (hinge, *pair), gaps = turn.events(3), turn.gaps(2)
    options, said, found = turn.phrases(pair), turn.pool.phrase(hinge[0]), []
    for side in ("after", "before"):
        for answer, near in enumerate(pair):
            far = pair[1 - answer]
            order = [hinge, near, far] if side == "after" else [far, near, hinge]
            clip = turn.sequence(f"{side}-{answer}", order, gaps)
            name, tags = f"{turn.name}-{side}-{answer}", {**turn.tags, "asked": side}
            question = f"Which sound do you hear right {side} {said}?"
            found.append(asking.choice(name, question, options, answer, [clip], turn.name, tags))
    return found


def _overlap(turn: _Turn) -> list[Item]:
    """Level 4: whether two sounds overlap; the same two do in one recording and do not in the other."""
    one, other = turn.events(2)
    found = []
    options = WAYS if turn.number % 2 == 0 else WAYS[::-1]
    question = "Do you hear {} and {} at the same time or one after the other?".format(*turn.phrases([one, other]))
    for way in WAYS:
        canvas = Canvas()
        first = turn.studio.add(canvas, one[1], one[0], 0.0, EVENT_SECONDS)
        onset = first.offset + GAPS[0] if way == WAYS[1] else 0.0
        turn.studio.add(canvas, other[1], other[0], onset, EVENT_SECONDS)
        side = str(WAYS.index(way))
        clip, answer = turn.studio.canvas(f"{turn.name}-{side}", canvas), options.index(way)
        found.append(asking.choice(f"{turn.name}-{side}", question, options, answer, [clip], turn.name, turn.tags))
    return found


def _sentence(turn: _Turn) -> list[Item]:
    """Level 5: which sentence about an order fits a recording, and which recording fits a sentence; two by two."""
    events, gaps = turn.events(2), turn.gaps(1)
    ways = (events, events[::-1])
    clips = [turn.sequence(str(n), way, gaps) for n, way in enumerate(ways)]
    texts = ["first {}, then {}".format(*turn.phrases(way)) for way in ways]
    found = []
    for place in (0, 1):
        for cell, question, options, audios in (
            (f"audio{place}", "Which describes the recording?", texts, [clips[place]]),
            (f"text{place}", f'Which recording does this describe: "{texts[place]}"?', RECORDINGS, clips),
        ):
            want = PairWant(mode="matrix", choices=tuple(options), answer=place, cell=cell)
            said, tags = asking.with_options(question, options), {**turn.tags, "asked": cell[:-1]}
            found.append(asking.item(f"{turn.name}-{cell}", said, want, audios, turn.name, tags))
    return found


def _duration(turn: _Turn) -> list[Item]:
    """Level 6: for how long one sound is heard, in seconds; another one is before or after it."""
    long = [n for n, own in turn.pool.clips.items() if any(c.seconds >= LONG_EVENT[0] for c in own)]
    name = turn.rng.choice(long or list(turn.pool.clips))
    clip = max(turn.pool.clips[name], key=lambda c: (c.seconds >= LONG_EVENT[0], turn.rng.random()))
    other = turn.pool.strangers(turn.rng, 1, [name])[0]
    canvas = Canvas()
    asked_first = turn.number % 2 == 0
    for place in (0, 1):
        onset = canvas.end + GAPS[1] if place else GAPS[0]
        if (place == 0) == asked_first:
            part = turn.studio.add(canvas, clip, name, onset, turn.rng.uniform(*LONG_EVENT))
        else:
            turn.studio.add(canvas, turn.pool.clip(turn.rng, other), other, onset, EVENT_SECONDS)
    recording = turn.studio.canvas(turn.name, canvas)
    question = f"For how many seconds do you hear {turn.pool.phrase(name)}?"
    seconds = part.offset - part.onset
    tags = {**turn.tags, "asked": "how long"}
    return [asking.number(turn.name, question, seconds, DURATION_TOLERANCE, "s", [recording], turn.name, tags)]


def _onset(turn: _Turn) -> list[Item]:
    """Level 7: at what second a sound begins; three sounds at random times, each asked for."""
    canvas, events = Canvas(), turn.events(3)
    slot = TIMELINE_SECONDS / len(events)
    for place, (name, clip) in enumerate(events):
        onset = place * slot + turn.rng.uniform(0.0, slot - EVENT_SECONDS)
        turn.studio.add(canvas, clip, name, onset, EVENT_SECONDS)
    recording = turn.studio.canvas(turn.name, canvas, TIMELINE_SECONDS)
    tags = {**turn.tags, "asked": "when"}
    return [
        asking.number(
            f"{turn.name}-{place}", f"At what second do you begin to hear {turn.pool.phrase(part.name)}?", part.onset,
            ONSET_TOLERANCE, "s", [recording], turn.name, tags,
        )
        for place, part in enumerate(canvas.parts)
    ]  # fmt: skip


LEVELS: dict[str, Callable[[_Turn], list[Item]]] = {
    "1 which": _which,
    "2 first and last": _ends,
    "3 before and after": _next,
    "4 overlap": _overlap,
    "5 sentence": _sentence,
    "6 how long": _duration,
    "7 at what second": _onset,
}


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Score of each level, and how often a whole set of questions is right."""
    found = figures.accuracies(rows, "level")
    for level, own in figures.by_tag(rows, "level").items():
        sets = [r for r in figures.by_group(own).values() if len(r) > 1]
        if sets:
            whole = [float(min(map(figures.right, r))) for r in sets]
            found.append(Measure(f"{level}.set", f"{level}: whole set right", mean(whole, range(len(whole)))))
    return found
