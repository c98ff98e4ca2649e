"""Adapters: what is saved is what is loaded; anything that does not fit is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alm.adapters import (
    ABOUT,
    HEARING,
    LORA,
    LORA_CONFIG,
    TRAINED_ON,
    fingerprints,
    hearing_state,
    load_adapter,
    lora_state,
    merged,
    read_about,
    save_adapter,
)
from alm.errors import CheckpointError, ConfigError
from alm.modeling import AlmForConditionalGeneration
from tests import training_helpers as small
from training.atomic import write_json
from training.average import average


@pytest.fixture
def trained() -> AlmForConditionalGeneration:
    """A model whose learned parts differ from those of a fresh one; the base is the same."""
    model = small.model()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_" in name or name in hearing_state(model):
                weight.copy_(torch.randn(weight.shape, generator=generator).mul(0.1).half())
    return model


def _logits(model: AlmForConditionalGeneration) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(1, 2, 6, 16, generator=generator)
    audio = {"ear_hidden": hidden, "ear_hidden_mask": torch.ones(1, 6, dtype=torch.bool)}
    ids = torch.tensor([[5, 6, *[3] * model.config.tokens_per_window, 7, 8]])
    with torch.no_grad():
        return model(input_ids=ids, audio_windows=torch.tensor([1]), **audio).logits


def _equal_up_to_half(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.half(), b.half())


def test_a_fresh_model_with_the_adapter_answers_as_the_trained_one(
    trained: AlmForConditionalGeneration, tmp_path: Path
) -> None:
    save_adapter(trained, tmp_path / "a", {"note": "x"})
    fresh = small.model(lora=False)
    assert not torch.allclose(_logits(fresh), _logits(trained), atol=1e-3)  # control: without it they differ
    about = load_adapter(fresh, tmp_path / "a")
    assert torch.allclose(_logits(fresh), _logits(trained), atol=1e-6)
    assert about["training"] == {"note": "x"}
    assert not any(p.requires_grad for p in fresh.parameters())


def test_saved_again_gives_the_same_bytes(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    save_adapter(trained, tmp_path / "a", {})
    fresh = small.model(lora=False)
    load_adapter(fresh, tmp_path / "a")
    save_adapter(fresh, tmp_path / "b", {})
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_loading_twice_is_the_same_as_once(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    save_adapter(trained, tmp_path / "a", {})
    load_adapter(trained, tmp_path / "a")
    fresh = small.model(lora=False)
    load_adapter(fresh, tmp_path / "a")
    assert torch.equal(_logits(fresh), _logits(trained))


def test_an_adapter_without_lora(tmp_path: Path) -> None:
    plain = small.model(lora=False)
    save_adapter(plain, tmp_path / "a", {})
    assert not (tmp_path / "a" / LORA).exists()
    fresh = small.model(lora=False, seed=0)
    assert load_adapter(fresh, tmp_path / "a")["lora"] is False
    assert lora_state(fresh) == {}


@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape", "nan"])
@pytest.mark.parametrize("file", [HEARING, LORA])
def test_what_does_not_fit_is_refused_and_nothing_changes(
    trained: AlmForConditionalGeneration, tmp_path: Path, file: str, damage: str
) -> None:
    save_adapter(trained, tmp_path / "a", {})
    path = tmp_path / "a" / file
    tensors = load_file(path)
    victim = sorted(tensors)[0]
    if damage == "missing":
        tensors.pop(victim)
    elif damage == "unexpected":
        tensors["stranger"] = torch.zeros(1)
    elif damage == "shape":
        tensors[victim] = torch.zeros(1, 1, 1, 1)
    else:
        tensors[victim] = torch.full_like(tensors[victim], float("nan"))
    save_file(tensors, path)
    fresh = small.model(lora=False)
    before = {n: t.clone() for n, t in fresh.state_dict().items()}
    with pytest.raises(CheckpointError, match="stranger" if damage == "unexpected" else victim.replace(".", r"\.")):
        load_adapter(fresh, tmp_path / "a")
    after = fresh.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize("name", [ABOUT, HEARING, LORA, "adapter_config.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "garbage"])
def test_damaged_files_are_typed_errors(
    trained: AlmForConditionalGeneration, tmp_path: Path, name: str, damage: str
) -> None:
    save_adapter(trained, tmp_path / "a", {})
    path = tmp_path / "a" / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:40] if damage == "cut" else b"\x80garbage" * 9)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_adapter(small.model(lora=False), tmp_path / "a")


def test_other_base_weights_are_refused(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    save_adapter(trained, tmp_path / "a", {})
    with pytest.raises(CheckpointError, match="another encoder:ear"):
        load_adapter(small.model(seed=9, lora=False), tmp_path / "a")


def test_fingerprints_depend_on_values_not_on_type_nor_lora() -> None:
    model = small.model(lora=False)
    own = fingerprints(model)
    assert own == fingerprints(small.model(lora=True))
    assert own == fingerprints(small.model(lora=False).to(torch.bfloat16))
    with torch.no_grad():
        model.model.language_model.embed_tokens.weight[0, 0] += 1.0
    changed = fingerprints(model)
    assert changed["language_model"] != own["language_model"]
    assert changed["encoder:ear"] == own["encoder:ear"]


def test_a_newer_format_is_refused(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    save_adapter(trained, tmp_path / "a", {})
    path = tmp_path / "a" / ABOUT
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_adapter(small.model(lora=False), tmp_path / "a")


def test_a_folder_with_other_files_is_not_written_to(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"thesis\.txt"):
        save_adapter(trained, tmp_path, {})


def test_the_language_model_and_the_encoders_are_not_in_it(
    trained: AlmForConditionalGeneration, tmp_path: Path
) -> None:
    save_adapter(trained, tmp_path / "a", {})
    names = set(load_file(tmp_path / "a" / HEARING))
    assert names and not any("language_model" in n or "encoders" in n for n in names)
    assert all(".lora_" in n for n in load_file(tmp_path / "a" / LORA))


def test_a_merged_model_is_a_plain_checkpoint(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    wanted = _logits(trained)
    merged(trained).save_pretrained(tmp_path / "plain")
    loaded = AlmForConditionalGeneration.from_pretrained(tmp_path / "plain")
    assert torch.allclose(_logits(loaded), wanted, atol=1e-5)
    assert not (tmp_path / "plain" / LORA_CONFIG).exists()
    assert torch.equal(_logits(trained), wanted), "the model itself is as it was"
    trained.disable_adapters()
    assert not torch.allclose(_logits(trained), wanted, atol=1e-3), "control: LoRA does something"


def test_the_mean_of_two_adapters(trained: AlmForConditionalGeneration, tmp_path: Path) -> None:
    """Every tensor lies between; the later one's description stays; other models and damage are refused."""
    save_adapter(trained, tmp_path / "a", {"stages": {"one": {}}})
    with torch.no_grad():
        for name, weight in trained.named_parameters():
            if ".lora_" in name:
                weight.mul_(3)
    save_adapter(trained, tmp_path / "b", {"stages": {"two": {}}})
    for name, heard in (("a", "11\n22\n"), ("b", "22\n33\n")):
        (tmp_path / name / TRAINED_ON).write_text(heard)
    average(tmp_path / "a", tmp_path / "b", 0.25, tmp_path / "mean")
    assert (tmp_path / "mean" / TRAINED_ON).read_text() == "11\n22\n33\n"
    first, mean = load_file(tmp_path / "a" / LORA), load_file(tmp_path / "mean" / LORA)
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor.float(), first[name].float() * 1.5, rtol=2e-3, atol=1e-4)
    assert not _equal_up_to_half(mean[name], first[name])  # control: the two differ
    about = load_adapter(small.model(lora=False), tmp_path / "mean")
    assert about["training"]["stages"] == {"two": {}} and about["training"]["average"]["share"] == 0.25
    with pytest.raises(ConfigError, match="there already"):
        average(tmp_path / "a", tmp_path / "b", 0.25, tmp_path / "mean")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        average(tmp_path / "a", tmp_path / "b", 1.0, tmp_path / "c")
    about = read_about(tmp_path / "a")
    del about["model"]["branches"][0]["aligner"]["join"], about["model"]["max_audio_seconds"]
    write_json(tmp_path / "a" / ABOUT, about)  # as written before these settings were there
    average(tmp_path / "a", tmp_path / "b", 0.25, tmp_path / "of-old")
    assert (tmp_path / "of-old" / LORA).read_bytes() == (tmp_path / "mean" / LORA).read_bytes()
    write_json(tmp_path / "a" / ABOUT, {**about, "model": {**about["model"], "window_seconds": 5.0}})
    with pytest.raises(CheckpointError, match="'model'"):
        average(tmp_path / "a", tmp_path / "b", 0.5, tmp_path / "c")
    write_json(tmp_path / "a" / ABOUT, about)
    other = small.model(seed=9)
    save_adapter(other, tmp_path / "other", {})
    with pytest.raises(CheckpointError, match="'base'"):
        average(tmp_path / "other", tmp_path / "b", 0.5, tmp_path / "c")
    (tmp_path / "a" / LORA).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="export it again"):
        average(tmp_path / "a", tmp_path / "b", 0.5, tmp_path / "d")
    assert not (tmp_path / "d" / ABOUT).exists()
