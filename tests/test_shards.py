"""Shards: nothing is lost or doubled, the bytes depend on the contents alone, and damage is seen."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from shards_toys import RATE, a_record, decoded, toy_records, tree, write_tones
from typer.testing import CliRunner

from alm.errors import AlmError, ConfigError, RecordError
from data_prep import cli
from data_prep.errors import CorpusError
from data_prep.places import Places
from data_prep.records import Record, write_records
from data_prep.shards import ShardSettings, ShardStream, in_threads, read_index, verify_shards, write_shards

SMALL = ShardSettings(megabytes=0.02)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloads")
    write_tones(folder, 40)
    return folder


@pytest.fixture(scope="module")
def records(downloads: Path) -> list[Record]:
    return toy_records([path.relative_to(downloads).as_posix() for path in sorted(downloads.rglob("*.flac"))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, downloads: Path, records: list[Record]) -> Path:
    target = tmp_path_factory.mktemp("shards") / "made"
    write_shards(records, target, SMALL, recordings=downloads)
    return target


def _rows(path: Path) -> list[dict[str, object]]:
    return pq.ParquetFile(path).read(use_threads=False).to_pylist()


def test_every_record_comes_back_once_with_its_recordings(
    folder: Path, downloads: Path, records: list[Record]
) -> None:
    wanted = {record.id: record for record in records}
    for split in ("train", "test"):
        for item in ShardStream(folder, split):
            record = wanted.pop(item.record.id)
            assert dataclasses.replace(item.record, audios=record.audios) == record
            assert item.audios == tuple((downloads / name).read_bytes() for name in record.audios)
    assert not wanted


def test_a_recording_is_stored_once_however_many_rows_ask_about_it(folder: Path, records: list[Record]) -> None:
    members = Counter()
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as tar:
            members.update(info.name for info in tar)
            assert {(info.mtime, info.uname, info.uid) for info in tar} == {(0, "", 0)}
    assert set(members.values()) == {1}
    assert sum(name.endswith(".json") for name in members) == len({r.audios or r.id for r in records})


def test_parquet_tells_of_every_record_what_it_is_and_where(folder: Path, records: list[Record]) -> None:
    rows = [row for path in folder.rglob("*.parquet") for row in _rows(path)]
    by_id = {row["id"]: row for row in rows}
    assert len(rows) == len(by_id) == len(records)
    for record in records:
        row = by_id[record.id]
        assert [audio["path"] for audio in row["audios"]] == list(record.audios), "as the records name them"
        assert json.loads(row["meta"]) == record.meta and row["task"] == record.task
        assert all(audio["rate"] == RATE and audio["channels"] == 1 for audio in row["audios"])


def test_bytes_depend_on_the_contents_alone(
    folder: Path, downloads: Path, records: list[Record], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    write_shards(reversed(records), again, SMALL, recordings=downloads, run=in_threads(3))
    assert tree(again) == tree(folder)
    write_shards(records, tmp_path / "other", ShardSettings(megabytes=0.1), recordings=downloads)
    assert tree(tmp_path / "other") != tree(folder), "the control"
    absolute = [dataclasses.replace(r, audios=tuple(str(downloads / name) for name in r.audios)) for r in records]
    write_shards(absolute, tmp_path / "absolute", SMALL, recordings=downloads)
    assert tree(tmp_path / "absolute") == tree(folder), "no path of the machine gets in"


def _inodes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_ino for path in folder.rglob("*.tar")}


def test_only_shards_whose_contents_changed_are_made_again(records: list[Record], tmp_path: Path) -> None:
    downloads, target, fresh = tmp_path / "downloads", tmp_path / "shards", tmp_path / "fresh"
    names = write_tones(downloads, 40)
    write_shards(records, target, SMALL, recordings=downloads)
    before = _inodes(target)
    write_shards(records, target, SMALL, recordings=downloads)
    assert _inodes(target) == before and len(before) > 6
    samples, rate = soundfile.read(downloads / names[0])
    soundfile.write(downloads / names[0], -samples, rate)
    changed = [dataclasses.replace(records[30], meta={"answer": "new"}), *records[:30], *records[31:]]
    write_shards(changed, target, SMALL, recordings=downloads)
    after = _inodes(target)
    made = {name for name in after if after[name] != before[name]}
    assert 1 <= len(made) <= 3, "the recording's own, that of its pair, and the record's"
    write_shards(changed, fresh, SMALL, recordings=downloads)
    assert tree(target) == tree(fresh)


def test_shards_that_are_no_longer_named_are_removed(downloads: Path, records: list[Record], tmp_path: Path) -> None:
    write_shards(records, tmp_path / "a", SMALL, recordings=downloads)
    few = [record for record in records if len(record.audios) == 1][:9]
    write_shards(few, tmp_path / "a", SMALL, recordings=downloads)
    write_shards(few, tmp_path / "b", SMALL, recordings=downloads)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize(("ending", "subtype"), [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT")])
def test_flac_is_lossless(tmp_path: Path, ending: str, subtype: str) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (5000, 2))
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype=subtype)
    stored, rate = soundfile.read(tmp_path / "a.wav", dtype="int32")
    write_shards([a_record("x", ("a.wav",))], tmp_path / "s", ShardSettings(audio="flac"), recordings=tmp_path)
    (item,) = ShardStream(tmp_path / "s")
    (tmp_path / "b.flac").write_bytes(item.audios[0])
    back, back_rate = soundfile.read(tmp_path / "b.flac", dtype="int32")
    most = 0 if subtype != "FLOAT" else 2**8
    assert rate == back_rate and back.shape == stored.shape and np.abs(back - stored.astype(np.int64)).max() <= most


def test_opus_is_small_of_the_same_length_and_the_same_each_time(tmp_path: Path) -> None:
    times = np.arange(3 * 44_100) / 44_100
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * times), 44_100)
    made = []
    for name in "st":
        write_shards([a_record("x", ("a.wav",))], tmp_path / name, ShardSettings(audio="opus"), recordings=tmp_path)
        made += [item.audios[0] for item in ShardStream(tmp_path / name)]
    samples, rate = decoded(made[0], tmp_path)
    assert made[0] == made[1] and len(made[0]) < 40_000 and rate == 48_000
    assert abs(len(samples) / rate - 3) < 0.02 and abs(np.abs(np.fft.rfft(samples)).argmax() / 3 - 440) < 2
    assert soundfile.info(tmp_path / "decoded").subtype == "OPUS"


def test_opus_refuses_many_channels_and_flac_keeps_them(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((800, 4)) + 0.1, 24_000)
    with pytest.raises(CorpusError, match=r"a\.wav.*4 channels.*flac or stored"):
        write_shards([a_record("x", ("a.wav",))], tmp_path / "s", ShardSettings(audio="opus"), recordings=tmp_path)
    write_shards([a_record("x", ("a.wav",))], tmp_path / "t", ShardSettings(audio="flac"), recordings=tmp_path)
    (path,) = (tmp_path / "t").rglob("*.parquet")
    assert _rows(path)[0]["audios"][0]["channels"] == 4


def test_absent_and_damaged_recordings_are_refused_or_counted(tmp_path: Path) -> None:
    names = write_tones(tmp_path, 6)
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_bytes(b"no recording at all")
    records = [a_record(f"r{number}", (name,)) for number, name in enumerate(names)]
    for number in (0, 1):
        with pytest.raises(CorpusError, match=rf"record 'r{number}'.*00{number}\.flac.*leave it out"):
            write_shards([records[number]], tmp_path / f"no{number}", recordings=tmp_path)
    index = write_shards(records, tmp_path / "s", ShardSettings(missing="leave_out"), recordings=tmp_path)
    assert (index.total("records"), index.total("lost_records")) == (4, 2), "counts add up"
    assert {name for shard in index.shards for name in shard.lost} == set(names[:2])
    assert sorted(item.record.id for item in ShardStream(tmp_path / "s")) == ["r2", "r3", "r4", "r5"]
    assert "| train | 4 | 4 |" in (tmp_path / "s" / "README.md").read_text()


@pytest.mark.parametrize(
    ("audio", "message"),
    [("../outside.flac", "below"), ("https://example.com/a.flac", "below"), ("@nowhere/a.flac", "no folder is called")],
)
def test_recordings_are_read_from_known_folders_only(tmp_path: Path, audio: str, message: str) -> None:
    (tmp_path / "root").mkdir()
    write_tones(tmp_path, 1)
    with pytest.raises(CorpusError, match=message):
        write_shards([a_record("x", (audio,))], tmp_path / "s", recordings=tmp_path / "root")


def test_names_of_recordings_do_not_tell_where_folders_are(tmp_path: Path) -> None:
    places = Places(tmp_path / "root", {"made.train": tmp_path / "work" / "made" / "train-0123"})
    inner = tmp_path / "work" / "made" / "train-0123" / "a" / "b.wav"
    assert places.name(str(inner)) == "@made.train/a/b.wav" and places.path("@made.train/a/b.wav") == inner
    assert places.name(str(tmp_path / "root" / "c.wav")) == "c.wav" == places.name("c.wav")
    assert places.provenance("/somewhere/d.wav") == "d.wav"


def test_an_id_may_occur_once_in_a_split(downloads: Path, records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="'one-0-0' occurs twice in train"):
        write_shards([*records, records[0]], tmp_path / "s", recordings=downloads)
    other = dataclasses.replace(records[0], split="dev")
    write_shards([*records, other], tmp_path / "t", recordings=downloads)


def test_other_folders_are_left_alone(tmp_path: Path, records: list[Record], downloads: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(CorpusError, match="something else than shards"):
        write_shards(records, tmp_path, recordings=downloads)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(
    "values",
    [{"audio": "mp3"}, {"missing": "guess"}, {"megabytes": 0}, {"megabytes": float("nan")}, {"records": True},
     {"opus_kbps": 900}],
)  # fmt: skip
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        ShardSettings(**values)  # type: ignore[arg-type]


def _copy(folder: Path, target: Path) -> Path:
    for name, data in tree(folder).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return target


def test_damage_is_seen(folder: Path, tmp_path: Path) -> None:
    assert verify_shards(folder) == read_index(folder), "the control"
    copy = _copy(folder, tmp_path / "copy")
    victim = next(iter(copy.rglob("*.tar")))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(CorpusError, match=f"{victim.parent.name}/{victim.name} has other bytes"):
        verify_shards(copy)
    victim.write_bytes(data[:-512])
    split = victim.relative_to(copy).parts[0]
    with pytest.raises(CorpusError, match="the index says"):
        ShardStream(copy, split)
    victim.unlink()
    with pytest.raises(CorpusError, match="is absent"):
        verify_shards(copy)


def test_damaged_files_give_a_typed_error_or_the_rows(folder: Path, tmp_path: Path) -> None:
    """Random bytes of index and tars are changed: an `AlmError`, or records that pass their own checks."""
    copy = _copy(folder, tmp_path / "copy")
    rng = random.Random(0)
    victims = [copy / "index.json", *sorted(copy.rglob("test/*/*.tar")), *sorted(copy.rglob("test/*/*.parquet"))]
    seen = Counter()
    for turn in range(150):
        path = victims[0] if turn % 3 == 0 else rng.choice(victims)
        whole = path.read_bytes()
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            rows = list(ShardStream(copy, "test"))
            seen["read"] += 1
            assert len(rows) <= 15
        except AlmError:
            seen["error"] += 1
        path.write_bytes(whole)
    assert seen["read"] + seen["error"] == 150 and seen["error"] > 30, seen


def test_commands(downloads: Path, records: list[Record], tmp_path: Path) -> None:
    absolute = [dataclasses.replace(r, audios=tuple(str(downloads / name) for name in r.audios)) for r in records]
    write_records(absolute, tmp_path / "rows.jsonl")
    runner, out = CliRunner(), str(tmp_path / "out")
    made = runner.invoke(cli.app, ["shard", str(tmp_path / "rows.jsonl"), "--out", out, "--megabytes", "0.02"])
    assert made.exit_code == 0, made.output
    told = runner.invoke(cli.app, ["shards", out, "--verify", "--json"])
    assert json.loads(told.stdout)["train"]["records"] == sum(record.split == "train" for record in records)
    os.truncate(next(Path(out).rglob("*.tar")), 100)
    assert runner.invoke(cli.app, ["shards", out, "--verify"]).exit_code == 2
    assert runner.invoke(cli.app, ["shards", str(downloads)]).exit_code == 2
    assert runner.invoke(cli.app, ["shard", str(tmp_path / "no.jsonl"), "--out", out]).exit_code == 2
