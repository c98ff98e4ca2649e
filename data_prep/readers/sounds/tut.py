"""Places and events recorded by Tampere University: acoustic scenes 2016 to 2020, sound events, rare sound events."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.readers.sounds.labelled import in_words
from data_prep.readers.sounds.reading import Group, Reading, Recordings, gather
from data_prep.readers.sounds.tables import Row, table
from data_prep.samples import Event, Sample

_LICENCE = "Tampere University, non-commercial"
_SIDES = {"development": "train", "evaluation": "test"}

# --- acoustic scenes ---


def read_scenes(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of each set below the folder; its first fold, where there is one, tells what is `dev`."""
    reading = Reading("tut-scenes", root, options, _SIDES)
    lists = [path for name in ("meta.txt", "meta.csv") for path in _below(root, name)]
    if not lists:
        raise CorpusError(f"{root}: no meta.txt or meta.csv; give the folder of the unpacked set, or of several")
    for path in lists:
        if not reading.wants(side := _side(path.parent)):
            continue
        held = set[str]()
        yield from _held_out(path.parent, held)
        folder = path.parent.relative_to(root).as_posix()
        make = partial(_scene, folder=folder, side=side, held=held, clips=reading.recordings())
        yield from reading.each(_scene_rows(path), make)


def _below(root: Path, name: str) -> list[Path]:
    """A list of the set itself, or of each set that was unpacked into the folder."""
    return [root / name] if (root / name).is_file() else sorted(root.glob(f"*/{name}"))


def _side(folder: Path) -> str:
    """The name of a set says which side it is: `TUT-acoustic-scenes-2017-evaluation`."""
    return "evaluation" if "evaluation" in folder.name.lower() else "development"


def _scene_rows(path: Path) -> Iterator[Row | Lost]:
    """Sets until 2017 have no header; later ones name their columns."""
    if path.suffix == ".csv":
        return table(path, needs=("filename", "scene_label"), delimiter="\t")
    return table(path, columns=("filename", "scene_label", "identifier"), delimiter="\t")


def _held_out(folder: Path, held: set[str]) -> Iterator[Lost]:
    """Names of recordings that the first fold evaluates on."""
    for name in ("fold1_evaluate.txt", "fold1_evaluate.csv"):
        if (path := folder / "evaluation_setup" / name).is_file():
            for row in table(path, columns=("filename", "scene_label", "more"), delimiter="\t"):
                if isinstance(row, Lost):
                    yield Lost("bad row of a fold", row.where, row.detail)
                else:
                    held.add(str(row.values.get("filename")))


def _scene(row: Row, folder: str, side: str, held: set[str], clips: Recordings) -> Sample:
    written, scene = row.text("filename"), row.text("scene_label")
    place = row.text("identifier", "") or PurePosixPath(written).stem.partition("_")[0]
    return Sample(
        id=f"{folder}/{written}" if folder != "." else written,
        audio=clips.below(folder, written),
        source="tut-scenes",
        split="dev" if side == "development" and written in held else _SIDES[side],
        licence=_LICENCE,
        group=f"{folder}/{place}",
        scene=in_words(scene),
        label_set="TUT acoustic scenes",
        extras={"device": row.text("source_label", "")} if row.has("source_label") else {},
    )


# --- sound events ---


