"""Copies: exact and near, on planted ones; the index on disk; benchmarks kept out of training."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from inspect_store import RATE, chirps, mixed, played, save, store
from typer.testing import CliRunner

from alm.audio import Waveform, load_audio
from alm.testing import noise, silence, tone
from data_prep.cli import app
from data_prep.copies.exact import pcm_digest
from data_prep.copies.index import Index, Known, Writer, fingerprint, merge
from data_prep.copies.landmarks import ASKED, NAMES, PIECE_SECONDS, landmarks, names, names_to_ask, pieces, triangles
from data_prep.copies.leaks import LeakError, check_leaks
from data_prep.copies.matching import CopyLimits, find
from data_prep.copies.recordings import Recording, recordings_of
from data_prep.copies.search import copies_among, fill, pair_from_json
from data_prep.errors import CorpusError

PLANTED = 24


def known(name: str) -> Known:
    return Known(name, 1, 1, 3.0, name)


def encoded(waveform: Waveform, kind: str, subtype: str) -> Waveform:
    target = io.BytesIO()
    soundfile.write(target, waveform.samples, waveform.rate, format=kind, subtype=subtype)
    return load_audio(target.getvalue(), name=f"x.{kind.lower()}")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("index")
    writer = Writer(folder)
    for seed in range(PLANTED):
        writer.add(known(str(seed)), fingerprint(chirps(seed)))
    writer.flush()
    return Index(folder)


CHANGES: dict[str, Callable[[Waveform], Waveform]] = {
    "mp3": lambda w: encoded(w, "MP3", "MPEG_LAYER_III"),
    "opus": lambda w: encoded(w, "OGG", "OPUS"),
    "higher": lambda w: played(w, 2 ** (1 / 12)),
    "lower": lambda w: played(w, 2 ** (-2 / 12)),
    "cut": lambda w: w.segment(0.8, 2.3),
    "mixed": lambda w: mixed(w, chirps(1000), 3.0),
    "softer": lambda w: Waveform(w.samples * np.float32(0.05), w.rate),
}


def names_found(index: Index, waveform: Waveform) -> list[str]:
    return [match.recording for match in find(index, fingerprint(waveform))]


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_and_nothing_else(index: Index, change: str) -> None:
    found = {seed: names_found(index, CHANGES[change](chirps(seed))) for seed in range(0, PLANTED, 8)}
    assert found == {seed: [str(seed)] for seed in found}


def test_other_recordings_are_no_copies(index: Index) -> None:
    """The control of the test above: recordings that were never put in are not found."""
    for other in (*map(chirps, range(100, 108)), tone(3.0), noise(3.0), silence(3.0)):
        assert names_found(index, other) == []


def test_a_match_says_how_the_copy_was_moved(index: Index) -> None:
    (cut,) = find(index, fingerprint(chirps(3).segment(1.0, 3.0)))
    assert (cut.semitones, cut.speed) == (pytest.approx(0, abs=0.1), 1.0)
    assert cut.there - cut.here == pytest.approx(1.0, abs=0.05)
    (fast,) = find(index, fingerprint(played(chirps(3), 2 ** (2 / 12))))
    assert fast.semitones == pytest.approx(2.0, abs=0.3)
    assert fast.speed == pytest.approx(2 ** (2 / 12), abs=0.02)


def test_limits_decide(index: Index) -> None:
    copy = fingerprint(chirps(5))
    best = find(index, copy)[0]
    assert best.score > 20 and best.share > 0.9
    assert find(index, copy, CopyLimits(least_score=best.score + 1)) == []
    assert find(index, copy, CopyLimits(least_points=best.points + 1)) == []


def test_a_shift_of_pitch_keeps_triangles() -> None:
    here, there = (landmarks(w.samples) for w in (chirps(1), played(chirps(1), 2 ** (1 / 12))))
    stored = names(here, triangles(here, 4))
    asked, _ = names_to_ask(there, triangles(there, ASKED.partners))
    assert np.isin(stored, asked).mean() > 0.25
    other = landmarks(chirps(2).samples)
    unlike, _ = names_to_ask(other, triangles(other, ASKED.partners))
    assert np.isin(stored, unlike).mean() < 0.02
    assert asked.max() < NAMES


def test_long_recordings_are_looked_at_in_pieces(tmp_path: Path) -> None:
    long = Waveform(np.concatenate([chirps(seed, 10.0).samples for seed in range(12)]), RATE)
    assert [start for start, _ in pieces(long)] == [0.0, 44.0, 88.0]
    assert max(len(samples) for _, samples in pieces(long)) == PIECE_SECONDS * RATE
    writer = Writer(tmp_path)
    writer.add(known("long"), fingerprint(long))
    writer.flush()
    (match,) = find(Index(tmp_path), fingerprint(long.segment(70.0, 76.0)))
    assert match.there - match.here == pytest.approx(70.0, abs=0.1)


@pytest.mark.parametrize("samples", [0, 1, 100, 5000])
def test_tiny_recordings_have_a_fingerprint(samples: int) -> None:
    if samples:
        fingerprint(Waveform(np.full(samples, 0.1, np.float32), 44_100))
    assert len(landmarks(np.zeros(samples, np.float32))) == 0


def test_merged_segments_find_the_same(tmp_path: Path) -> None:
    writer = Writer(tmp_path, triangles_per_segment=300)
    for seed in range(8):
        writer.add(known(str(seed)), fingerprint(chirps(seed)))
    writer.add(known("silent"), fingerprint(silence(1.0)))
    writer.flush()
    parts = Index(tmp_path)
    assert len(parts.segments) > 3
    before = [find(parts, fingerprint(chirps(seed))) for seed in range(8)]
    whole = merge(tmp_path)
    assert len(whole.segments) == 1 and whole.recordings == parts.recordings
    assert [find(whole, fingerprint(chirps(seed))) for seed in range(8)] == before
    assert [match[0].recording for match in before] == [str(seed) for seed in range(8)]


def test_a_merge_that_was_killed_is_harmless(tmp_path: Path) -> None:
    """Killed before the new segment stands, or before the old ones are gone."""
    writer = Writer(tmp_path)
    for seed in range(2):
        writer.add(known(str(seed)), fingerprint(chirps(seed)))
        writer.flush()
    old = {path.name: {f.name: f.read_bytes() for f in path.iterdir()} for path in tmp_path.glob("segment-*")}
    (tmp_path / ".part-segment").mkdir()
    Writer(tmp_path)
    merge(tmp_path)
    for name, files in old.items():
        (tmp_path / name).mkdir()
        for file, data in files.items():
            (tmp_path / name / file).write_bytes(data)
    assert len(Index(tmp_path).segments) == 1
    assert names_found(Index(tmp_path), chirps(1)) == ["1"]
    writer = Writer(tmp_path)
    writer.add(known("2"), fingerprint(chirps(2)))
    writer.flush()
    assert len(merge(tmp_path).recordings) == 3
    assert len(list(tmp_path.glob("segment-*"))) == 1, "what the kill left behind has not come back"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 99, "instead_of": []}\n', b"\xff\xfe"])
def test_a_damaged_index_is_refused(tmp_path: Path, damage: bytes) -> None:
    writer = Writer(tmp_path)
    writer.add(known("a"), fingerprint(chirps(0)))
    writer.flush()
    next(tmp_path.glob("segment-*/recordings.jsonl")).write_bytes(damage)
    with pytest.raises(CorpusError, match="delete it and run again"):
        Index(tmp_path)


def test_exact_copies_have_one_hash(tmp_path: Path) -> None:
    steps = np.rint(chirps(1).samples * 32_768) / 32_768
    waveform = Waveform(steps.astype(np.float32), RATE)
    soundfile.write(tmp_path / "a.flac", waveform.samples, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "a.wav", waveform.samples, RATE, subtype="FLOAT")
    hashes = {pcm_digest(load_audio(tmp_path / name)) for name in ("a.flac", "a.wav")}
    assert hashes == {pcm_digest(waveform)}
    changed = waveform.samples.copy()
    changed[100] += 1 / 32_768
    assert pcm_digest(Waveform(changed, RATE)) not in hashes
    assert pcm_digest(Waveform(waveform.samples, 8_000)) not in hashes


def library(folder: Path) -> list[Recording]:
    for seed in range(4):
        save(chirps(seed), folder / f"{seed}.wav")
    save(chirps(1), folder / "again.wav")
    save(played(chirps(2), 1.05), folder / "faster.wav")
    (folder / "broken.wav").write_bytes(b"not a recording")
    return recordings_of(folder)


def test_pairs_groups_and_what_cannot_be_read(tmp_path: Path) -> None:
    seen: list[int] = []
    report = copies_among(library(tmp_path / "in"), tmp_path / "work", advance=seen.append)
    pairs = {frozenset((pair.recording, pair.other)): pair.same_samples for pair in report.pairs}
    assert pairs == {frozenset({"1.wav", "again.wav"}): True, frozenset({"2.wav", "faster.wav"}): False}
    assert report.groups == [["1.wav", "again.wav"], ["2.wav", "faster.wav"]]
    assert list(report.unreadable) == ["broken.wav"] and report.recordings == 7 and sum(seen) == 14
    again = [pair_from_json(json.loads(json.dumps(pair.to_json()))) for pair in report.pairs]
    assert tuple(again) == report.pairs


def test_a_second_run_reads_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = library(tmp_path / "in")
    first = copies_among(recordings, tmp_path / "work")
    journal = tmp_path / "work/looked-up.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # the last line cut short, as by a kill
    read: list[Path] = []
    monkeypatch.setattr(
        "data_prep.copies.search.load_audio", lambda path: read.append(path) or load_audio(path)  # type: ignore[func-returns-value]
    )
    assert copies_among(recordings, tmp_path / "work") == first
    assert len(read) == 1, "only what the cut line was about"
    (tmp_path / "in/0.wav").touch()
    with pytest.raises(CorpusError, match=r"0\.wav.*changed since"):
        copies_among(recordings, tmp_path / "work")
    with pytest.raises(CorpusError, match="not among these recordings"):
        fill(tmp_path / "work/index", recordings[1:], lambda count: None)


@pytest.mark.slow
def test_workers_do_not_change_what_is_found(tmp_path: Path) -> None:
    recordings = library(tmp_path / "in")
    one = copies_among(recordings, tmp_path / "one")
    assert copies_among(recordings, tmp_path / "two", workers=2) == one


def test_benchmarks_are_kept_out_of_training(tmp_path: Path) -> None:
    training = library(tmp_path / "in")
    save(chirps(3).segment(0.5, 2.5), tmp_path / "bench/item-7.wav")
    bench = {"bells": recordings_of(tmp_path / "bench")}
    report = check_leaks(training, bench, tmp_path / "work")
    assert report.leaking == {"3.wav"}
    with pytest.raises(LeakError, match=r"1 training recordings .*'bells': '3\.wav' is 'item-7\.wav'.*--allow bells"):
        report.refuse()
    check_leaks(training, bench, tmp_path / "work", allow=["bells"]).refuse()
    with pytest.raises(CorpusError, match="no such benchmark here; those compared with are bells"):
        check_leaks(training, bench, tmp_path / "work", allow=["horns"])
    clean = [one for one in training if one.name not in report.leaking]
    check_leaks(clean, bench, tmp_path / "other").refuse()


def run(*args: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, done.output


def test_commands(tmp_path: Path) -> None:
    folder = store(tmp_path / "set")
    code, said = run("copies", folder, "--dry-run")
    assert code == 0 and "7 recordings" in said and not (folder / "copies.json").exists()
    code, said = run("copies", folder)
    assert code == 0 and "1 pairs lie on two sides of a split" in said
    told = json.loads((folder / "copies.json").read_text())
    assert (told["near"], told["same_samples"], told["across_splits"]) == (1, 0, 1)
    assert sorted(told["groups"][0]) == ["audio/1.wav", "audio/heard.wav"]

    against = f"held={folder}/test.jsonl"
    code, said = run("leaks", folder / "train.jsonl", "--against", against)
    assert code == 2 and "audio/1.wav" in said
    assert run("leaks", folder / "train.jsonl", "--against", against, "--allow", "held")[0] == 0
    clean = folder / "clean.jsonl"
    assert run("leaks", folder / "train.jsonl", "--against", against, "--clean", clean)[0] == 0
    kept = [json.loads(line)["id"] for line in clean.read_text().splitlines()]
    assert kept == [f"train-{n}" for n in (0, 2, 3, 4, 5)]
    assert run("leaks", clean, "--against", against, "--work", tmp_path / "again")[0] == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("copies", "nowhere"), "not there"),
        (("leaks", "IN", "--against", "bells"), "NAME=PLACE"),
        (("leaks", "IN", "--against", "../x=IN"), "NAME=PLACE"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    save(chirps(0), tmp_path / "a.wav")
    code, output = run(*(arg.replace("IN", str(tmp_path)) for arg in args))
    assert code == 2 and said in " ".join(output.split())


