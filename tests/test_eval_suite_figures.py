"""What suites measure beside the kinds, what spoils recordings and how much, and the baselines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model

from alm.audio import load_audio
from alm.errors import ConfigError
from alm.testing import noise, tone
from eval.baselines.cascade import NOTHING, SYSTEM, Cascade, told, written
from eval.harness.answers import Answered, Scored
from eval.harness.asking import Asked
from eval.harness.conditions import CONDITIONS, condition
from eval.harness.items import ChoiceWant, Clip, Item, Message
from eval.harness.making import ModelWish
from eval.kinds.base import Measure, Row
from eval.suites import fairness, figures, hallucination, registry, robustness, signal, wording
from eval.suites.drawing import noise_rng
from eval.suites.perturbations import PERTURBATIONS

RATE_HZ = 16_000
YES_NO = ("yes", "no")


def row(name: str, said: int | None, gold: int, choices: tuple[str, ...] = YES_NO, **tags: str) -> Row:
    """An answer that names an option, or none."""
    item = Item(
        id=name,
        messages=(Message(role="user", content="?"),),
        want=ChoiceWant(choices=choices, answer=gold),
        group=tags.pop("of", name),
        tags=tags,
    )
    return Row(item, None, Scored(id=name, status="read", value=said, robust=float(said == gold)))


def values(found: list[Measure]) -> dict[str, float]:
    return {m.key: m.estimate.value for m in found}


# --- figures ---


def test_hallucination_figures_of_known_answers() -> None:
    def answered(said: dict[int, int | None]) -> dict[str, float]:
        rows = [row(f"{n}", said[n % 2], n % 2, negatives="popular", of=str(n // 4)) for n in range(40)]
        return values(hallucination.measures(rows))

    always = answered({0: 0, 1: 0})
    assert always == pytest.approx(
        {"popular.accuracy": 0.5, "popular.yes_rate": 1.0, "popular.precision": 0.5, "popular.recall": 1.0,
         "popular.f1": 2 / 3}
    )  # fmt: skip
    perfect, never, silent = answered({0: 0, 1: 1}), answered({0: 1, 1: 1}), answered({0: None, 1: None})
    assert perfect["popular.f1"] == perfect["popular.accuracy"] == 1.0 and perfect["popular.yes_rate"] == 0.5
    assert never["popular.f1"] == never["popular.precision"] == 0.0 and never["popular.accuracy"] == 0.5
    assert silent["popular.accuracy"] == 0.0 and silent["popular.recall"] == 0.0


def test_figures_do_not_depend_on_the_order_of_rows() -> None:
    rows = [row(f"{n}", n % 3 % 2, n % 2, negatives="random", of=str(n // 4)) for n in range(60)]
    assert values(hallucination.measures(rows)) == values(hallucination.measures(rows[::-1]))


def test_a_ratio_over_one_group_has_no_interval() -> None:
    many = figures.ratio([(1, 2)] * 20, [n // 2 for n in range(20)], lambda s: figures.share_of(s[:, 0], s[:, 1]))
    one = figures.ratio([(1, 2)] * 20, [0] * 20, lambda s: figures.share_of(s[:, 0], s[:, 1]))
    assert many.value == one.value == 0.5 and many.low == many.high == 0.5
    assert math.isinf(one.low) and math.isinf(one.source_high)


def test_wording_tells_worst_and_agreement() -> None:
    right = {"plain": (0, 1), "formal": (0, 0), "short": (None, 1)}
    rows = [
        row(f"{q}-{w}", said, q, task="presence", wording=w, question=str(q))
        for w, both in right.items()
        for q, said in enumerate(both)
    ]
    found = {m.key: m for m in wording.measures(rows)}
    assert found["presence.mean"].estimate.value == pytest.approx(4 / 6)
    assert found["presence.worst"].estimate.value == 0.5 and found["presence.worst"].note in ("formal", "short")
    assert found["presence.best"].note == "plain"
    assert found["presence.consistency"].estimate.value == pytest.approx(1 / 3), "one of three pairs agrees, twice"
    assert found["presence.every"].estimate.value == 0.0


def test_robustness_is_lost_question_by_question() -> None:
    rows = [row(f"c{n}", 0, 0, condition="clean", question=str(n)) for n in range(4)]
    rows += [row(f"n{n}", n % 2, 0, condition="noise-0dB", question=str(n)) for n in range(4)]
    found = values(robustness.measures(rows))
    assert found == {"clean.score": 1.0, "noise-0dB.score": 0.5, "noise-0dB.loss": 0.5}


def test_gaps_say_how_many_speakers_are_behind_them() -> None:
    rows = [row(f"f{n}", 0, 0, sex="female", of=f"voice{n % 2}") for n in range(30)]
    rows += [row(f"m{n}", n % 2, 0, sex="male", of="one voice") for n in range(30)]
    rows += [row(f"x{n}", 1, 0, sex="few") for n in range(5)]
    found = {m.key: m for m in fairness.measures(rows)}
    gap = found["sex.gap"]
    assert gap.estimate.value == 0.5 and 0.2 < gap.estimate.low < 0.5 < gap.estimate.high < 0.8
    assert math.isinf(gap.estimate.source_low), "one voice says nothing about others"
    assert "one speaker" in gap.note and "2 speakers" in gap.note and "sex.few" not in found


def test_suites_are_known_by_the_name_of_their_benchmark() -> None:
    rows = [row(f"{n}", 0, n % 2, negatives="random") for n in range(4)]
    assert registry.measures("alm-hallucination", rows) and not registry.measures("mmau", rows)
    assert registry.suite_of("alm-corpus-choice") and not registry.suite_of("alm-corpora")


# --- perturbations ---


def spoil(name: str, samples: signal.Samples, seed: int = 0) -> signal.Samples:
    return PERTURBATIONS[name].apply(samples, RATE_HZ, noise_rng(seed))


def power(samples: signal.Samples, low: float, high: float) -> float:
    """Mean power between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2 / len(samples) ** 2
    places = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(spectrum[(places >= low) & (places < high)].sum())


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_is_repeatable_and_does_something(name: str) -> None:
    clean = tone(1.0, 440.0, 0.3).samples + noise(1.0, 0.02).samples
    once, again = spoil(name, clean), spoil(name, clean)
    assert np.array_equal(once, again) and once.dtype == np.float32 and np.abs(once).max() <= 1.0
    assert len(once) != len(clean) or not np.allclose(once, clean, atol=1e-4)
    assert name == PERTURBATIONS[name].name and re.fullmatch(r"[A-Za-z0-9-]+", name), "part of the names of files"


