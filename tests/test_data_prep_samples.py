"""Samples: what readers give. They survive JSON, and refuse what no recording has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alm.errors import RecordError
from data_prep.errors import CorpusError
from data_prep.readers.base import ReadOptions, inside
from data_prep.samples import Asked, Chapter, Event, Music, Sample, Voice, sample_from_json, to_json

FULL = Sample(
    id="a", audio="/x/a.wav", source="toy", split="train", licence="CC0-1.0", group="g", start=1.5, seconds=10.0,
    labels=("dog", "rain"), events=(Event("dog", 0.5, 2.0, azimuth=-30.0), Event("rain", background=True)),
    complete=True, captions=("A dog barks.",), questions=(Asked("What?", "A dog", ("A dog", "rain")),),
    transcript="hello", language="en", translations={"de": "hallo"}, voice=Voice("s1", "female", 31.0),
    music=Music(genre=("jazz",), tempo_bpm=120.0), chapters=(Chapter(0.0, "Start"),), extras={"take": [1, {"b": None}]},
)  # fmt: skip


def test_samples_survive_json() -> None:
    assert sample_from_json(json.loads(json.dumps(to_json(FULL)))) == FULL
    small = Sample("a", "/x/a.wav", "toy", "dev", "CC0-1.0")
    assert set(to_json(small)) == {"id", "audio", "source", "split", "licence"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seconds", -1), ("seconds", 10**400), ("seconds", float("nan")), ("seconds", "1"), ("split", "valid"),
        ("id", ""), ("transcript", 3), ("captions", "A dog."), ("extras", []), ("translations", "hallo"),
        ("voice", {"age": "x"}), ("music", {"genre": "jazz"}),
    ],
)
def test_what_no_recording_has_is_refused(field: str, value: object) -> None:
    with pytest.raises(RecordError, match=field):
        sample_from_json(to_json(FULL) | {field: value})


def test_paths_stay_inside_and_are_mapped(tmp_path: Path) -> None:
    plain, mapped = ReadOptions(), ReadOptions(path_map={"/data/sls/": str(tmp_path / "as")})
    assert inside(tmp_path, "b\\c.wav", plain) == tmp_path / "b" / "c.wav"
    assert inside(tmp_path, "/data/sls/c.wav", mapped) == tmp_path / "as" / "c.wav"
    for written in ("", "../a.wav", "/etc/passwd", "C:\\a.wav", "a\0.wav"):
        with pytest.raises(CorpusError):
            inside(tmp_path, written, plain)
    with pytest.raises(CorpusError):
        inside(tmp_path, "/data/sls/../../a.wav", mapped)
