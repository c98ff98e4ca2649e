"""Questions that need to know all about a recording: overlap, what starts during what, silence, loudness, needles.

They are for the samples of `data_prep.composed`; those that need times alone take any sample whose events are complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.makers.base import Making, Task, Turn
from data_prep.makers.sounds import phrases
from data_prep.makers.timing import offset_of, onset_of, timed
from data_prep.makers.wording import clock_text, seconds_text, sentence
from data_prep.samples import Event, Sample

OVERLAP_SECONDS = 0.25
"""Shorter overlaps, and shorter gaps, are not asked about."""
QUIET_SECONDS = 1.0
QUIET_LEAD_SECONDS = 0.5
"""The longest silence is asked for only when it is so much longer than the next."""
RING_SECONDS = 0.6
"""Reverberation after the end of an event is not silence."""
NEEDLE_SECONDS = 60.0
LOUDER_DB, NEARER = 4.0, 1.6
"""Least difference in level, and least ratio of distances."""
STATED = ("first {}, then {}", "{} comes before {}")


def _front(sample: Sample) -> list[Event]:
    """The events that are not in the background, when every sound has one event only."""
    events = [event for event in timed(sample) if not event.background]
    return events if len({event.label for event in events}) == len(events) else []


def _pair(making: Making, sample: Sample) -> tuple[Event, Event] | None:
    """Two events by onset, of sounds that are not related."""
    events = _front(sample)
    if len(events) < 2 or not making.surely(sample):
        return None
    first, second = sorted(making.some(events, 2), key=onset_of)
    return None if making.names.related(first.label, second.label) else (first, second)


def shared_seconds(one: Event, other: Event) -> float:
    """How long both are heard; negative is the gap between them."""
    return min(offset_of(one), offset_of(other)) - max(onset_of(one), onset_of(other))


def _shuffled(making: Making, events: Sequence[Event]) -> list[str]:
    return phrases(making, [event.label for event in making.some(events, len(events))])


def overlap(making: Making, sample: Sample) -> Turn | None:
    """Whether two sounds overlap; where both answers are possible each comes as often."""
    events = _front(sample)
    if len(events) < 2 or not making.surely(sample):
        return None
    wanted, found = making.coin(), list[tuple[Event, Event]]()
    for number, one in enumerate(events):
        for other in events[number + 1 :]:
            seconds = shared_seconds(one, other)
            clear = abs(seconds) >= OVERLAP_SECONDS and not making.names.related(one.label, other.label)
            if clear and (seconds > 0) == wanted:
                found.append((one, other))
    if not found:
        return None
    x, y = _shuffled(making, making.one(found))
    reply = making.say("overlap", "answers" if wanted else "denied")
    return Turn(making.ask("overlap", x=x, y=y), reply, {"answer": "yes" if wanted else "no"})


def overlap_seconds(making: Making, sample: Sample) -> Turn | None:
    """How long two sounds overlap."""
    pair = _pair(making, sample)
    if pair is None or shared_seconds(*pair) < OVERLAP_SECONDS:
        return None
    x, y = _shuffled(making, pair)
    seconds = shared_seconds(*pair)
    reply = making.say("overlap_seconds", t=seconds_text(seconds))
    return Turn(making.ask("overlap_seconds", x=x, y=y), reply, {"answer": round(seconds, 2)})


def during(making: Making, sample: Sample) -> Turn | None:
    """What begins while another sound goes on; there is one such sound only."""
    events = _front(sample)
    if not making.surely(sample):
        return None
    found = []
    for base in events:
        inside = [e for e in events if e is not base and onset_of(base) < onset_of(e) < offset_of(base)]
        clear = all(onset_of(e) - onset_of(base) >= OVERLAP_SECONDS and shared_seconds(base, e) > 0.2 for e in inside)
        if len(inside) == 1 and clear and not making.names.related(base.label, inside[0].label):
            found.append((base, inside[0]))
    if not found:
        return None
    x, y = phrases(making, [event.label for event in making.one(found)])
    return Turn(making.ask("while", x=x), making.say("while", y=y), {"answer": y})


def statement(making: Making, sample: Sample) -> Turn | None:
    """Whether a sentence about the order of two sounds is right; half are not (TeminAL)."""
    pair = _pair(making, sample)
    if pair is None or -shared_seconds(*pair) < OVERLAP_SECONDS:
        return None
    right, names = making.coin(), phrases(making, [event.label for event in pair])
    form = making.one(STATED)
    told, truth = form.format(*(names if right else names[::-1])), form.format(*names)
    reply = making.say("statement", "answers" if right else "denied", y=truth)
    return Turn(making.ask("statement", x=sentence(told)), reply, {"answer": "yes" if right else "no"})


def needle(making: Making, sample: Sample) -> Turn | None:
    """When the one short sound is heard in a long recording."""
    told = _composed(sample).get("needle")
    events = [event for event in _front(sample) if not told or event.label == told]
    if not events or (sample.seconds or 0.0) < NEEDLE_SECONDS or not making.surely(sample):
        return None
    event = making.one(events)
    (x,) = phrases(making, [event.label])
    reply = making.say("needle", x=x, t=clock_text(onset_of(event)))
    return Turn(making.ask("needle", x=x), reply, {"answer": round(onset_of(event), 1)})


def quiet(making: Making, sample: Sample) -> Turn | None:
    """The longest silence; only where nothing lies under the events."""
    events, effects = timed(sample), _composed(sample).get("effects")
    if not events or sample.seconds is None or not isinstance(effects, Mapping) or "noise_snr_db" in effects:
        return None
    if any(event.background for event in events):
        return None
    ring = RING_SECONDS if "room" in effects else 0.0
    ends = [0.0]
    for event in events:
        ends.append(max(ends[-1], offset_of(event) + ring))
    starts = [*map(onset_of, events), sample.seconds]
    gaps = sorted(((start - end, end, start) for end, start in zip(ends, starts, strict=True)), reverse=True)
    rest = gaps[1][0] if len(gaps) > 1 else 0.0
    if gaps[0][0] < max(QUIET_SECONDS, rest + QUIET_LEAD_SECONDS):
        return None
    times = [round(gaps[0][1], 1), round(gaps[0][2], 1)]
    reply = making.say("quiet", t=seconds_text(times[0]), u=seconds_text(times[1]))
    return Turn(making.ask("quiet"), reply, {"answer": times})


def louder(making: Making, sample: Sample) -> Turn | None:
    """Which of two sounds is louder."""
    pair, levels = _pair(making, sample), _levels(sample)
    if pair is None or any(event.label not in levels for event in pair):
        return None
    loud, soft = sorted(pair, key=lambda event: -levels[event.label])
    if levels[loud.label] - levels[soft.label] < LOUDER_DB:
        return None
    return _compared(making, "louder_of", loud, soft)


def nearer(making: Making, sample: Sample) -> Turn | None:
    """Which of two sounds is nearer."""
    pair = _pair(making, sample)
    if pair is None or any(event.distance is None for event in pair):
        return None
    near, far = sorted(pair, key=lambda event: event.distance or 0.0)
    if (far.distance or 0.0) < NEARER * (near.distance or 0.0):
        return None
    return _compared(making, "nearer", near, far)


def _compared(making: Making, name: str, right: Event, other: Event) -> Turn:
    answer = phrases(making, [right.label])[0]
    x, y = _shuffled(making, (right, other))
    meta = {"answer": answer, "options": [x, y]}
    return Turn(making.ask(name, x=x, y=y), making.say(name, n=answer), meta)


def _levels(sample: Sample) -> dict[str, float]:
    parts = _composed(sample).get("parts", ())
    return {part["label"]: part["level_db"] for part in parts if not part.get("background")}


def _composed(sample: Sample) -> Mapping[str, Any]:
    found = sample.extras.get("composed")
    return found if isinstance(found, Mapping) else {}


def _has_two(sample: Sample) -> bool:
    return sample.complete and len(_front(sample)) > 1


def _is_composed(sample: Sample) -> bool:
    return bool(_composed(sample)) and bool(timed(sample))


def _is_long(sample: Sample) -> bool:
    return sample.complete and (sample.seconds or 0.0) >= NEEDLE_SECONDS and bool(_front(sample))


FAMILY = "composed"
TASKS = (
    Task("overlap", FAMILY, "whether two sounds overlap", _has_two, overlap, 1.5, kind="analysis"),
    Task("overlap_seconds", FAMILY, "for how long", _has_two, overlap_seconds, 0.5, kind="analysis", times=True),
    Task("while", FAMILY, "what begins during a sound", _has_two, during, 1, kind="analysis"),
    Task("statement", FAMILY, "whether a sentence about the order is right", _has_two, statement, 1.5),
    Task("needle", FAMILY, "when, in a long recording", _is_long, needle, 1, kind="analysis", times=True),
    Task("quiet", FAMILY, "the longest silence", _is_composed, quiet, 0.5, kind="analysis", times=True),
    Task("louder_of", FAMILY, "which of two sounds is louder", _is_composed, louder, 0.5, kind="analysis"),
    Task("nearer", FAMILY, "which of two sounds is nearer", _is_composed, nearer, 0.5, kind="analysis"),
)