@pytest.mark.parametrize("wanted", [20, 10, 0])
def test_noise_is_as_loud_as_stated(wanted: int) -> None:
    clean = tone(2.0, 440.0, 0.1).samples
    added = spoil(f"noise-{wanted}dB", clean) - clean
    assert 10 * np.log10((clean**2).mean() / (added**2).mean()) == pytest.approx(wanted, abs=0.2)
    assert not np.array_equal(spoil(f"noise-{wanted}dB", clean, 1), spoil(f"noise-{wanted}dB", clean)), "control"


def test_bandwidth_speed_gain_and_reverberation_are_as_stated() -> None:
    white = noise(2.0, 0.1).samples
    for hz in (4000, 2000, 1000):
        narrow = spoil(f"bandwidth-{hz}Hz", white)
        assert power(narrow, 1.1 * hz, 8000) < 1e-4 * power(white, 1.1 * hz, 8000)
        assert power(narrow, 100, 0.8 * hz) == pytest.approx(power(white, 100, 0.8 * hz), rel=0.05)
    for percent in (80, 125):
        assert len(spoil(f"speed-{percent}", white)) == pytest.approx(100 * len(white) / percent, abs=2)
    assert np.allclose(spoil("softer-30dB", white), white * 10**-1.5, atol=1e-6)
    assert (np.abs(spoil("clipped-20dB", white)) == 1.0).mean() > 0.2
    click = np.zeros(RATE_HZ, np.float32)
    click[0] = 0.5
    tail = spoil("reverberation-800ms", click)
    assert len(tail) == RATE_HZ + round(0.8 * RATE_HZ)
    early, late = ((tail[s : s + 1600] ** 2).sum() for s in (1600, 1600 + 6400))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=3), "60 dB in 0.8 s are 30 dB in 0.4 s"


@pytest.mark.parametrize("name", [n for n, p in PERTURBATIONS.items() if p.family in ("mp3", "opus", "telephone")])
def test_codecs_keep_what_is_heard(name: str) -> None:
    clean = tone(1.0, 440.0, 0.3).samples
    spoiled = spoil(name, clean)
    assert len(spoiled) == len(clean)
    assert power(spoiled[1600:-1600], 400, 480) == pytest.approx(power(clean[1600:-1600], 400, 480), rel=0.3)
    assert len(spoil(name, clean[:900])) == 900, "the shortest recordings, too"
    if name.startswith("telephone"):
        white = noise(1.0, 0.1).samples
        assert power(spoil(name, white), 4200, 8000) < 0.01 * power(white, 4200, 8000)


