"""NSynth: single notes with instrument, pitch and velocity."""

from __future__ import annotations

from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, plain, reading
from data_prep.readers.rows import Row, json_pairs
from data_prep.samples import Music, Sample

SPLITS = {"train": "train", "valid": "dev", "test": "test"}
NOTE_SECONDS = 4.0


def _note(source: Download, folder: str, key: str, row: Row, split: str) -> Sample:
    family = plain(row.text("instrument_family_str"))
    pitch, velocity = row.maybe_integer("pitch"), row.maybe_integer("velocity")
    for name, value in (("pitch", pitch), ("velocity", velocity)):
        if value is not None and not 0 <= value <= 127:
            raise row.fault(name, "must be from 0 to 127, as in MIDI")
    return source.sample(
        key,
        source.recording(f"{folder}audio/{key}.wav"),
        split,
        group=row.text("instrument_str", key),
        seconds=NOTE_SECONDS,
        labels=(family,),
        label_set="nsynth-family",
        complete=True,
        music=Music(instruments=(family,), pitch_midi=pitch, velocity=velocity),
        extras={
            "made": row.text("instrument_source_str", ""),
            "qualities": [plain(one) for one in row.texts("qualities_str")],
        },
    )


def _read(source: Download) -> Found:
    for _, split, path in source.present(SPLITS, "nsynth-{}/examples.json"):
        folder = f"{path.parent.name}/"
        for key, row in json_pairs(path, source.name(path)):
            if isinstance(row, Lost):
                yield row
            else:
                yield source.one(row.where, _note, source, folder, key, row, split)


NSYNTH = Source(
    name="nsynth",
    title="NSynth",
    licence="CC BY 4.0",
    home="https://magenta.tensorflow.org/datasets/nsynth",
    how_to_get="nsynth-train, nsynth-valid and nsynth-test .jsonwav.tar.gz from the page, unpacked side by side",
    size="305,979 notes of 4 s (289,205, 12,678, 4,096), 16 kHz",
    tells=("labels", "complete", "music", "seconds", "group", "extras"),
    layout="nsynth-SPLIT/examples.json\nnsynth-SPLIT/audio/NOTE.wav",
    read=reading("nsynth", "CC BY 4.0", _read),
    splits=tuple(SPLITS),
    benchmark=True,
)
