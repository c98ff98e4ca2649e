"""The reader of the project's own store: clips, scenes and sentences become samples, and what is wrong is counted."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest

from alm.errors import AlmError
from data_prep.compose import write_scenes
from data_prep.corpus import Clip, StoredClip, write_index
from data_prep.makers import TaskPlan, make_records
from data_prep.readers.base import Lost, ReadOptions, ReadReport
from data_prep.readers.corpus import CORPUS, samples
from data_prep.samples import Sample, sample_from_json, to_json
from data_prep.scenes import Event, Scene
from data_prep.speech_texts import Fact


def clip(name: str, **more: object) -> StoredClip:
    facts: dict[str, object] = {
        "id": name, "origin": "debian", "package": "toys", "version": "1", "path": f"{name}.wav",
        "labels": ("dog bark",), "classes": ("dog bark",), "description": "a dog barking", "seconds": 1.0,
        "rate": 16_000, "licence": "CC0-1.0", "split": "train", "kind": "sfx",
    }  # fmt: skip
    return StoredClip(Clip(**(facts | more)), f"audio/aa/{name}.flac", 1.0, 16_000, True)  # type: ignore[arg-type]


SPOKEN = {"labels": ("speech",), "classes": ("speech",), "kind": "speech", "description": ""}
CLIPS = (
    clip("dog"),
    clip("bird", classes=("other bird", "rain")),
    clip("odd", classes=("other animal",)),
    clip("voice", **SPOKEN, language="pt_BR", transcript="bom dia", sex="female", speaker="pt_BR_f_Ana"),
    clip("late", **SPOKEN, language="en", transcript="hello", flag="late-start", speaker="creature"),
    clip("lost text", **SPOKEN, language="it", transcript="c'? posta"),
    clip("meaning", **SPOKEN, language="en", transcript="nose", package="ktuberling-data"),
    clip("note", classes=("piano",), kind="render", path="a.sf2#prog=0,note=60"),
    clip("drum", classes=("timpani",), kind="render", path="a.sf2#prog=47,note=60"),
    clip("test dog", split="test"),
)
EVENTS = (
    Event("dog", ("dog bark",), "a dog barking", 0.5, 1.5),
    Event("rain", ("rain", "static noise"), "rain falling", 0.0, 4.0, background=True),
)


def store(folder: Path) -> Path:
    write_index(CLIPS, folder / "clips.jsonl")
    scene = Scene("scene", "train", "background", 0, 0, "scenes/s.flac", 4.0, EVENTS, {}, ("toys",), ("CC0-1.0",))
    twice = (EVENTS[0], dataclasses.replace(EVENTS[0], onset=2.0, offset=3.0))
    often = dataclasses.replace(scene, id="often", kind="repetition", events=twice, audio="scenes/o.flac")
    empty = dataclasses.replace(scene, id="noise", kind="noise", events=(), audio="scenes/n.flac", sources=())
    (folder / "scenes").mkdir()
    write_scenes([scene, often, empty], folder / "scenes" / "train.jsonl")
    spoken = {
        "id": "said", "split": "train", "audio": "speech/a.flac", "seconds": 2.0, "engine": "espeak-ng",
        "voice": "en+f1", "sex": "female", "text": "The bus is late.", "topic": "bus", "licence": "synthetic",
        "facts": [dataclasses.asdict(Fact("What is late?", "The bus.", "bus"))],
    }  # fmt: skip
    (folder / "speech").mkdir()
    (folder / "speech" / "train.jsonl").write_text(json.dumps(spoken) + "\n")
    for name in [item.audio for item in CLIPS] + ["scenes/s.flac", "scenes/o.flac", "scenes/n.flac", "speech/a.flac"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Sample]:
    return {one.id: one for one in samples(store(tmp_path))}


def test_clips_scenes_and_sentences_become_samples(found: dict[str, Sample]) -> None:
    assert len(found) == len(CLIPS) + 4
    dog = found["dog"]
    assert dog.labels == ("dog bark",) and dog.complete and dog.captions == ("A dog barking.",)
    assert not dog.events and Path(dog.audio).is_absolute()
    assert found["bird"].labels == ("rain",) and found["bird"].extras["maybe"] == ["other bird"]
    assert not found["odd"].labels and not found["odd"].complete
    assert [event.onset for event in found["scene"].events] == [0.5, 0.0] and found["scene"].events[1].background
    assert found["scene"].extras["made_of"] == ["dog", "rain"] and found["scene"].extras["countable"] is False
    assert "countable" not in found["often"].extras and len(found["often"].events) == 2
    assert found["noise"].extras["nothing"] == "noise" and found["noise"].complete
    assert found["said"].questions[0].answer == "The bus." and found["said"].transcript == "The bus is late."
    for one in found.values():
        assert sample_from_json(json.loads(json.dumps(to_json(one)))) == one


def test_words_voices_and_notes_are_taken_only_where_they_are_sure(found: dict[str, Sample]) -> None:
    voice = found["voice"]
    assert (voice.transcript, voice.language) == ("bom dia", "pt-BR")
    assert (voice.voice.sex, voice.voice.speaker) == ("female", "Ana")
    assert not any(found[name].transcript for name in ("late", "lost text", "meaning"))
    assert not found["late"].voice.speaker and not found["said"].voice.speaker
    assert found["note"].music.pitch_midi == 60 and found["drum"].music.pitch_midi is None


def test_splits_missing_files_and_paths_that_lead_out_are_counted(tmp_path: Path) -> None:
    folder = store(tmp_path)
    (folder / CLIPS[0].audio).unlink()
    rows = (folder / "clips.jsonl").read_text().splitlines()
    rows[1] = rows[1].replace("audio/aa/bird.flac", "../bird.flac")
    (folder / "clips.jsonl").write_text("\n".join(rows) + "\n")
    report = ReadReport()
    for one in CORPUS.read(folder, ReadOptions(splits=("train",))):
        report.count(one)
    assert report.samples == {"train": len(CLIPS) - 3 + 4} and report.lost == {"missing file": 1, "bad row": 1}
    assert any(one.where == "bird" and "leads out" in one.detail for one in report.shown)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AlmError, match="no index"):
        samples(tmp_path)


def test_rows_of_a_store_are_made(found: dict[str, Sample]) -> None:
    made = list(make_records(found.values(), TaskPlan(rate=2), 0, "train"))
    tasks = {row.task for row in made}
    assert {"label", "background", "count", "transcribe", "asked", "nothing", "note", "language"} <= tasks
    counted = [row for row in made if row.task == "count"]
    assert counted and all(row.meta["recordings"] == ["often"] for row in counted)
    assert {name for row in made for name in row.source.split(" + ")} <= {
        "toys", "espeak-ng", "synthetic", "ktuberling-data",
    }  # fmt: skip


def fuzz(folder: Path, count: int) -> None:
    """Broken lists: a typed error, a loss, or samples; with every row accounted for."""
    rng = random.Random(0)
    lists = ("clips.jsonl", "scenes/train.jsonl", "speech/train.jsonl")
    good = {folder / name: (folder / name).read_bytes() for name in lists}
    nasty = (b"null", b'"\xff"', b"[]", b"-1e999", b'"/elsewhere/a.flac"', b'"../../x"', b"{}", b"NaN")
    nasty += (b'"' + b"a" * 4000 + b'"',)
    read = refused = 0
    for _ in range(count):
        path = rng.choice(sorted(good))
        data = good[path]
        starts = [k for k in range(len(data) - 1) if data[k : k + 2] == b": "]
        start = rng.choice(starts) + 2
        end = min(k for k in (data.find(b",", start), data.find(b"}", start), len(data)) if k > 0)
        cut = data[: rng.randrange(len(data))]
        path.write_bytes(data[:start] + rng.choice(nasty) + data[end:] if rng.random() < 0.8 else cut)
        try:
            one = list(CORPUS.read(folder, ReadOptions()))
            assert all(isinstance(item, Sample | Lost) for item in one)
            lines = sum(line.strip() != b"" for p in good for line in p.read_bytes().splitlines())
            assert len(one) == lines
            read += 1
        except AlmError as fault:
            assert str(path.name) in str(fault) or "row" in str(fault) or "record" in str(fault)
            refused += 1
        path.write_bytes(data)
    assert read and refused


def test_a_few_broken_stores_are_refused_or_read(tmp_path: Path) -> None:
    fuzz(store(tmp_path), 60)


@pytest.mark.slow
def test_two_thousand_broken_stores_are_refused_or_read(tmp_path: Path) -> None:
    fuzz(store(tmp_path), 2000)
