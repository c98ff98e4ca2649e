"""Rows about a stretch of a recording: cut for features and transcripts, told apart from the whole file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from alm import testing
from alm.audio import Waveform, load_audio
from alm.errors import RecordError
from alm.modeling import AudioHearing
from alm.processing import AlmFeatureExtractor
from data_prep.records import Message, Record, write_records
from tests import training_helpers as small
from training.features import Extractor, FeatureCache, Features, Item
from training.knowledge import read_transcripts, transcribe
from training.models import Ear
from training.rows import load_rows
from training.stretches import Opener, Recording, Stretch, file_named, recordings_of


@pytest.fixture
def ear() -> Ear:
    torch.manual_seed(0)
    settings = small.config()
    hearing = AudioHearing(settings).eval().requires_grad_(False)
    return Ear(hearing, AlmFeatureExtractor.of(settings), "digest")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, testing.noise(5.0).samples, testing.RATE_HZ, subtype="FLOAT")
    return path


def _record(audios: list[str], name: str = "a", **meta: Any) -> Record:
    question = Message("user", "<audio>" * len(audios) + "What is it?")
    return Record(name, (question, Message("assistant", "rain")), tuple(audios), "s", "label", "train", "CC0-1.0", 1.0,
                  meta)  # fmt: skip


def _features(ear: Ear, folder: Path, one: Recording) -> Features:
    assert Extractor(ear, folder, 3).run([one]).cached == 1
    cache = FeatureCache(folder)
    item = cache.find(one)
    assert item is not None
    return cache.read(item)


def _equal(one: Features, other: Features) -> bool:
    return one.hidden["ear"].shape == other.hidden["ear"].shape and torch.equal(one.hidden["ear"], other.hidden["ear"])


def test_a_row_about_a_stretch_gets_the_features_of_exactly_that_stretch(
    tmp_path: Path, ear: Ear, recording: Path
) -> None:
    samples = load_audio(recording).samples
    for name, start in (("cut", 2.0), ("beside", 2.01)):
        first = round(start * testing.RATE_HZ)
        part = samples[first : first + testing.RATE_HZ]
        soundfile.write(tmp_path / f"{name}.wav", part, testing.RATE_HZ, subtype="FLOAT")
    told: list[dict[str, Any]] = [{"spans": [[2, 1]]}, {"start": 2.0, "seconds": 1}]
    rows = [_record([str(recording)], str(i), **meta) for i, meta in enumerate(told)]
    write_records([*rows, _record([str(recording)], "whole")], tmp_path / "rows.jsonl")
    stretch = recordings_of(rows[0])[0]
    Extractor(ear, tmp_path / "both", 5).run([recording, stretch])
    cache = FeatureCache(tmp_path / "both")
    found, missing = load_rows([tmp_path / "rows.jsonl"], cache)
    assert missing == 0 and found[0].items == found[1].items and found[0].key != found[2].key
    assert [r.items[0].seconds for r in found] == [1.0, 1.0, 5.0]
    cut = _features(ear, tmp_path / "alone", stretch)
    assert _equal(cut, _features(ear, tmp_path / "c", tmp_path / "cut.wav"))
    assert not _equal(cut, _features(ear, tmp_path / "d", tmp_path / "beside.wav")), "the control: 10 ms beside"
    assert found[0].items[0].sha256 == load_audio(tmp_path / "cut.wav").sha256


def test_whole_files_and_the_folder_format_stay(tmp_path: Path, ear: Ear, recording: Path) -> None:
    """Whoever runs the code of before reads an index with stretches, and finds the same whole files."""
    before = _features(ear, tmp_path / "cache", recording)
    names = {field.name for field in dataclasses.fields(Item)} - {"shard"}
    extractor = Extractor(ear, tmp_path / "cache", 5)
    assert extractor.run([recording, Stretch(recording, 2.0, 1.0)]).known == 1, "the whole file is not made anew"
    lines = [json.loads(x) for f in (tmp_path / "cache").glob("*.jsonl") for x in f.read_text().splitlines()]
    assert all(set(line) == names for line in lines) and {file_named(x["path"]) for x in lines} == {str(recording)}
    cache = FeatureCache(tmp_path / "cache")
    item = cache.find(recording)
    assert item is not None and _equal(before, cache.read(item))
    stretch = cache.find(Stretch(recording, 2.0, 1.0))
    assert stretch is not None and not _equal(before, cache.read(stretch))
    soundfile.write(recording, np.zeros(8000, np.float32), 8000)
    assert cache.find(Stretch(recording, 2.0, 1.0)) is None, "the control: another file by that name"


def test_stretches_are_cut_from_files_that_are_not_held(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Opener().open(Stretch(recording, 2.0, 1.0))
    monkeypatch.setattr("alm.long_audio.HELD_BYTES", 1000)
    opener = Opener()
    for start in (2.0, 0.5, 2.0):
        whole = load_audio(recording)
        assert opener.open(Stretch(recording, start)) == whole.segment(start, 5.0)
    assert opener.open(Stretch(recording, 2.0, 1.0)) == held


def test_a_stretch_outside_is_refused_and_named(tmp_path: Path, ear: Ear, recording: Path) -> None:
    report = Extractor(ear, tmp_path / "cache", 3).run([Stretch(recording, 9.0, 1.0)])
    assert report.cached == 0 and "no sample lies between" in report.refused[0] and "start=9.0" in report.refused[0]


@pytest.mark.parametrize(
    "meta",
    [{"spans": [[0, 1]]}, {"spans": [[0, 1], [1]]}, {"spans": [[0, 1], [-1, 2]]}, {"spans": [None, [0, 0]]},
     {"spans": [None, ["0", 1]]}, {"spans": [None, [float("nan"), 1]]}, {"spans": 3}, {"start": 1.0, "seconds": 1.0},
     {"spans": [None, [True, 1]]}, {"spans": [None, [0, 1e9]]}],
)  # fmt: skip
def test_times_that_are_none_are_named(meta: dict[str, Any]) -> None:
    good = recordings_of(_record(["a", "b"], spans=[None, [1, None]]))
    assert good == [Path("a"), Stretch(Path("b"), 1.0)]
    with pytest.raises(RecordError, match=r"record 'a': field 'meta.(spans|start)' is .*; it must"):
        recordings_of(_record(["a", "b"], **meta))


def test_transcripts_are_those_of_the_stretch(tmp_path: Path, recording: Path) -> None:
    def seconds(heard: Waveform) -> Any:
        return SimpleNamespace(text=f"{heard.seconds:g} seconds")

    whisper: Any = SimpleNamespace(transcribe=seconds)
    stretch = Stretch(recording, 2.0, 1.0)
    assert transcribe(whisper, [recording, stretch, stretch], tmp_path / "t.jsonl") == 2
    assert read_transcripts(tmp_path / "t.jsonl") == {str(recording): "5 seconds", str(stretch): "1 seconds"}
    assert transcribe(whisper, [recording, stretch], tmp_path / "t.jsonl") == 0
