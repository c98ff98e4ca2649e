"""Sounds with times and directions: DCASE task 3 of 2019 to 2021, STARSS22 and STARSS23, the stereo set of 2025."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.sounds.reading import Group, Reading, gather
from data_prep.readers.sounds.tables import Row, table
from data_prep.samples import Event, Sample

FRAME_SECONDS = 0.1
STILL_DEGREES = 15.0
"""A sound that leaves its mean direction by more has none: it moves, and `extras` has its path."""
_2019 = {
    "knock": "knocking", "drawer": "drawer", "clearthroat": "clearing throat", "phone": "phone ringing",
    "keysDrop": "keys dropping", "speech": "speech", "keyboard": "typing on a keyboard", "pageturn": "page turning",
    "cough": "coughing", "doorslam": "door slamming", "laughter": "laughter",
}  # fmt: skip
_2020 = (
    "alarm", "crying baby", "crash", "barking dog", "running engine", "female scream", "female speech",
    "burning fire", "footsteps", "knocking on door", "male scream", "male speech", "ringing phone", "piano",
)  # fmt: skip
_2021 = tuple(label for label in _2020 if label not in ("running engine", "burning fire"))
_STARSS = (
    "female speech", "male speech", "clapping", "telephone", "laughter", "domestic sounds", "footsteps",
    "door opening or closing", "music", "musical instrument", "water tap", "bell", "knocking",
)  # fmt: skip


@dataclass(frozen=True)
class _Edition:
    """What differs between the years."""

    name: str
    title: str
    licence: str
    labels: Sequence[str]
    columns: tuple[str, ...]
    header: bool
    formats: tuple[str, ...]
    side: Callable[[PurePosixPath], str]
    """Split of a list by its path below the folder of metadata, which is named first."""


def _by_number(path: PurePosixPath, letters: str, sides: Mapping[str, str]) -> str:
    """Sides by the number of the fold at the beginning of the name; evaluation is a folder of its own."""
    if path.parts[0].endswith("_eval"):
        return "test"
    return sides.get(path.stem.removeprefix(letters)[:1], "train")


def _by_folder(path: PurePosixPath) -> str:
    """Sides by the folder: `dev-train-sony`, `dev-val`, `dev-test-tau`, `eval-test`."""
    folder = path.parts[1] if len(path.parts) > 2 else path.parts[0].replace("metadata_", "")
    return "test" if "test" in folder or "eval" in folder else "dev" if "val" in folder else "train"


_FRAMES = ("frame", "class", "source", "azimuth", "elevation")
_MICS = ("foa", "mic")
EDITIONS = (
    _Edition(
        "dcase-seld-2019", "DCASE 2019, task 3", "Tampere University, non-commercial", tuple(_2019.values()),
        ("sound_event_recording", "start_time", "end_time", "ele", "azi", "dist"), True, _MICS,
        partial(_by_number, letters="split", sides={"4": "dev"}),
    ),
    _Edition(
        "dcase-seld-2020", "DCASE 2020, task 3", "CC-BY-NC-4.0", _2020, _FRAMES, False, _MICS,
        partial(_by_number, letters="fold", sides={"1": "test", "2": "dev"}),
    ),
    _Edition("dcase-seld-2021", "DCASE 2021, task 3", "CC-BY-NC-4.0", _2021, _FRAMES, False, _MICS, _by_folder),
    _Edition("starss22", "STARSS22", "MIT", _STARSS, _FRAMES, False, _MICS, _by_folder),
    _Edition("starss23", "STARSS23", "MIT", _STARSS, (*_FRAMES, "distance"), False, _MICS, _by_folder),
    _Edition(
        "dcase-seld-2025", "DCASE 2025, task 3", "as its page says", _STARSS,
        ("frame", "class", "source", "azimuth", "distance", "onscreen"), True, ("stereo",), _by_folder,
    ),
)  # fmt: skip


def _read(root: Path, options: ReadOptions, edition: _Edition) -> Iterator[Sample | Lost]:
    """A sample for every list of events and every format of microphones that is there."""
    reading = Reading(edition.name, root, options, {"train": "train", "dev": "dev", "test": "test"})
    lists = sorted(p for d in ("dev", "eval") for p in (root / f"metadata_{d}").rglob("*.csv"))
    if not lists:
        raise CorpusError(f"{root}: no metadata_dev/ or metadata_eval/ with .csv files; is it the unpacked download?")
    there = [form for form in edition.formats if options.audio_root or any(root.glob(f"{form}_*"))]
    for path in lists:
        place = PurePosixPath(path.relative_to(root).as_posix())
        if reading.wants(edition.side(place)):
            yield from _recording(reading, edition, path, place, there or list(edition.formats[:1]))


def _recording(
    reading: Reading, edition: _Edition, path: Path, place: PurePosixPath, formats: Sequence[str]
) -> Iterator[Sample | Lost]:
    rows = table(path, needs=edition.columns) if edition.header else table(path, columns=edition.columns)
    groups: dict[Any, Group[_Point]] = {}
    if edition.name == "dcase-seld-2019":
        yield from gather(rows, lambda row: row.where, _whole_event, groups)
    else:
        source = partial(_source_of, labels=edition.labels)
        yield from gather(rows, source, partial(_point, edition=edition), groups)
    number = sum(len(group.items) for group in groups.values())
    for form in formats:
        make = partial(_sample, edition, reading, place, form, groups)
        yield reading.one(f"{path}, {form}", make, rows=number)


@dataclass(frozen=True)
class _Point:
    """Where a sound is for a while."""

    label: str
    onset: float
    offset: float
    azimuth: float
    elevation: float | None
    distance: float | None


def _whole_event(row: Row) -> _Point:
    if (label := row.text("sound_event_recording")) not in _2019:
        raise row.fault("sound_event_recording", f"must be one of {', '.join(_2019)}")
    onset = row.number("start_time")
    azimuth, elevation = row.number("azi", -180.0, 180.0), row.number("ele", -90.0, 90.0)
    end, far = row.number("end_time", low=onset), row.number("dist", high=1000.0)
    return _Point(_2019[label], onset, end, azimuth, elevation, far)


def _source_of(row: Row, labels: Sequence[str]) -> tuple[int, int]:
    return _whole(row, "class", len(labels) - 1), _whole(row, "source", 1000)


def _whole(row: Row, name: str, high: int) -> int:
    if (found := row.number(name, high=high)) != int(found):
        raise row.fault(name, "must be a whole number")
    return int(found)


def _point(row: Row, edition: _Edition) -> _Point:
    frame = _whole(row, "frame", 800_000)
    onset, offset = (round(FRAME_SECONDS * n, 1) for n in (frame, frame + 1))
    label = edition.labels[_whole(row, "class", len(edition.labels) - 1)]
    up = row.number("elevation", -90.0, 90.0) if "elevation" in edition.columns else None
    far = row.number("distance", high=100_000.0) / 100 if "distance" in edition.columns else None
    return _Point(label, onset, offset, row.number("azimuth", -180.0, 180.0), up, far)


def _joined(points: Sequence[_Point]) -> Iterator[list[_Point]]:
    """Frames that follow each other without a gap are one event."""
    held: list[_Point] = []
    for point in sorted(points, key=lambda p: p.onset):
        if held and point.onset > held[-1].offset + FRAME_SECONDS / 2:
            yield held
            held = []
        held.append(point)
    if held:
        yield held


def _direction(points: Sequence[_Point]) -> tuple[float | None, float | None]:
    """Mean azimuth and elevation in degrees; None for a sound that moves away from it."""
    vectors = [_vector(p) for p in points]
    mean = [sum(axis) for axis in zip(*vectors, strict=True)]
    length = math.hypot(*mean)
    if not length or any(
        sum(a * b for a, b in zip(v, mean, strict=True)) / length < math.cos(math.radians(STILL_DEGREES))
        for v in vectors
    ):
        return None, None
    x, y, z = (axis / length for axis in mean)
    up = round(math.degrees(math.asin(max(-1.0, min(1.0, z)))), 1) if points[0].elevation is not None else None
    return round(math.degrees(math.atan2(y, x)), 1), up


def _vector(point: _Point) -> tuple[float, float, float]:
    around, up = math.radians(point.azimuth), math.radians(point.elevation or 0.0)
    return math.cos(around) * math.cos(up), math.sin(around) * math.cos(up), math.sin(up)


def _path(points: Sequence[_Point]) -> list[list[float | None]]:
    """Time, azimuth, elevation, distance wherever one of the last three changes."""
    steps: list[list[float | None]] = []
    for point in points:
        if not steps or steps[-1][1:] != [point.azimuth, point.elevation, point.distance]:
            steps.append([point.onset, point.azimuth, point.elevation, point.distance])
    return steps


def _sample(
    edition: _Edition, reading: Reading, place: PurePosixPath, form: str, groups: Mapping[Any, Group[_Point]]
) -> Sample:
    runs = sorted(
        (run for group in groups.values() for run in _joined(group.items)), key=lambda run: (run[0].onset, run[0].label)
    )
    events, paths = [], {}
    for number, run in enumerate(runs):
        azimuth, elevation = _direction(run)
        near = [p.distance for p in run if p.distance is not None]
        distance = round(sum(near) / len(near), 2) if near else None
        events.append(Event(run[0].label, run[0].onset, run[-1].offset, azimuth, elevation, distance))
        if azimuth is None:
            paths[str(number)] = _path(run)
    folder = PurePosixPath(place.parts[0].replace("metadata", form), *place.parts[1:-1])
    return Sample(
        id=f"{form}/{place.relative_to(place.parts[0]).with_suffix('')}@{place.parts[0].partition('_')[2]}",
        audio=reading.recordings(folder.as_posix(), form).named(place.stem),
        source=edition.name,
        split=edition.side(place),
        licence=edition.licence,
        group=place.with_suffix("").as_posix(),
        channels=form,
        labels=tuple(dict.fromkeys(event.label for event in events)),
        label_set=edition.name,
        events=tuple(events),
        complete=all(group.whole for group in groups.values()),
        extras={"paths": paths} if paths else {},
    )


_WHERE = {
    "dcase-seld-2019": ("https://zenodo.org/records/2599196 https://zenodo.org/records/3377088", "8 hours, 11 labels"),
    "dcase-seld-2020": ("https://zenodo.org/records/4064792", "13 hours, 14 labels, moving sounds"),
    "dcase-seld-2021": ("https://zenodo.org/records/5476980", "13 hours, 12 labels, with disturbing sounds"),
    "starss22": ("https://zenodo.org/records/6387880", "about 5 hours (development), 13 labels, real rooms"),
    "starss23": ("https://zenodo.org/records/7880637", "about 7 hours (development), 13 labels, with distances"),
    "dcase-seld-2025": (
        "https://dcase.community/challenge2025/task-stereo-sound-event-localization-and-detection-in-regular-video-content",
        "30,000 clips of 5 s, 13 labels, stereo, with distances",
    ),
}


def _source(edition: _Edition) -> Source:
    homes, size = _WHERE[edition.name]
    home, *more = homes.split()
    folders = " or ".join(f"{form}_dev/" for form in edition.formats)
    return Source(
        name=edition.name,
        title=edition.title,
        licence=edition.licence,
        home=home,
        more_homes=tuple(more),
        how_to_get="the archives of metadata and of one format of microphones or several, unpacked side by side",
        size=size,
        tells=("events", "labels", "complete", "channels"),
        layout=f"metadata_dev/, metadata_eval/ with .csv files\n{folders} (and _eval/) with .wav files likewise",
        read=partial(_read, edition=edition),
        benchmark=True,
    )


SELD = tuple(_source(edition) for edition in EDITIONS)
