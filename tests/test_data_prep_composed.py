"""Composed scenes: the table of events is what is heard, levels are what the sample says, runs go on and repeat."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from composed_toys import (
    PLAIN,
    RATE,
    STEADY,
    TONES,
    files_of,
    heard_from_to,
    level_of,
    read,
    tone,
    toy_plan,
    toy_samples,
)

from data_prep import signal
from data_prep.composed import Composer, compose, load_plan
from data_prep.composed.apart import load_apart
from data_prep.composed.clips import Loop
from data_prep.composed.codecs import CODECS
from data_prep.composed.plan import plan_names
from data_prep.composed.pool import cuts
from data_prep.errors import CorpusError
from data_prep.samples import Event, Sample

SLACK = 0.03
"""Seconds: three frames of the measurement."""


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return toy_samples(tmp_path_factory.mktemp("toys"))


def facts(sample: Sample) -> dict:  # type: ignore[type-arg]
    return sample.extras["composed"]


def wrong_times(sample: Sample, shift: float = 0.0, slack: float = SLACK) -> list[str]:
    """Differences between the table, moved by `shift`, and what is heard."""
    samples, wrong = read(sample), []
    for label in sample.labels:
        told = [(e.onset + shift, e.offset + shift) for e in sample.events if e.label == label]
        heard = list(heard_from_to(samples, label))
        pairs = list(zip(told, heard, strict=False))
        close = all(abs(t[0] - h[0]) <= slack and h[1] <= t[1] + slack for t, h in pairs)
        if len(told) != len(heard) or not close:
            wrong.append(f"{sample.id} {label}: told {told}, heard {heard}")
    return wrong


# --- where a scene comes from ---


def test_a_scene_names_the_packages_of_its_sounds(toys: list[Sample], tmp_path: Path) -> None:
    packed = [dataclasses.replace(s, extras={"packages": [f"package-{s.labels[0]}"]}) for s in toys]
    plan = toy_plan(kinds={"sequence": 1}, background_chance=0.0)
    for scene in compose(packed, plan, 0, tmp_path / "packed"):
        assert scene.packages == tuple(sorted(f"package-{label}" for label in scene.labels))
        assert scene.source == f"toys-{scene.split}"
    plain = next(iter(compose(toys, plan, 0, tmp_path / "plain")))
    assert plain.packages == (plain.source,), "a source that says nothing is its own package"


# --- the table of events ---


@pytest.mark.parametrize("kind", ["sequence", "repetition", "timeline", "overlap"])
def test_events_are_where_the_table_says(toys: list[Sample], tmp_path: Path, kind: str) -> None:
    plan = toy_plan(kinds={kind: 1}, event_seconds=(0.2, 1.5))
    scenes = list(compose([s for s in toys if s.labels != (STEADY,)], plan, 0, tmp_path))
    assert len(scenes) == 6
    for scene in scenes:
        assert not (wrong := wrong_times(scene)), wrong
        assert scene.complete and scene.labels == tuple(dict.fromkeys(e.label for e in scene.events))
        assert scene.seconds == pytest.approx(len(read(scene)) / RATE, abs=1e-4)
    assert all(wrong_times(scene, shift=0.1) for scene in scenes)


@pytest.mark.parametrize("codec", list(CODECS))
def test_a_codec_moves_nothing(toys: list[Sample], tmp_path: Path, codec: str) -> None:
    plan = toy_plan(scenes={"dev": 2}, codec_chance=1.0, codecs=(codec,), level_db=(-20.0, -20.0))
    few = [s for s in toys if TONES[s.labels[0]] < 3000]
    plain = list(compose(few, toy_plan(scenes={"dev": 2}, level_db=(-20.0, -20.0)), 0, tmp_path / "plain"))
    for scene in compose(few, plan, 0, tmp_path):
        assert facts(scene)["effects"]["codec"] == codec
        for event in scene.events:
            begin = next(iter(heard_from_to(read(scene), event.label)))[0]
            assert abs(begin - event.onset) <= SLACK
    assert not any("codec" in facts(scene)["effects"] for scene in plain)





def test_overlaps_and_counts_are_as_told(toys: list[Sample], tmp_path: Path) -> None:
    for scene in compose(toys, toy_plan(kinds={"overlap": 1}), 1, tmp_path):
        assert all(b.onset <= a.offset - 0.35 for a, b in pairwise(scene.events))
    for scene in compose(toys, toy_plan(kinds={"repetition": 1}, events=(1, 5)), 1, tmp_path):
        assert facts(scene)["countable"] == list(scene.labels) and len(scene.labels) == 1
        assert len(list(heard_from_to(read(scene), scene.labels[0]))) == len(scene.events)


def test_a_sound_with_two_bursts_is_not_counted(tmp_path: Path) -> None:
    clip = np.concatenate([tone(500, 0.3, 8.0), np.zeros(1600, np.float32), tone(500, 0.3, 8.0)])
    soundfile.write(tmp_path / "two.wav", clip, RATE)
    two = Sample("two", str(tmp_path / "two.wav"), "toys", "train", "CC0-1.0", labels=("frog",))
    with pytest.raises(CorpusError, match="repetition"):
        list(compose([two], toy_plan(kinds={"repetition": 1}), 0, tmp_path))


def test_levels_are_as_told(toys: list[Sample], tmp_path: Path) -> None:
    """The background lies below the events by the SNR, and every level is that of the file."""
    plan = toy_plan(kinds={"needle": 1}, background_chance=1.0, snr_db=(6.0, 18.0), spread_db=0.0)
    seen = set()
    for scene in compose(toys, plan, 0, tmp_path):
        background = next(e for e in scene.events if e.background)
        assert background.label == STEADY and (background.onset, background.offset) == (0.0, scene.seconds)
        parts = {p["label"]: p["level_db"] for p in facts(scene)["parts"]}
        told = parts.pop(STEADY)
        heard = level_of(read(scene), STEADY, frame=0.05)
        assert 20 * np.log10(np.median(heard) / np.sqrt(2)) == pytest.approx(told, abs=0.5)
        snr = facts(scene)["effects"]["snr_db"]
        assert np.mean(list(parts.values())) - told == pytest.approx(snr, abs=0.5)
        seen.add(snr)
    assert len(seen) > 1


def test_noise_is_as_far_below_as_told(toys: list[Sample], tmp_path: Path) -> None:
    plan = toy_plan(noise_chance=1.0, noise_snr_db=(20.0, 20.0))
    for scene in compose(toys, plan, 0, tmp_path):
        samples = read(scene)
        before = samples[: round((scene.events[0].onset - 0.01) * RATE)]
        level = np.mean([p["level_db"] for p in facts(scene)["parts"]])
        if len(before) > 4000:
            rms = 20 * np.log10(np.sqrt(np.mean(before.astype(float) ** 2)))
            assert level - rms == pytest.approx(20, abs=3)


def test_nothing_is_clipped(toys: list[Sample], tmp_path: Path) -> None:
    plan = toy_plan(kinds={"overlap": 1}, level_db=(-6.0, -6.0), spread_db=6.0, events=(4, 4))
    for scene in compose(toys, plan, 0, tmp_path):
        assert np.abs(read(scene)).max() <= 0.951


# --- directions ---




def test_spatial_scenes_tell_where(toys: list[Sample], tmp_path: Path) -> None:
    plan = toy_plan(scenes={"test": 2}, layout="foa", codec_chance=1.0, decay_seconds=(0.1, 0.1))
    for scene in compose(toys, plan, 0, tmp_path):
        assert scene.channels == "foa" and soundfile.info(scene.audio).channels == 4
        assert all(None not in (e.azimuth, e.elevation, e.distance) for e in scene.events)
        assert "codec" not in facts(scene)["effects"]


# --- the same again, and going on ---


def test_the_same_bytes_in_any_order_and_place(toys: list[Sample], tmp_path: Path) -> None:
    plan = dataclasses.replace(load_plan("mixed"), scenes={"train": 5, "test": 2}, seconds=(5.0, 8.0), rate_hz=RATE)
    plan = dataclasses.replace(plan, events=(2, 3), codec_chance=0.5, decay_seconds=(0.1, 0.12))
    list(compose(toys, plan, 3, tmp_path / "a"))
    list(compose(toys[::-1], plan, 3, tmp_path / "b" / "elsewhere"))
    list(compose(toys, plan, 4, tmp_path / "c"))
    first, second, other = (files_of(tmp_path / name) for name in ("a", "b/elsewhere", "c"))
    assert first == second and len(first) == 9
    assert not set(first) & set(other)


def test_an_interrupted_run_goes_on(toys: list[Sample], tmp_path: Path) -> None:
    whole = list(compose(toys, PLAIN, 0, tmp_path / "whole"))
    run = compose(toys, PLAIN, 0, tmp_path / "part")
    for _ in range(3):
        kept = next(run)
    run.close()
    path = next((tmp_path / "part").glob("*.jsonl"))
    path.write_bytes(path.read_bytes()[:-7])  # the last line is torn
    (Path(kept.audio).parent / ".part-0-left.flac").write_bytes(b"x")
    first = sorted((tmp_path / "part").rglob("composed*.flac"))[0]
    before = first.stat().st_mtime_ns
    again = list(compose(toys, PLAIN, 0, tmp_path / "part"))
    assert [s.id for s in again] == [s.id for s in whole]
    assert files_of(tmp_path / "part") == files_of(tmp_path / "whole")
    assert first.stat().st_mtime_ns == before, "a finished scene was made again"
    first.unlink()
    list(compose(toys, PLAIN, 0, tmp_path / "part"))
    assert files_of(tmp_path / "part") == files_of(tmp_path / "whole")


def test_more_scenes_keep_those_that_are_there(toys: list[Sample], tmp_path: Path) -> None:
    few = [s.id for s in compose(toys, toy_plan(scenes={"train": 2}), 0, tmp_path)]
    assert [s.id for s in compose(toys, toy_plan(scenes={"train": 4}), 0, tmp_path)][:2] == few
    changed = [dataclasses.replace(s, labels=("horse",)) if s.labels == ("cow",) else s for s in toys]
    assert not {s.id for s in compose(changed, toy_plan(scenes={"train": 2}), 0, tmp_path)} & set(few)


def test_splits_are_never_mixed(toys: list[Sample], tmp_path: Path) -> None:
    plan = toy_plan(scenes={"train": 3, "dev": 3, "test": 3})
    scenes = list(compose(toys, plan, 0, tmp_path))
    assert {s.split for s in scenes} == {"train", "dev", "test"}
    assert all({p["source"] for p in facts(s)["parts"]} == {f"toys-{s.split}"} for s in scenes)
    with pytest.raises(CorpusError, match="dev"):
        list(compose([s for s in toys if s.split == "train"], plan, 0, tmp_path))


# --- what is drawn from ---


def test_only_what_is_sure_is_cut() -> None:
    def labels(**more: object) -> list[tuple[str, float, float | None]]:
        sample = Sample("a", "/x/a.wav", "toy", "train", "CC0-1.0", start=10.0, seconds=8.0, **more)  # type: ignore[arg-type]
        return [(cut.label, cut.start, cut.seconds) for cut in cuts(sample)]

    events = (Event("dog", 0.5, 1.0), Event("cat", 0.9, 2.0), Event("cow", 3.0, 4.0), Event("cow", 5.0, 6.5))
    assert labels(labels=("dog",)) == [("dog", 10.0, 8.0)]
    assert labels(labels=("dog", "animal")) == labels() == []
    assert labels(transcript="hello") == [("speech", 10.0, 8.0)]
    assert labels(events=events, complete=True) == [("cow", 13.0, 1.0), ("cow", 15.0, 1.5)]
    assert labels(events=events) == []
    assert not list(cuts(Sample("a", "/x", "toy", "dev", "CC0-1.0", labels=("dog",)), only_complete=True))


def test_what_may_be_taken_for_each_other_is_kept_apart() -> None:
    apart = load_apart()
    pairs = (("dog barking", "dogs"), ("male speech", "conversation"), ("rain", "stream"), ("Car horn", "car"))
    for one, other in pairs:
        assert apart.confusable(one, other) and apart.confusable(other, one)
    assert not apart.confusable("dog barking", "rain")
    assert apart.opposites(["piano"], ["guitar", "frog"]) == ["frog"]


def test_recordings_that_cannot_be_read_are_told(toys: list[Sample], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF no sound at all")
    bad = Sample("bad", str(broken), "toys-train", "train", "CC0-1.0", labels=("horse",))
    composer = Composer([*toys, bad], toy_plan(events=(4, 4), seconds=(9.0, 9.0)), 0, tmp_path)
    for index in range(6):
        assert "horse" not in composer.scene("train", index).labels
    assert list(composer.lost) == [str(broken)] and "broken.wav" in composer.lost[str(broken)]


def test_a_split_with_too_few_labels_says_so(toys: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="a scene wants 2 sounds"):
        list(compose([s for s in toys if s.labels == ("cow",)], PLAIN, 0, tmp_path))
    with pytest.raises(CorpusError, match="single label"):
        list(compose([], PLAIN, 0, tmp_path))


def test_a_loop_is_the_same_in_any_blocks() -> None:
    loop = Loop(tone(300, 1.3, 0.0), RATE)
    whole = loop.block(0, 5 * RATE)
    parts = np.concatenate([loop.block(first, 1234) for first in range(0, 5 * RATE, 1234)])
    assert np.array_equal(whole, parts[: len(whole)])
    levels = signal.frame_levels(whole[RATE // 4 :], RATE)
    assert levels.min() > 0.5 * np.median(levels)


def test_shipped_plans_hold(toys: list[Sample]) -> None:
    assert {"mixed", "long", "spatial", "teminal-a", "teminal-b"} <= set(plan_names())
    for name in plan_names():
        load_plan(name)
