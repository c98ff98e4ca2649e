"""MedleyDB: songs as mixes and stems, with the instruments and when each of them plays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_prep.errors import CorpusError
from data_prep.readers import rows
from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, first_texts, reading
from data_prep.readers.rows import Row
from data_prep.samples import Event, Music, Sample

_METADATA = "_METADATA.yaml"
_SILENT = ("", "Unlabeled", "Main System")
"""Labels of a stem that name no instrument."""


def _facts(source: Download, path: Path) -> Row:
    """The metadata of one song. Raises `CorpusError`."""
    name = source.name(path)
    try:
        found: Any = yaml.load(rows.whole_text(path, name), Loader=_loader())
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise CorpusError(f"{name}: is not YAML ({str(fault)[:120]})") from fault
    if not isinstance(found, Mapping):
        raise CorpusError(f"{name}: is {rows.shown(found)}; it must be an object")
    return Row(name, found)


def _loader() -> type[yaml.SafeLoader]:
    """The fast safe loader, where PyYAML was built with it."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _stems(facts: Row) -> list[Row]:
    stems = facts.row("stems")
    return [Row(f"{facts.where}, stem {rows.shown(key)}", stems.row(key).values) for key in stems.values]


def _instruments(stem: Row) -> tuple[str, ...]:
    """One stem may have several, as a list."""
    given = stem.values.get("instrument")
    found = stem.texts("instrument") if isinstance(given, list) else (stem.text("instrument", ""),)
    return tuple(name for name in found if name not in _SILENT)


def _events(source: Download, song: str) -> tuple[Event, ...]:
    """When each instrument plays, where the annotations are there."""
    lab = f"{song}_SOURCEID.lab"
    folders = ("Annotations/Instrument_Activations/SOURCEID/", "Annotations/", f"Audio/{song}/", f"{song}/")
    path = source.find(*(f"{folder}{lab}" for folder in folders))
    found = source.table(path, need=("start_time", "end_time", "instrument_label")) if path else iter(())
    return tuple(_event(row) for row in found)


def _event(row: Row | Lost) -> Event:
    if isinstance(row, Lost):
        raise rows.RowError(row.reason, f"{row.where}: {row.detail}")
    return Event(row.text("instrument_label"), row.number("start_time"), row.number("end_time"))


def _mix(source: Download, song: str, facts: Row) -> Sample:
    stems = [_instruments(stem) for stem in _stems(facts)]
    heard = first_texts([name for stem in stems for name in stem])
    genre = facts.text("genre", "")
    file = facts.text("mix_filename", f"{song}_MIX.wav")
    return source.sample(
        song,
        source.recording(f"Audio/{song}/{file}", f"{song}/{file}"),
        "train",
        group=facts.text("artist", song),
        labels=heard,
        label_set="medleydb",
        events=_events(source, song),
        complete=all(stems) and bool(stems),
        music=Music(
            genre=(genre,) if genre else (), instruments=heard, title=facts.text("title", ""),
            artist=facts.text("artist", ""),
        ),
        extras={"kind": "mix", "instrumental": facts.values.get("instrumental") in ("yes", True)},
    )  # fmt: skip


def _stem(source: Download, song: str, facts: Row, stem: Row) -> Sample:
    heard, file = _instruments(stem), stem.text("filename")
    if not heard:
        raise rows.RowError(rows.UNLABELLED, f"stem {file} has no instrument")
    below = facts.text("stem_dir", f"{song}_STEMS")
    return source.sample(
        file.removesuffix(".wav"),
        source.recording(f"Audio/{song}/{below}/{file}", f"{song}/{below}/{file}"),
        "train",
        group=facts.text("artist", song),
        labels=heard,
        label_set="medleydb",
        complete=facts.values.get("has_bleed") in ("no", False),
        music=Music(instruments=heard, artist=facts.text("artist", "")),
        extras={"kind": "stem", "component": stem.text("component", "")},
    )


def _song(source: Download, path: Path) -> Found:
    song = path.name.removesuffix(_METADATA)
    try:
        facts = _facts(source, path)
        stems = _stems(facts)
    except CorpusError as fault:
        yield Lost(rows.BAD_ROW, source.name(path), str(fault))
        return
    yield source.one(facts.where, _mix, source, song, facts)
    for stem in stems:
        yield source.one(stem.where, _stem, source, song, facts, stem)


def _read(source: Download) -> Found:
    source.parts({"all": "train"})
    folder = source.place("Metadata", "Audio", "")
    found = 0
    for path in source.files(folder, _METADATA.lower()):
        found += 1
        yield from _song(source, path)
    if not found:
        raise CorpusError(f"{folder}: has no SONG{_METADATA}; `alm data sources medleydb` shows the layout")


MEDLEYDB = Source(
    name="medleydb",
    title="MedleyDB 1 and 2",
    licence="CC BY-NC-SA 4.0",
    home="https://medleydb.weebly.com",
    how_to_get="ask for it on the page; unpack so that Audio/ holds a folder a song; Annotations/ and Metadata/ are in "
    "github.com/marl/medleydb (medleydb/data)",
    size="196 songs and their stems",
    tells=("labels", "events", "complete", "music", "group", "extras"),
    layout="Audio/SONG/SONG_MIX.wav\nAudio/SONG/SONG_STEMS/SONG_STEM_01.wav\nAudio/SONG/SONG_METADATA.yaml (or in "
    "Metadata/)\nAnnotations/Instrument_Activations/SOURCEID/SONG_SOURCEID.lab (may be absent)",
    read=reading("medleydb", "CC BY-NC-SA 4.0", _read),
    splits=("all",),
)