def read_events(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every `.ann` file below `meta/`, which lists the events of one recording."""
    reading = Reading("tut-sound-events", root, options, _SIDES)
    lists = sorted([*root.glob("meta/*/*.ann"), *root.glob("*/meta/*/*.ann")])
    if not lists:
        raise CorpusError(f"{root}: no meta/SCENE/NAME.ann; give the folder of the unpacked set, or of several")
    for path in lists:
        if not reading.wants(side := _side(path.parents[2])):
            continue
        groups: dict[str, Group[Event]] = {"": Group()}
        yield from gather(_event_rows(path), lambda row: "", _event, groups)
        yield reading.one(str(path), partial(_recorded, path, side, groups[""], root, options), len(groups[""].items))


def _event_rows(path: Path) -> Iterator[Row | Lost]:
    """Onset, offset and label; lists of 2017 have the recording and its place before, and more behind."""
    for row in table(path, columns=tuple("abcdefgh"), delimiter="\t"):
        if isinstance(row, Row):
            cells = list(row.values.values())
            cells = cells[2:5] if len(cells) > 3 else cells
            row = Row(row.where, dict(zip(("onset", "offset", "label"), cells, strict=False)))
        yield row


def _event(row: Row) -> Event:
    onset = row.number("onset")
    return Event(in_words(row.text("label")), onset, row.number("offset", low=onset))


def _recorded(path: Path, side: str, told: Group[Event], root: Path, options: ReadOptions) -> Sample:
    scene, folder = path.parent.name, path.parents[2].relative_to(root).as_posix()
    clips = Recordings(root, options, (f"{folder}/audio/{scene}", f"audio/{scene}", scene))
    events = sorted(told.items, key=lambda event: (event.onset or 0.0, event.label))
    return Sample(
        id=f"{folder}/{scene}/{path.stem}" if folder != "." else f"{scene}/{path.stem}",
        audio=clips.named(path.stem),
        source="tut-sound-events",
        split=_SIDES[side],
        licence=_LICENCE,
        group=f"{folder}/{path.stem}",
        labels=tuple(dict.fromkeys(event.label for event in events)),
        label_set="TUT sound events",
        events=tuple(events),
        complete=told.whole,
        scene=in_words(scene),
    )


# --- rare sound events ---

_RARE = {"devtrain": "train", "devtest": "dev", "evltest": "test"}
_RARE_WORDS = {"babycry": "baby crying", "glassbreak": "glass breaking", "gunshot": "gunshot"}


def read_rare(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """A sample for every row of the lists of mixtures: one event over a background, or the background alone."""
    reading = Reading("tut-rare", root, options, _RARE)
    lists = sorted(root.rglob("event_list_*.csv"))
    if not lists:
        raise CorpusError(f"{root}: no meta/event_list_SPLIT_EVENT.csv below; give the folder of the unpacked set")
    for path in lists:
        side = next((name for name in _RARE if f"_{name}_" in path.name), "")
        if not side:
            yield Lost("unknown list", str(path), f"must name one of {', '.join(_RARE)}")
        elif reading.wants(side):
            folder = path.parent.parent.relative_to(root).as_posix()
            clips = reading.recordings(f"{folder}/audio", "audio")
            rows = table(path, columns=("file", "onset", "offset", "label"), delimiter="\t")
            yield from reading.each(rows, partial(_rare, side=side, clips=clips))


def _rare(row: Row, side: str, clips: Recordings) -> Sample:
    name = row.text("file")
    events: tuple[Event, ...] = ()
    if any(row.has(field) for field in ("onset", "offset", "label")):
        if (label := row.text("label")) not in _RARE_WORDS:
            raise row.fault("label", f"must be one of {', '.join(_RARE_WORDS)}")
        onset = row.number("onset")
        events = (Event(_RARE_WORDS[label], onset, row.number("offset", low=onset)),)
    return Sample(
        id=name,
        audio=clips.file(name),
        source="tut-rare",
        split=_RARE[side],
        licence=_LICENCE,
        labels=tuple(event.label for event in events),
        label_set="TUT rare sound events",
        events=events,
        complete=True,
    )


SCENES = Source(
    name="tut-scenes",
    title="TUT acoustic scenes 2016 and 2017, TUT and TAU urban acoustic scenes 2018 to 2020",
    licence=_LICENCE,
    home="https://zenodo.org/records/400515",
    more_homes=("https://zenodo.org/records/1040168",),
    how_to_get="the archives of one set or of several (2017: development, evaluation), unpacked side by side",
    size="2017: 18 hours, 6,300 clips of 10 s, 15 places",
    tells=("scene", "group"),
    layout="""meta.txt (or meta.csv), audio/, evaluation_setup/fold1_evaluate.txt (optional: what is `dev`)
or the same in TUT-acoustic-scenes-2017-development/, TUT-acoustic-scenes-2017-evaluation/, ...""",
    read=read_scenes,
    splits=tuple(_SIDES),
    benchmark=True,
)
EVENTS = Source(
    name="tut-sound-events",
    title="TUT sound events 2016 and 2017",
    licence=_LICENCE,
    home="https://zenodo.org/records/814831",
    more_homes=("https://zenodo.org/records/1040179",),
    how_to_get="the archives of one set or of several (2017: development, evaluation), unpacked side by side",
    size="2017: 2 hours, 32 recordings of 3 to 5 minutes, 6 labels",
    tells=("labels", "events", "complete", "scene"),
    layout="""meta/SCENE/NAME.ann and audio/SCENE/NAME.wav
or the same in TUT-sound-events-2017-development/, TUT-sound-events-2017-evaluation/, ...""",
    read=read_events,
    splits=tuple(_SIDES),
    benchmark=True,
)
RARE = Source(
    name="tut-rare",
    title="TUT rare sound events 2017, the mixtures",
    licence=_LICENCE,
    home="https://zenodo.org/records/401395",
    how_to_get="the archives of mixtures, unpacked",
    size="about 37 hours, 4,500 mixtures of 30 s, 3 labels",
    tells=("labels", "events", "complete"),
    layout="""mixture_data/SPLIT/HASH/meta/event_list_SPLIT_EVENT.csv (SPLIT is devtrain, devtest or evltest)
mixture_data/SPLIT/HASH/audio/""",
    read=read_rare,
    splits=tuple(_RARE),
    benchmark=True,
)
