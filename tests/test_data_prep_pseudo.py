"""Labels by confidence: thresholds do what they promise, views keep what is heard, runs go on, trust is measured."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from composed_toys import RATE, TONES, files_of, level_of, tone, toy_samples
from typer.testing import CliRunner

from alm.audio import Waveform
from alm.errors import AlmError
from data_prep.cli import app
from data_prep.errors import CorpusError
from data_prep.pseudo.calibration import Labelled, Platt, calibration_error, fit_platt, quality, reliability
from data_prep.pseudo.confidences import confidences, file_name
from data_prep.pseudo.labelling import SAMPLES, VIEWS, PseudoPlan, pseudo_label, write_all_views
from data_prep.pseudo.scorers import Probabilities, ScoreFile, open_sample
from data_prep.pseudo.thresholds import NEVER, LabelPlan, decide, fixed, per_class, relative
from data_prep.pseudo.views import ViewPlan, view
from data_prep.sample_files import read_samples, write_samples
from data_prep.samples import Sample

LABELS = tuple(TONES)
CLEAR = dict.fromkeys(LABELS, 0.02)


class ByTone:
    """Hears which tone is strongest; `asked` counts recordings."""

    name, labels, fingerprint = "by tone", LABELS, "1"

    def __init__(self) -> None:
        self.asked = 0

    def score(self, sample: Sample, recording: Waveform | None = None) -> Probabilities:
        self.asked += 1
        shown = recording if recording is not None else open_sample(sample)
        levels = np.array([np.median(level_of(shown.samples, label, shown.rate, 0.05)) for label in LABELS])
        return (levels / max(1e-9, float(levels.sum()))).astype(np.float32)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return toy_samples(tmp_path_factory.mktemp("toys"), takes=1)


def array(rows: Sequence[Sequence[float]]) -> Probabilities:
    return np.array(rows, dtype=np.float32)


# --- thresholds ---


def test_a_recording_counts_when_sure_of_one_label() -> None:
    plan = LabelPlan(threshold=0.75, guess=0.5, absent=0.1)
    labels = ("a", "b", "c", "d")
    guess = decide(array([[0.4, 0.9, 0.05, 0.3]])[0], labels, fixed(labels, plan), plan)
    assert guess.labels == ("b", "a") and guess.absent == ("c",)
    assert guess.confidence == {"b": 0.9, "a": 0.4}
    assert not decide(array([[0.7, 0.7, 0.7, 0.0]])[0], labels, fixed(labels, plan), plan).labels
    single = replace(plan, single=True)
    assert decide(array([[0.8, 0.9, 0.8, 0.0]])[0], labels, fixed(labels, single), single).labels == ("b",)


def test_relative_thresholds_are_lower_for_labels_seldom_reached() -> None:
    plan = LabelPlan(method="relative", threshold=0.8, absent=0.05)
    rows = array([[0.9, 0.1, 0.0]] * 30 + [[0.1, 0.85, 0.0]] * 10 + [[0.3, 0.3, 0.3]] * 5)
    common, rarer, never = relative(iter(rows), ("a", "b", "c"), plan)
    assert common == pytest.approx(0.8) and never == pytest.approx(0.05)
    share = 10 / 30
    assert rarer == pytest.approx(0.8 * share / (2 - share))
    early = relative(iter(array([[0.9, 0.1, 0.0]] * 5 + [[0.3, 0.3, 0.3]] * 95)), ("a", "b", "c"), plan)
    assert early[0] < 0.1, "while most are undecided, all thresholds are low"


def test_thresholds_by_class_are_as_precise_as_wished() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4000, 3)) < np.array([0.3, 0.3, 0.001])
    noise = np.array([0.15, 0.4, 0.1])
    scores = np.clip(truth * 0.6 + 0.2 + noise * rng.standard_normal((4000, 3)), 0, 1).astype(np.float32)
    plan = LabelPlan(method="per-class", precision=0.9, threshold=0.75, least_positives=20)
    found = per_class(scores[:2000], truth[:2000], plan)
    assert found[0] < found[1] and found[2] == 0.75
    for label in (0, 1):
        taken = scores[2000:, label] >= found[label]
        assert truth[2000:, label][taken].mean() == pytest.approx(0.9, abs=0.04) and taken.sum() > 50
    hopeless = per_class(scores[:, :1], ~truth[:, :1], replace(plan, precision=1.0))
    assert hopeless[0] == NEVER or scores[:, 0].max() >= hopeless[0]


@pytest.mark.parametrize(
    "bad", [{"method": "best"}, {"threshold": 1.5}, {"guess": -1}, {"absent": 0.9}, {"least_positives": 0}]
)
def test_label_plans_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(CorpusError, match=next(iter(bad))):
        LabelPlan(**bad)


# --- trust ---


def test_overconfidence_is_measured_and_corrected() -> None:
    rng = np.random.default_rng(1)
    honest = rng.random((20_000, 1))
    truth = rng.random((20_000, 1)) < honest
    logits = 3 * np.log(honest / (1 - honest)) + 1
    loud = (1 / (1 + np.exp(-logits))).astype(np.float32)
    assert calibration_error(reliability(honest.astype(np.float32), truth)) < 0.02
    before = calibration_error(reliability(loud, truth))
    correction = fit_platt(loud[::2], truth[::2])
    after = calibration_error(reliability(correction(loud[1::2]), truth[1::2]))
    assert before > 0.1 and after < 0.02
    assert correction.slope == pytest.approx(1 / 3, rel=0.1)
    assert fit_platt(loud, np.zeros_like(truth)) == Platt(), "nothing to learn from"


def test_quality_counts_what_is_taken() -> None:
    data = Labelled(("a", "b"), array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.3]]), np.array([[1, 0], [0, 1], [1, 0]], bool))
    found = quality(data, np.full(2, 0.75), LabelPlan(guess=0.9))
    assert (found["with_labels"], found["coverage"]) == (2, 0.6667)
    assert (found["precision"], found["recall"], found["first_label_right"]) == (0.6667, 0.6667, 0.5)


# --- views ---


def test_views_repeat_and_differ_as_they_should() -> None:
    clip, plan = Waveform(tone(900, 1.5, 0.5), RATE, "piano"), ViewPlan()
    for kind in ("weak", "strong"):
        first, again, other = (view(clip, plan, kind, (key,)) for key in (1, 1, 2))
        assert np.array_equal(first.samples, again.samples)
        assert first.samples.shape != other.samples.shape or not np.array_equal(first.samples, other.samples)
        assert np.abs(first.samples).max() <= 0.951 and np.abs(first.samples).max() > 0.001

    def distance(kind: str) -> float:
        same_speed = ViewPlan(weak_speed=(1.0, 1.0), strong_speed=(1.0, 1.0))
        shown = [view(clip, same_speed, kind, (key,)).samples[: len(clip.samples)] for key in range(4)]
        near = [np.corrcoef(one, clip.samples[: len(one)])[0, 1] for one in shown]
        return 1 - float(np.mean(near))

    assert distance("weak") < 0.2 < distance("strong")
    with pytest.raises(CorpusError, match="odd"):
        view(clip, plan, "odd", (1,))
    with pytest.raises(CorpusError, match="strong_speed"):
        ViewPlan(strong_speed=(2.0, 1.0))


# --- runs ---


def test_labels_are_found_and_told(toys: list[Sample], tmp_path: Path) -> None:
    unknown = [replace(s, labels=()) for s in toys if s.split == "train"]
    known = [s for s in toys if s.split != "train"]
    broken = replace(unknown[0], id="broken", audio=str(tmp_path / "none.wav"))
    plan = PseudoPlan(LabelPlan(threshold=0.5), calibrate=False)
    report = pseudo_label([*unknown, broken], ByTone(), plan, tmp_path, known)
    found = list(read_samples(tmp_path / SAMPLES))
    assert [s.labels for s in found] == [s.labels for s in toys if s.split == "train"]
    assert (report.samples, report.labelled, sum(report.failed.values())) == (len(unknown) + 1, len(unknown), 1)
    assert not any(s.complete for s in found) and all(s.extras["pseudo"]["by"] == "by tone" for s in found)
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["trusted"]["quality"]["precision"] == 1.0 and told["by_label"] == dict.fromkeys(LABELS, 1)
    assert "precision 100.0%" in (tmp_path / "report.md").read_text() and (tmp_path / "calibration.png").stat().st_size
    assert write_all_views(tmp_path, plan) == 2 * len(unknown)
    views = list(read_samples(tmp_path / VIEWS))
    assert {s.extras["view"]["kind"] for s in views} == {"weak", "strong"}
    assert all(Path(s.audio).is_file() for s in views)


def test_scores_are_asked_for_once(toys: list[Sample], tmp_path: Path) -> None:
    scorer, samples = ByTone(), toys[:6]
    path = tmp_path / file_name(scorer, 0, ViewPlan(), 0)
    run = confidences(samples, scorer, path)
    whole = [next(run) for _ in range(4)]
    run.close()
    path.write_bytes(path.read_bytes()[:-5])  # the fourth line is torn
    again = list(confidences(samples, scorer, path))
    assert scorer.asked == 7
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(whole, again, strict=False))
    plan = PseudoPlan(LabelPlan(threshold=0.9, method="relative"))
    pseudo_label(samples, scorer, plan, tmp_path)
    assert scorer.asked == 7, "other thresholds need no new scores"
    pseudo_label(samples, scorer, replace(plan, weak_views=2), tmp_path)
    assert scorer.asked == 19
    before = files_of(tmp_path)
    pseudo_label(samples, scorer, replace(plan, weak_views=2), tmp_path)
    assert files_of(tmp_path) == before


def test_only_the_stretch_of_a_sample_is_scored(tmp_path: Path) -> None:
    both = np.concatenate([tone(TONES["frog"], 1.0, 0.0), tone(TONES["cow"], 1.0, 0.0)])
    soundfile.write(tmp_path / "both.wav", both, RATE)
    sample = Sample("a", str(tmp_path / "both.wav"), "toy", "train", "CC0-1.0", start=1.0, seconds=0.9)
    assert LABELS[int(ByTone().score(sample).argmax())] == "cow"
    assert LABELS[int(ByTone().score(replace(sample, start=0.0)).argmax())] == "frog"


def test_files_of_scores_are_checked(tmp_path: Path) -> None:
    path, rng = tmp_path / "mine.jsonl", random.Random(3)
    row = {"source": "toys-train", "id": "frog-train-0", "scores": {"frog": 0.9, "cow": 0.2}}
    path.write_text(json.dumps(row) + "\n")
    scorer = ScoreFile(path)
    sample = Sample("frog-train-0", "/x.wav", "toys-train", "train", "CC0-1.0")
    assert scorer.labels == ("cow", "frog") and scorer.score(sample).tolist() == pytest.approx([0.2, 0.9])
    with pytest.raises(CorpusError, match="cow-1"):
        scorer.score(replace(sample, id="cow-1"))
    odd = [None, True, "x", -0.1, 1.1, 1e300, float("nan"), [], {}, {"a": "b"}, {"a": 2}]
    good = 0
    for _ in range(2000):
        name = rng.choice([*row, "more"])
        text = json.dumps({**row, name: rng.choice(odd)})
        text = text[: rng.randrange(len(text))] if rng.random() < 0.2 else text
        path.write_bytes(text.encode().replace(b"frog", rng.choice([b"frog", b"\xff"]), 1))
        try:
            ScoreFile(path)
            good += 1
        except AlmError as fault:
            assert str(path) in str(fault) and len(str(fault)) < 1000
    assert 100 < good < 1000


def test_the_command_labels_by_a_file_of_scores(toys: list[Sample], tmp_path: Path) -> None:
    train = [s for s in toys if s.split == "train"]
    write_samples([replace(s, labels=()) for s in train], tmp_path / "new.jsonl")
    rows = [{"source": s.source, "id": s.id, "scores": {**CLEAR, s.labels[0]: 0.97}} for s in train[1:]]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ask = ["pseudo-label", str(tmp_path / "new.jsonl"), "--scores", str(tmp_path / "mine.jsonl"), "--out"]
    done = CliRunner().invoke(app, [*ask, str(tmp_path / "out"), "--single", "--views"])
    assert done.exit_code == 0, done.output
    assert "5 of 6 samples got labels, 1 not scored" in done.output
    assert [s.labels for s in read_samples(tmp_path / "out" / SAMPLES)] == [s.labels for s in train[1:]]
    assert len(list((tmp_path / "out" / "views").rglob("*.flac"))) == 10
    dry = CliRunner().invoke(app, [*ask, str(tmp_path / "dry"), "--dry-run"])
    assert dry.exit_code == 0 and not (tmp_path / "dry").exists()
    wrong = CliRunner().invoke(app, [*ask, str(tmp_path / "out"), "--threshold", "7"])
    assert wrong.exit_code == 2 and "threshold" in wrong.output


@pytest.mark.slow
@pytest.mark.weights
def test_the_tag_head_hears_what_the_store_was_made_of(tmp_path: Path) -> None:
    from data_prep.pseudo.scorers import TagHead

    scorer = TagHead.of("tiny")
    soundfile.write(tmp_path / "tone.wav", tone(440.0, 1.0), RATE)
    scores = scorer.score(Sample("a", str(tmp_path / "tone.wav"), "toy", "train", "CC0-1.0"))
    assert scores.shape == (len(scorer.labels),) and (scores >= 0).all() and (scores <= 1).all()
    assert scorer.fingerprint == TagHead.of("tiny").fingerprint
