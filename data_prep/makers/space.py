"""Questions about where sounds come from, for recordings of several channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data_prep.makers.base import Making, Task, Turn
from data_prep.makers.timing import offset_of, onset_of, timed
from data_prep.samples import Sample

MAX_SPREAD_DEGREES = 15.0
"""A sound that moves further than this is not asked for its place."""
SECTORS = ("front", "front left", "left", "back left", "back", "back right", "right", "front right")
SECTOR_GUARD_DEGREES = 5.0
"""Directions closer than this to the border of two sectors are not asked for in words."""
LEVEL_DEGREES = 10.0
HIGH_DEGREES = 20.0
MIN_SIDE_DEGREES = 15.0
FULL = ("foa", "mic")
"""Layouts of channels that tell front from back and above from below."""
SIDES = (*FULL, "binaural", "stereo")
"""Layouts that tell left from right."""


@dataclass(frozen=True)
class Source:
    """A sound that stays where it is."""

    phrase: str
    azimuth: float
    """Degrees, left positive, -180 to 180."""
    elevation: float | None
    distance: float | None


def wrapped(degrees: float) -> float:
    """The angle between -180 and 180."""
    return (degrees + 180.0) % 360.0 - 180.0


def sources(making: Making, sample: Sample) -> list[Source]:
    """Sounds with a known direction that do not move, by phrase."""
    groups: dict[str, list[tuple[float, float | None, float | None]]] = {}
    unknown = set()
    for event in sample.events:
        phrase = making.names.phrase(event.label)
        if event.azimuth is None or not event.label:
            unknown.add(phrase)
        else:
            groups.setdefault(phrase, []).append((wrapped(event.azimuth), event.elevation, event.distance))
    return [
        found
        for phrase in sorted(groups.keys() - unknown)
        if (found := _still(phrase, groups[phrase])) is not None
    ]


def _still(phrase: str, places: list[tuple[float, float | None, float | None]]) -> Source | None:
    """The mean of places that are close together, else None."""
    x = sum(math.cos(math.radians(azimuth)) for azimuth, _, _ in places) / len(places)
    y = sum(math.sin(math.radians(azimuth)) for azimuth, _, _ in places) / len(places)
    mean = math.degrees(math.atan2(y, x))
    heights = [height for _, height, _ in places if height is not None]
    far = [distance for _, _, distance in places if distance is not None]
    if any(abs(wrapped(azimuth - mean)) > MAX_SPREAD_DEGREES for azimuth, _, _ in places):
        return None
    if heights and max(heights) - min(heights) > MAX_SPREAD_DEGREES:
        return None
    height = sum(heights) / len(heights) if heights else None
    near = bool(far) and max(far) - min(far) <= 0.5 + 0.2 * max(far)
    return Source(phrase, round(mean, 1), height, round(sum(far) / len(far), 1) if near else None)


def _any(making: Making, sample: Sample, layouts: tuple[str, ...]) -> Source | None:
    found = sources(making, sample) if sample.channels in layouts else []
    return making.one(found) if found else None


def sector(azimuth: float) -> str:
    """One of eight directions, or '' near a border."""
    turns = wrapped(azimuth) % 360.0 / 45.0
    place = round(turns)
    return "" if abs(turns - place) * 45.0 > 22.5 - SECTOR_GUARD_DEGREES else SECTORS[place % 8]


def direction(making: Making, sample: Sample) -> Turn | None:
    """One of eight directions; left or right where the channels tell no more."""
    found = _any(making, sample, SIDES)
    if found is None:
        return None
    if sample.channels in FULL:
        word = sector(found.azimuth)
    else:
        word = ("left" if found.azimuth > 0 else "right") if MIN_SIDE_DEGREES <= abs(found.azimuth) <= 165.0 else ""
    if not word:
        return None
    words = {"x": found.phrase, "y": word}
    meta = {"answer": word, "azimuth": found.azimuth}
    return Turn(making.ask("direction", **words), making.say("direction", **words), meta)


def azimuth(making: Making, sample: Sample) -> Turn | None:
    """Degrees in the horizontal plane, left positive as in DCASE."""
    found = _any(making, sample, FULL)
    if found is None:
        return None
    words = {"x": found.phrase, "y": f"{round(found.azimuth)}"}
    return Turn(making.ask("azimuth", **words), making.say("azimuth", **words), {"answer": round(found.azimuth)})


def elevation(making: Making, sample: Sample) -> Turn | None:
    """Above, level or below; what is between is not asked for."""
    found = _any(making, sample, FULL)
    if found is None or found.elevation is None or LEVEL_DEGREES < abs(found.elevation) < HIGH_DEGREES:
        return None
    word = "level" if abs(found.elevation) <= LEVEL_DEGREES else "above" if found.elevation > 0 else "below"
    words = {"x": found.phrase, "y": word}
    return Turn(making.ask("elevation", **words), making.say("elevation", **words), {"answer": word})


def distance(making: Making, sample: Sample) -> Turn | None:
    """Metres."""
    found = _any(making, sample, SIDES)
    if found is None or found.distance is None:
        return None
    words = {"x": found.phrase, "y": f"{found.distance:.1f}"}
    return Turn(making.ask("distance", **words), making.say("distance", **words), {"answer": found.distance})


def beside(making: Making, sample: Sample) -> Turn | None:
    """Whether one sound is left or right of another, both ahead."""
    if sample.channels not in SIDES:
        return None
    ahead = [one for one in sources(making, sample) if abs(one.azimuth) <= 90.0]
    if len(ahead) < 2:
        return None
    first, second = making.some(ahead, 2)
    between = first.azimuth - second.azimuth
    if abs(between) < MIN_SIDE_DEGREES:
        return None
    words = {"x": first.phrase, "y": second.phrase, "n": "left" if between > 0 else "right"}
    return Turn(making.ask("beside", **words), making.say("beside", **words), {"answer": words["n"]})


def where_when(making: Making, sample: Sample) -> Turn | None:
    """All sounds with their times and directions, as a table."""
    events = timed(sample)
    full = sample.channels in FULL and len(events) == len(sample.events) and making.surely(sample)
    if not full or not 1 <= len(events) <= 8 or any(event.azimuth is None for event in events):
        return None
    rows = [
        (making.names.phrase(e.label), round(onset_of(e), 1), round(offset_of(e), 1), round(wrapped(e.azimuth or 0.0)))
        for e in events
    ]
    text = "; ".join(f"{name}: {onset:.1f}-{offset:.1f} s at {angle} degrees" for name, onset, offset, angle in rows)
    table = [list(row) for row in rows]
    return Turn(making.ask("where_when"), making.say("where_when", x=f"{text}."), {"answer": table})


def _placed(sample: Sample) -> bool:
    return bool(sample.channels) and any(event.azimuth is not None for event in sample.events)


FAMILY = "space"
TASKS = (
    Task("direction", FAMILY, "from which side", _placed, direction, 2, kind="analysis"),
    Task("azimuth", FAMILY, "degrees, left positive", _placed, azimuth, 1, kind="analysis"),
    Task("elevation", FAMILY, "above, level or below", _placed, elevation, 1, kind="analysis"),
    Task("distance", FAMILY, "metres", _placed, distance, 1, kind="analysis"),
    Task("beside", FAMILY, "left or right of another sound", _placed, beside, 1, kind="analysis"),
    Task("where_when", FAMILY, "sounds with times and degrees", _placed, where_when, 1, kind="analysis", times=True),
)
