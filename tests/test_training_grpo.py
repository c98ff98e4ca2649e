"""Rewards that cannot be earned by saying everything, and a model that learns to earn them."""

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
from training.grpo import NUMBERS, GrpoSettings, Hearing, NumberedProcessor, Questions, grpo
from training.rewards import checkable, reward

ASKED = Message("user", "<audio>what is it ?")


def _record(answer: object, options: tuple[str, ...] = (), sound: str = "a.wav") -> Record:
    meta = {"answer": answer, **({"options": list(options)} if options else {})}
    return Record("1", (ASKED, Message("assistant", "dog")), (sound,), "s", "order", "train", "CC0", 1.0, meta)


@pytest.mark.parametrize(
    ("answer", "options", "said", "earned"),
    [
        ("yes", (), "Yes, I hear a gun.", 1.0),
        ("yes", (), "No, yes.", 0.0),
        ("no", (), "Nothing like it.", 0.0),
        ("no", (), "", 0.0),
        (4, (), "Four times.", 1.0),
        (4, (), "4", 1.0),
        (4, (), "Fourteen.", 0.0),
        (4, (), "One two three four five.", 0.0),  # all of them
        (0, (), "There is none: zero.", 1.0),
        ("a bird", ("a bird", "a dog"), "It is A BIRD.", 1.0),
        ("a bird", ("a bird", "a dog"), "a bird or a dog", 0.0),
        ("a bird", ("a bird", "a dog"), "a birdcage", 0.0),
        ("a bird", ("a bird", "a bird singing"), "a bird singing", 0.0),
        ("a bird singing", ("a bird", "a bird singing"), "a bird singing", 1.0),
        ("B", ("A", "B"), "B", 1.0),
    ],
)
def test_a_reward_is_earned_by_the_right_answer_alone(
    answer: object, options: tuple[str, ...], said: str, earned: float
) -> None:
    record = _record(answer, options)
    assert checkable(record)
    assert reward(record, said) == earned


@pytest.mark.parametrize("answer", ["a bird", ["a bird"], 0.55, None, True])
def test_what_cannot_be_checked_is_left_out(answer: object, tmp_path: Path) -> None:
    record = _record(answer)
    assert not checkable(record)
    model = small.model()
    with pytest.raises(ConfigError, match="no record can be checked"):
        grpo(model, small.processor(model.config), [record], GrpoSettings(), tmp_path)


def _records(folder: Path) -> list[Record]:
    for name, sound in (("0.wav", tone()), ("1.wav", noise())):
        soundfile.write(folder / name, sound.samples, sound.rate)
    return [_record("dog", ("dog", "bell"), str(folder / f"{i % 2}.wav")) for i in range(4)]


def test_the_model_hears_what_the_number_stands_for(tmp_path: Path) -> None:
    """The same scores as with the recordings themselves, in any order; control: another number, other scores."""
    model = small.model()
    questions = Questions(_records(tmp_path), small.processor(model.config))
    encoded = [questions.encoded(n) for n in (1, 0)]
    inputs = questions.processor.collate(encoded)
    expected = model(**inputs).logits
    text = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    hook = model.register_forward_pre_hook(Hearing(questions), with_kwargs=True)
    torch.testing.assert_close(model(**text, **{NUMBERS: torch.tensor([[1], [0]])}).logits, expected)
    assert not torch.allclose(model(**text, **{NUMBERS: torch.tensor([[0], [1]])}).logits, expected)
    hook.remove()


def test_a_processor_of_numbers_gives_one_a_row() -> None:
    processor = small.processor(small.model().config)
    numbered = NumberedProcessor(
        processor.feature_extractor, processor.tokenizer, processor.chat_template, processor.audio_token
    )
    given = numbered(images=[["7"], ["2"]], text=["", ""], padding=True, return_tensors="pt")
    assert given[NUMBERS].tolist() == [[7], [2]]


@pytest.mark.slow
def test_the_model_learns_what_is_rewarded(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    model = small.model(lora=False)
    settings = GrpoSettings(40, 2, 8, lr=1e-2, max_new_tokens=3, train=("llm",), precision="fp32")
    log = grpo(model, small.processor(model.config), _records(tmp_path), settings, tmp_path / "trl")
    earned = [float(line["reward"]) for line in log if "reward" in line]
    assert earned[0] < 0.5 < 0.9 < earned[-1]


@pytest.mark.slow
def test_each_row_keeps_its_number_through_the_trainer(tmp_path: Path) -> None:
    """TRL shuffles rows and cuts them into parts; the model is handed each prompt with the number it was made of."""
    pytest.importorskip("trl")
    model = small.model()
    asked = ("what is it ?", "is it a dog ?", "is it the bell ?", "what is the rain ?")
    records = [
        replace(r, messages=(Message("user", f"<audio>{a}"), r.messages[1]))
        for r, a in zip(_records(tmp_path), asked, strict=True)
    ]
    processor, seen = small.processor(model.config), []
    questions = Questions(records, processor)

    def look(_: object, __: object, given: dict[str, torch.Tensor]) -> None:
        for row, mask, (number,) in zip(
            given["input_ids"], given["attention_mask"], given.get(NUMBERS, ()), strict=NUMBERS in given
        ):
            prompt = questions.encoded(int(number)).ids
            seen.append((int(number), row[mask.bool()][: len(prompt)].tolist() == prompt))

    model.register_forward_pre_hook(look, with_kwargs=True)
    grpo(model, processor, records, GrpoSettings(3, 4, 4, max_new_tokens=3, precision="fp32"), tmp_path / "trl")
    assert len(seen) == 3 * 4 * 4 and {n for n, _ in seen} == {0, 1, 2, 3}
    assert all(same for _, same in seen)


@pytest.mark.slow
def test_lora_alone_moves_and_nothing_of_the_trainer_stays(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    model = small.model()
    before, said = {n: p.clone() for n, p in model.named_parameters()}, model.config.to_json_string()
    settings = GrpoSettings(5, 2, 8, lr=1e-2, max_new_tokens=3, precision="bf16")
    grpo(model, small.processor(model.config), _records(tmp_path), settings, tmp_path / "trl")
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n].to(p.dtype))}
    assert moved and all(".lora_" in n for n in moved)
    assert not model._forward_pre_hooks and "image_token_id" not in said
    assert not hasattr(model.config, "image_token_id")


def test_only_the_split_is_asked(tmp_path: Path) -> None:
    model = small.model()
    records = [replace(r, split="test") for r in _records(tmp_path)]
    with pytest.raises(ConfigError, match="no record can be checked"):
        grpo(model, small.processor(model.config), records, GrpoSettings(), tmp_path)
