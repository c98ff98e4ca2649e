"""Preferences: wrong answers that are surely wrong, and a model that learns to prefer the right ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from alm.errors import ConfigError
from alm.testing import noise, tone
from data_prep.records import Message, Record
from tests import training_helpers as small
from training.preferences import PairCollator, Preference, PreferSettings, prefer, preferences, wrong_answer

ASKED = Message("user", "<audio>Which is heard earlier: a knock or a train?")


def _record(said: str, **meta: object) -> Record:
    return Record("1", (ASKED, Message("assistant", said)), ("a.wav",), "s", "order", "train", "CC0", 1.0, meta)


@pytest.mark.parametrize(
    ("said", "meta", "wrong"),
    [
        ("A knock.", {"answer": "a knock", "options": ["a knock", "a train"]}, "A train."),
        ("squeaky toy", {"answer": "squeaky toy", "options": ["squeaky toy", "koto"]}, "koto"),
        ("It is the koto, I think.", {"answer": "koto", "options": ["splat", "koto"]}, "It is the splat, I think."),
        ("Yes.", {"answer": "yes"}, "No."),
        ("Yes, I hear a gun.", {"answer": "yes"}, None),  # what to say instead is not known
        ("B", {"answer": "koto", "options": ["splat", "koto"]}, None),  # a letter
        ("First a knock, then a train.", {"answer": ["a knock", "a train"]}, None),
        ("Three.", {"answer": 3}, None),
    ],
)
def test_wrong_answers_are_surely_wrong(said: str, meta: dict[str, object], wrong: str | None) -> None:
    assert wrong_answer(_record(said, **meta), 1) == wrong


def test_only_the_split_is_taken() -> None:
    records = [_record("Yes.", answer="yes"), replace(_record("No.", answer="no"), split="dev")]
    (pair,) = preferences(records)
    assert (pair.chosen, pair.rejected) == ("Yes.", "No.")
    assert pair.messages == ({"role": "user", "content": ASKED.content},)


def _pairs(folder: Path) -> list[Preference]:
    for name, sound in (("0.wav", tone()), ("1.wav", noise())):
        soundfile.write(folder / name, sound.samples, sound.rate)
    asked = ({"role": "user", "content": "<audio>what is it ?"},)
    return [Preference(asked, (str(folder / f"{i % 2}.wav"),), "a dog", "a bell") for i in range(4)]


def test_right_answers_come_first_and_alone_count(tmp_path: Path) -> None:
    model = small.model()
    collate = PairCollator(small.processor(model.config))
    inputs = collate([p.row() for p in _pairs(tmp_path)[:2]])
    dog, bell = (collate.processor.tokenizer.convert_tokens_to_ids(w) for w in ("dog", "bell"))
    masks = inputs["completion_mask"].bool()
    learned = [row[mask].tolist() for row, mask in zip(inputs["input_ids"], masks, strict=True)]
    assert all(dog in row and bell not in row for row in learned[:2])
    assert all(bell in row and dog not in row for row in learned[2:])
    assert len(inputs["audio_windows"]) == 4, "each answer hears its recording"


@pytest.mark.slow
def test_the_model_learns_to_prefer(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    model = small.model()
    before = {n: p.clone() for n, p in model.named_parameters()}
    log = prefer(
        model, small.processor(model.config), _pairs(tmp_path), PreferSettings(30, 4, 2e-2), tmp_path / "trl"
    )
    margins = [float(line["rewards/margins"]) for line in log if "rewards/margins" in line]
    assert margins[-1] > margins[0] + 0.05
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(".lora_" in n for n in moved)


def test_no_pairs_are_an_error(tmp_path: Path) -> None:
    model = small.model()
    with pytest.raises(ConfigError, match="no record has a wrong answer"):
        prefer(model, small.processor(model.config), [], PreferSettings(), tmp_path)
