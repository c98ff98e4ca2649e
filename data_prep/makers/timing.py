"""Questions about order, times and numbers, out of events with known times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from data_prep.makers.base import Making, Task, Turn
from data_prep.makers.sounds import counted, phrases
from data_prep.makers.wording import distinct, seconds_text, sentence, span_text
from data_prep.phrases import enumeration
from data_prep.samples import Event, Sample
from data_prep.speech_texts import number_words

MIN_GAP_SECONDS = 0.25
"""Sounds that begin closer together than this are not asked for their order."""
MARGIN_SECONDS = 0.2
"""A moment is asked about only when no sound begins or ends closer to it than this."""
MIN_ONSET_SECONDS = 0.3
"""A sound that begins earlier than this begins with the recording."""
MAX_LISTED = 12
MAX_COUNT = 20


def timed(sample: Sample) -> list[Event]:
    """Events with a label and both times, by onset.

    Where a source marks words or turns and does not say that these are all, speech goes on around them: they have no
    times of their own.
    """
    known = [e for e in sample.events if e.label and e.onset is not None and e.offset is not None]
    found = [e for e in known if sample.complete or not (e.text or e.speaker)]
    return sorted(found, key=lambda event: (event.onset or 0.0, event.offset or 0.0, event.label))


def onset_of(event: Event) -> float:
    """Start in seconds; of events of `timed`."""
    return event.onset if event.onset is not None else 0.0


def offset_of(event: Event) -> float:
    """End in seconds; of events of `timed`."""
    return event.offset if event.offset is not None else 0.0


def _all_timed(sample: Sample) -> bool:
    return sum(1 for event in sample.events if event.label) == len(timed(sample))


def spans(making: Making, events: Sequence[Event]) -> dict[str, list[tuple[float, float]]]:
    """Where each phrase is heard; stretches that touch are one."""
    found: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        listed = found.setdefault(making.names.phrase(event.label), [])
        onset, offset = onset_of(event), offset_of(event)
        if listed and onset <= listed[-1][1] + 0.05:
            onset, offset = listed[-1][0], max(listed.pop()[1], offset)
        listed.append((onset, offset))
    return found


def _front(making: Making, sample: Sample) -> list[Event]:
    """The first event of each sound that is not in the background, by onset."""
    first: dict[str, Event] = {}
    for event in timed(sample):
        if not event.background:
            first.setdefault(making.names.phrase(event.label), event)
    return list(first.values())


def _clear_order(events: Sequence[Event]) -> bool:
    """Whether all begin clearly one after the other."""
    starts = [onset_of(event) for event in events]
    return all(later - early >= MIN_GAP_SECONDS for early, later in pairwise(starts))


def order_first(making: Making, sample: Sample) -> Turn | None:
    """Which of two begins first; they are named in random order."""
    events = _front(making, sample)
    if len(events) < 2:
        return None
    early, late = sorted(making.some(events, 2), key=onset_of)
    named = phrases(making, [early.label, late.label])
    if onset_of(late) - onset_of(early) < MIN_GAP_SECONDS or making.names.related(early.label, late.label):
        return None
    x, y = named if making.coin() else named[::-1]
    return Turn(making.ask("order_first", x=x, y=y), making.say("order_first", x=named[0]),
                {"answer": named[0], "options": [x, y]})  # fmt: skip


def _neighbours(making: Making, sample: Sample) -> tuple[str, str] | None:
    """Two sounds that begin one after the other, when each sound has one event and the order is clear."""
    events = [event for event in timed(sample) if not event.background]
    if len(events) < 2 or len(_front(making, sample)) != len(events) or not _clear_order(events):
        return None
    here = int(making.rng.integers(len(events) - 1))
    return making.names.phrase(events[here].label), making.names.phrase(events[here + 1].label)


def order_after(making: Making, sample: Sample) -> Turn | None:
    """What begins next."""
    pair = _neighbours(making, sample)
    if pair is None:
        return None
    return Turn(making.ask("order_after", x=pair[0]), making.say("order_after", y=pair[1]), {"answer": pair[1]})


def order_before(making: Making, sample: Sample) -> Turn | None:
    """What began before."""
    pair = _neighbours(making, sample)
    if pair is None:
        return None
    return Turn(making.ask("order_before", x=pair[1]), making.say("order_before", y=pair[0]), {"answer": pair[0]})


def order_list(making: Making, sample: Sample) -> Turn | None:
    """All sounds in order."""
    events = [event for event in timed(sample) if not event.background]
    if not making.surely(sample) or not 2 <= len(events) <= MAX_LISTED or not _clear_order(events):
        return None
    names = [making.names.phrase(event.label) for event in events]
    if len(set(names)) != len(names):
        return None
    reply = making.say("order_list", x=", then ".join(names))
    return Turn(making.ask("order_list"), reply, {"answer": names, "ordered": True})


def _one_span(making: Making, sample: Sample) -> tuple[str, float, float] | None:
    """A sound that is heard once, with its times."""
    events = timed(sample)
    once = {name: found[0] for name, found in spans(making, events).items() if len(found) == 1}
    if not once:
        return None
    name = making.one(sorted(once))
    return name, *once[name]


def when(making: Making, sample: Sample) -> Turn | None:
    """When a sound begins that does not begin with the recording."""
    first = {name: found[0][0] for name, found in spans(making, timed(sample)).items()}
    late = sorted(name for name, onset in first.items() if onset >= MIN_ONSET_SECONDS)
    if not late:
        return None
    name = making.one(late)
    reply = making.say("when", t=seconds_text(first[name]))
    return Turn(making.ask("when", x=name), reply, {"answer": round(first[name], 3), "phrase": name})


def span(making: Making, sample: Sample) -> Turn | None:
    """From when to when a sound is heard."""
    found = _one_span(making, sample)
    if found is None:
        return None
    name, onset, offset = found
    reply = making.say("span", t=seconds_text(onset), u=seconds_text(offset))
    return Turn(making.ask("span", x=name), reply, {"answer": [round(onset, 3), round(offset, 3)], "phrase": name})


def event_length(making: Making, sample: Sample) -> Turn | None:
    """How long a sound lasts."""
    found = _one_span(making, sample)
    if found is None or found[2] - found[1] < 0.1:
        return None
    name, lasts = found[0], found[2] - found[1]
    reply = making.say("event_length", t=seconds_text(lasts))
    return Turn(making.ask("event_length", x=name), reply, {"answer": round(lasts, 3), "phrase": name})


def grounding(making: Making, sample: Sample) -> Turn | None:
    """All stretches of a sound; needs a source that names all of them."""
    found = spans(making, timed(sample))
    often = sorted(name for name in found if len(found[name]) <= MAX_LISTED)
    if not making.surely(sample) or not _all_timed(sample) or not often:
        return None
    name = making.one(often)
    text = "; ".join(span_text(*one) for one in found[name])
    meta = {"answer": [[round(value, 3) for value in one] for one in found[name]], "phrase": name}
    return Turn(making.ask("grounding", x=name), making.say("grounding", t=text), meta)


def event_table(making: Making, sample: Sample) -> Turn | None:
    """All sounds with their times."""
    events = timed(sample)
    if not making.surely(sample) or not _all_timed(sample) or not 1 <= len(events) <= MAX_LISTED:
        return None
    rows = sorted((*one, name) for name, found in spans(making, events).items() for one in found)
    text = "; ".join(f"{name} ({span_text(onset, offset)})" for onset, offset, name in rows)
    table = [[name, round(onset, 3), round(offset, 3)] for onset, offset, name in rows]
    return Turn(making.ask("event_table"), making.say("event_table", x=sentence(text)), {"answer": table})


def at_time(making: Making, sample: Sample) -> Turn | None:
    """What is heard at a moment away from every start and end."""
    events = timed(sample)
    if not making.surely(sample) or not _all_timed(sample) or len(events) < 2:
        return None
    edges = [edge for event in events for edge in (onset_of(event), offset_of(event))]
    event = making.one(events)
    moment = round(onset_of(event) + float(making.rng.uniform(0.1, 0.9)) * (offset_of(event) - onset_of(event)), 1)
    if any(abs(edge - moment) < MARGIN_SECONDS for edge in edges):
        return None
    names = phrases(making, [one.label for one in events if onset_of(one) < moment < offset_of(one)])
    if not names:
        return None
    time = seconds_text(moment)
    return Turn(making.ask("at_time", t=time), making.say("at_time", t=time, x=enumeration(names)), {"answer": names})


def longest(making: Making, sample: Sample) -> Turn | None:
    """The sound that lasts longest, when it is clearly longer."""
    found = spans(making, timed(sample))
    if not making.surely(sample) or not _all_timed(sample) or len(found) < 2:
        return None
    lengths = sorted((max(end - start for start, end in listed), name) for name, listed in found.items())
    if lengths[-1][0] < 1.3 * lengths[-2][0] + 0.1:
        return None
    name = lengths[-1][1]
    return Turn(making.ask("longest"), making.say("longest", x=name), {"answer": name, "options": sorted(found)})


def count(making: Making, sample: Sample) -> Turn | None:
    """How many times a sound is heard; needs a source that names all of them."""
    events = timed(sample)
    if not making.surely(sample) or not _all_timed(sample) or any(event.background for event in events):
        return None
    found = spans(making, events)
    numbers = {name: len(listed) for name, listed in found.items() if len(listed) <= MAX_COUNT}
    for event in events:
        if not (making.names.countable(event.label) and counted(sample, event.label)):
            numbers.pop(making.names.phrase(event.label), None)
    if not numbers:
        return None
    most = max(numbers.values())
    name = making.one(sorted(name for name in numbers if numbers[name] == most or making.coin(0.3)))
    number = numbers[name]
    if number != sum(making.names.phrase(event.label) == name for event in events):
        return None  # two stretches touch: nobody could say whether that is one sound or two
    reply = making.say("count", "once" if number == 1 else "answers", n=number_words(number))
    return Turn(making.ask("count", x=name), reply, {"answer": number, "phrase": name})


def count_sounds(making: Making, sample: Sample) -> Turn | None:
    """How many different sounds there are."""
    names = distinct(making.names.phrase(event.label) for event in sample.events if event.label)
    if not making.surely(sample) or not 2 <= len(names) <= MAX_LISTED:
        return None
    reply = making.say("count_sounds", n=number_words(len(names)), list=enumeration(names))
    return Turn(making.ask("count_sounds"), reply, {"answer": len(names)})


def background(making: Making, sample: Sample) -> Turn | None:
    """The sound behind the others."""
    below = phrases(making, [event.label for event in sample.events if event.background and event.label])
    if len(below) != 1 or all(event.background for event in sample.events):
        return None
    return Turn(making.ask("background"), making.say("background", x=below[0]), {"answer": below[0]})


def _has_times(sample: Sample) -> bool:
    return any(event.onset is not None for event in sample.events)


def _has_several(sample: Sample) -> bool:
    return len(sample.events) > 1


FAMILY = "time"
TASKS = (
    Task("order_first", FAMILY, "which of two begins first", _has_several, order_first, 3),
    Task("order_after", FAMILY, "what begins next", _has_several, order_after, 2),
    Task("order_before", FAMILY, "what began before", _has_several, order_before, 1),
    Task("order_list", FAMILY, "all sounds in order", _has_several, order_list, 2),
    Task("when", FAMILY, "when a sound begins", _has_times, when, 2, times=True),
    Task("span", FAMILY, "from when to when", _has_times, span, 1, times=True),
    Task("event_length", FAMILY, "how long a sound lasts", _has_times, event_length, 1, times=True),
    Task("grounding", FAMILY, "all stretches of a sound", _has_times, grounding, 1, times=True),
    Task("event_table", FAMILY, "all sounds with their times", _has_times, event_table, 2, times=True),
    Task("at_time", FAMILY, "what is heard at a moment", _has_several, at_time, 1, times=True),
    Task("longest", FAMILY, "which sound lasts longest", _has_several, longest, 1),
    Task("count", FAMILY, "how many times a sound is heard", _has_times, count, 4),
    Task("count_sounds", FAMILY, "how many different sounds", _has_several, count_sounds, 2),
    Task("background", FAMILY, "the sound behind the others", _has_several, background, 2),
)
