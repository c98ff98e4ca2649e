"""DCASE 2019, task 3: which sounds, when and from where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from eval.benchmarks import prompts
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece
from eval.harness.items import Clip, Item, StructuredWant

CLASSES = (
    "knock", "drawer", "clearthroat", "phone", "keysDrop", "speech", "keyboard", "pageturn", "cough", "doorslam",
    "laughter",
)
SECONDS = 60.0
"""Of every recording."""


def _event(row: Row) -> dict[str, str | float]:
    if (name := row.text("sound_event_recording")) not in CLASSES:
        raise row.fault("sound_event_recording", f"must be one of {', '.join(CLASSES)}")
    return {
        "class": name,
        "start": row.number("start_time"),
        "end": row.number("end_time"),
        "azimuth": row.number("azi"),
        "elevation": row.number("ele"),
    }


def _seld(source: Download, split: str) -> Iterator[Piece]:
    for place in source.files(source.folder(f"metadata_{split}"), ".csv"):
        stem = PurePosixPath(place).stem
        path = source.recording(f"foa_{split}/{stem}.wav")
        yield Item(
            id=stem,
            messages=prompts.asked(prompts.SOUND_EVENTS, labels=", ".join(CLASSES)),
            audios=(Clip(path=path),),
            want=StructuredWant(
                form="events",
                answer=[_event(row) for row in source.csv_rows(place)],
                unit="s",
                options={"classes": list(CLASSES), "seconds": SECONDS},
            ),
            official="seld-2019",
            group=path,
            tags={"overlap": "two" if "_ov2_" in stem else "one" if "_ov1_" in stem else "unknown"},
            max_tokens=2048,
        )


SELD = Benchmark(
    name="seld-2019",
    title="DCASE 2019 sound event localisation and detection",
    version="TAU Spatial Sound Events 2019, ambisonic",
    licence="Tampere University, non-commercial",
    source="https://zenodo.org/records/3377088 (evaluation), https://zenodo.org/records/2599196 (development)",
    how_to_get="the unpacked foa_eval/ with metadata_eval/ (or foa_dev/ with metadata_dev/)",
    measures="Detection and direction of 11 sounds, apart and jointly",
    kinds=("structured",),
    official=("seld-2019",),
    splits={"eval": 100, "dev": 400},
    prompts={"events": prompts.SOUND_EVENTS},
    read=_seld,
    note="Recordings have four channels; a model that hears one channel cannot know a direction.",
)

BENCHMARKS = (SELD,)