# --- baselines ---


class Reader:
    """Answers with what it was told."""

    name, max_audio_seconds = "reader", 1.0

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {"model": "reader"}
        self.asked: list[Asked] = []

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        for one in asked:
            self.asked.append(one)
            yield Answered(**one.about(), text=str(one.messages), finish="stop")

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        self.asked.append(asked)
        return (0.0,) * len(asked.candidates)

    def close(self) -> None:
        self.asked.clear()


def question(recordings: int, system: str = "") -> Asked:
    sounds = tuple(load_audio(tone(0.5 + n, seed=n)) for n in range(recordings))
    parts = [{"type": "audio", "audio": s} for s in sounds]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": "Which?"}]}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    item = Item(
        id="q",
        messages=(Message(role="user", content="<audio>" * recordings + "Which?"),),
        audios=(Clip(path="a"),) * recordings,
        want=ChoiceWant(choices=("dog", "cat"), answer=0),
    )
    return Asked(item, "heard", "key", tuple(messages), sounds, 16, candidates=("dog", "cat"))


def test_the_cascade_reads_notes_and_hears_nothing() -> None:
    reader = Reader()
    cascade = Cascade(reader, lambda w: "[sounds: dog bark 0.0-0.4 s]" if w.seconds < 1 else "", {"ears": 1}, 9.0)
    (answer,) = cascade.answers([question(2)])
    (asked,) = reader.asked
    assert answer.audio_seconds == 2.0 and answer.key == "key"
    system, user = asked.messages
    assert system == {"role": "system", "content": SYSTEM}
    assert [p["type"] for p in user["content"]] == ["text"] * 3
    said = "".join(p["text"] for p in user["content"])
    assert said == f"[recording 1: 0.5 s]\n[sounds: dog bark 0.0-0.4 s]\n[recording 2: 1.5 s]\n{NOTHING}\nWhich?"
    assert cascade.loglik(question(1)) == (0.0, 0.0) and cascade.max_audio_seconds == 9.0
    assert cascade.identity["reader"] == reader.identity and cascade.name == "cascade-reader"
    other = Cascade(reader, str, {"ears": 2})
    assert other.identity != cascade.identity, "other ears, other model"


def test_without_recordings_the_cascade_is_the_reader() -> None:
    asked = question(0)
    assert told(asked, str) is asked
    system, *_ = told(question(1, "Be brief."), str).messages
    assert system["content"].startswith(SYSTEM) and system["content"].endswith("Be brief.")


def test_notes_are_the_assistants_evidence(tmp_path: Path) -> None:
    assistant = tiny_model.assistant(tags=["dog bark", "rain"])
    sound = load_audio(noise(1.0))
    assert written(assistant, sound) == written(assistant, sound)
    assert assistant.ears.encoded == 1


def test_any_benchmark_can_be_asked_with_spoiled_recordings() -> None:
    whole = tone(1.0, 440.0, 0.3)
    spoiled = condition("noise-10dB").sound
    assert spoiled is not None
    once, again, other = spoiled(whole, "a.wav"), spoiled(whole, "a.wav"), spoiled(whole, "b.wav")
    assert once == again != other and once.seconds == whole.seconds and once != whole
    assert set(PERTURBATIONS) < set(CONDITIONS) and condition("heard").sound is None


def test_the_command_line_makes_baselines() -> None:
    plain, chain = ModelWish("tiny").made(), ModelWish("tiny", cascade="tiny").made()
    assert chain.name == "cascade-tiny" and chain.identity["reader"] == plain.identity != chain.identity
    reader = ModelWish("reader-2026-01-31", endpoint="https://host.invalid/v1", cascade="tiny").made()
    assert reader.name == "cascade-reader-2026-01-31" and reader.identity["cascade"] == chain.identity["cascade"]
    deaf = ModelWish("tiny", adapter="none").made()
    assert deaf.name == "tiny-no-adapter" and deaf.identity["evidence"] is False and "seed" in deaf.identity
    with pytest.raises(ConfigError, match="--cascade"):
        ModelWish("tiny", adapter="none", cascade="tiny").made()
