"""MediaEval's violent scenes: gunshots, explosions and screams on the sound tracks of films."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.sounds.reading import Group, Reading, Recordings, gather
from data_prep.readers.sounds.tables import Row, table
from data_prep.samples import Event, Sample

FRAMES_PER_SECOND = 25.0
_SIDES = {"Hollywood-dev": "train", "Hollywood-test": "test", "YouTube-gen": "test"}
_CONCEPTS = {"gunshots": "gunshot", "explosions": "explosion", "screams": "scream"}
_TAGS = {
    "gunshot": "gunshot", "explosion": "explosion", "scream": "scream", "scream_effort": "shout of effort",
    "multiple_actions_scream_effort": "several shouts of effort",
}  # fmt: skip
_NOTHING = ("(nothing)", "nothing")
_VIOLENT = ("violence", "subjviolentscenes", "objviolentscenes")
"""Lists of violent scenes as seen and heard, by numbers of frames."""


def read(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every film that has at least one list of sounds."""
    reading = Reading("mediaeval-vsd", root, options, _SIDES)
    lists = sorted(p for pattern in ("annotations/*.txt", "*/annotations/*.txt", "*.txt") for p in root.glob(pattern))
    films: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in lists:
        film, _, kind = path.stem.rpartition("_")
        if film and kind in (*_CONCEPTS, *_VIOLENT):
            films.setdefault((path.parent, film), {})[kind] = path
    heard = {key: kinds for key, kinds in films.items() if set(kinds) & set(_CONCEPTS)}
    if not heard:
        raise CorpusError(f"{root}: no annotations/FILM_gunshots.txt, FILM_explosions.txt or FILM_screams.txt")
    for (folder, film), kinds in heard.items():
        if reading.wants(side := _side(folder)):
            yield from _film(reading, film, side, kinds)


def _side(folder: Path) -> str:
    return next((side for side in _SIDES if side in folder.parts), "Hollywood-dev")


def _film(reading: Reading, film: str, side: str, kinds: dict[str, Path]) -> Iterator[Sample | Lost]:
    groups: dict[str, Group[Event | None]] = {}
    for kind in (kind for kind in _CONCEPTS if kind in kinds):
        groups.setdefault(kind, Group())
        rows = table(kinds[kind], columns=("start", "end", "tag", "more"), delimiter=" ")
        yield from gather(rows, partial(_kind, kind=kind), partial(_event, kind=kind), groups)
    scenes: dict[str, Group[tuple[float, float]]] = {}
    for kind in (kind for kind in _VIOLENT if kind in kinds):
        rows = table(kinds[kind], columns=("start", "end", "tag", "more"), delimiter=" ")
        yield from gather(rows, partial(_kind, kind=kind), _frames, scenes)
    clips = reading.recordings("audio", "movies", side, f"{side}/audio", f"{side}/movies", f"{side}/videos")
    number = sum(len(g.items) for g in groups.values()) + sum(len(g.items) for g in scenes.values())
    yield reading.one(str(next(iter(kinds.values()))), partial(_sample, film, side, groups, scenes, clips), rows=number)


def _kind(row: Row, kind: str) -> str:
    return kind


def _event(row: Row, kind: str) -> Event | None:
    """A sound; None where the annotators say that there is none."""
    start = row.number("start")
    end, tag = row.number("end", low=start), row.text("tag", _CONCEPTS[kind])
    if tag in _NOTHING:
        return None
    if tag.startswith("multiple_actions"):
        return Event(_TAGS.get(tag, f"several {_CONCEPTS[kind]}s"), start, end)
    if tag not in _TAGS:
        raise row.fault("tag", f"must be one of {', '.join((*_TAGS, 'multiple_actions', *_NOTHING))}")
    return Event(_TAGS[tag], start, end)


def _frames(row: Row) -> tuple[float, float]:
    start = row.number("start", high=86_400.0 * FRAMES_PER_SECOND)
    return start / FRAMES_PER_SECOND, row.number("end", start, 86_400.0 * FRAMES_PER_SECOND) / FRAMES_PER_SECOND


def _sample(
    film: str,
    side: str,
    groups: dict[str, Group[Event | None]],
    scenes: dict[str, Group[tuple[float, float]]],
    clips: Recordings,
) -> Sample:
    events = sorted(
        (e for group in groups.values() for e in group.items if e is not None), key=lambda e: (e.onset or 0.0, e.label)
    )
    violent = {kind: [list(span) for span in sorted(group.items)] for kind, group in scenes.items()}
    return Sample(
        id=f"{side}/{film}",
        audio=clips.named(film),
        source="mediaeval-vsd",
        split=_SIDES[side],
        licence="film, not free; annotations as their page says",
        group=f"film:{film}",
        labels=tuple(dict.fromkeys(event.label for event in events)),
        label_set="VSD sounds",
        events=tuple(events),
        complete=set(groups) == set(_CONCEPTS) and all(group.whole for group in groups.values()),
        extras={"annotated": sorted(groups), **({"violent_scenes": violent} if violent else {})},
    )


VSD = Source(
    name="mediaeval-vsd",
    title="MediaEval violent scenes, the sound tracks",
    licence="films, not free; annotations as their page says",
    home="https://www.interdigital.com/data_sets/violent-scenes-dataset",
    how_to_get="the annotations of 2014; the films are bought by the user, whose sound tracks are named like the lists",
    size="18 films with lists of sounds",
    tells=("labels", "events", "complete"),
    layout="""Hollywood-dev/annotations/FILM_gunshots.txt, FILM_explosions.txt, FILM_screams.txt: start, end, tag
FILM_violence.txt (optional; scenes by frames at 25 a second)
audio/FILM.wav (or another ending; a video counts)""",
    read=read,
    splits=tuple(_SIDES),
    benchmark=True,
)
