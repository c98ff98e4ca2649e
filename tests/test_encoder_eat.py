"""EAT and SSLAM: the authors' files and numbers, company, padding, time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from alm import encoders
from alm.encoders.blocks.patches import Filled, PatchEmbedding
from alm.encoders.blocks.vit import VitBlock
from alm.encoders.families import eat
from alm.encoders.family import Checkpoint
from alm.errors import ConfigError, WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    click_error,
    seeded_encoder,
    worst_difference,
)
from tools.golden.seeded import read

FAMILIES = ("eat", "sslam")
SMALL = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 48, "max_steps": 24, "least_frames": 64}
FRAMES = (1, 16, 40, 64, 112)


def official(family: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A small state dict of the authors' pre-training model and its settings."""
    golden, state, _ = read(GOLDEN / f"{family}.safetensors")
    return state, dict(golden.settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_the_authors(family: str) -> None:
    check_golden(family)


def test_a_pre_norm_block_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the weights load into the usual block and give other numbers."""
    monkeypatch.setattr(eat, "VitBlock", lambda *sizes, post_norm: VitBlock(*sizes))
    with pytest.raises(AssertionError):
        check_golden("eat")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pretraining_file_of_fairseq_opens(family: str, tmp_path: Path) -> None:
    state, settings = official(family)
    teacher = {"blocks.0.norm1.weight": torch.ones(32)}
    content = {"args": argparse.Namespace(seed=1), "cfg": settings["cfg"], "model": {**state, "_ema": teacher}}
    torch.save({**content, "optimizer_history": [], "extra_state": {"epoch": 30}}, tmp_path / "EAT.pt")
    expected = {"dim": 32, "num_layers": 3, "num_heads": 4, "ffn_dim": 48, "max_steps": 24}
    check_container(tmp_path / "EAT.pt", family, tmp_path / "out", expected=expected)


def test_a_fine_tuned_file_of_fairseq_opens_without_its_classifier(tmp_path: Path) -> None:
    state, settings = official("eat")
    state = {f"model.{name}": tensor for name, tensor in state.items() if ".decoder." not in name}
    state |= {"fc_norm.weight": torch.ones(32), "head.weight": torch.ones(5, 32), "head.bias": torch.ones(5)}
    cfg = {"model": {"_name": "mae_image_classification", "pretrained_model_args": settings["cfg"]}}
    torch.save({"cfg": cfg, "model": state}, tmp_path / "finetuned.pt")
    check_container(tmp_path / "finetuned.pt", "eat", tmp_path / "out", expected={"num_heads": 4})


def hub_state() -> dict[str, Tensor]:
    """The names of the hub's folders."""
    state, _ = official("eat")
    renamed = {n.replace("modality_encoders.IMAGE.", "model."): t for n, t in state.items() if ".decoder." not in n}
    renamed = {n.replace("context_encoder.norm", "pre_norm"): t.contiguous() for n, t in renamed.items()}
    return {n if n.startswith("model.") else f"model.{n}": t for n, t in renamed.items()}


def test_a_folder_of_the_hub_is_the_same(tmp_path: Path) -> None:
    save_file({**hub_state(), "model.head.weight": torch.ones(5, 32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "eat", "num_heads": 4, "mel_bins": 128}))
    hub = check_container(tmp_path, "eat", tmp_path / "out").state_dict()
    state, settings = official("eat")
    fairseq = eat.read(Checkpoint("EAT.pt", state, settings)).tensors
    assert hub.keys() == fairseq.keys() and all(torch.equal(hub[key], fairseq[key]) for key in hub)


def test_other_variants_are_refused_with_the_reason() -> None:
    state, settings = official("eat")
    prenet = "modality_encoders.IMAGE.context_encoder.blocks.0.norm1.weight"
    for wrong, reason in (
        (state | {"norm.weight": torch.ones(32)}, "pre-norm"),
        (state | {prenet: torch.ones(32)}, "prenet_depth"),
        ({k: v for k, v in state.items() if "positions" not in k}, "positions is missing"),
        ({"cls_token": torch.ones(1, 1, 8)}, "is missing"),
    ):
        with pytest.raises(WeightsError, match=reason):
            eat.read(Checkpoint("EAT.pt", wrong, settings))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    state, settings = official("eat")
    del state["blocks.1.mlp.fc2.bias"]
    torch.save({"cfg": settings["cfg"], "model": state}, tmp_path / "EAT.pt")
    with pytest.raises(WeightsError, match=r"missing blocks.1.mlp.fc2.bias"):
        encoders.open_encoder(tmp_path / "EAT.pt", "eat")


@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_alone_equals_batch(frequency: str) -> None:
    check_alone_equals_batch(seeded_encoder("eat", {**SMALL, "frequency": frequency}), FRAMES)


def test_blocks_that_see_padding_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(Filled, "attended_tokens", lambda self, rows, leading: None)
    assert worst_difference(seeded_encoder("eat", SMALL), FRAMES) > 1e-3


def test_a_short_clip_is_the_clip_that_the_authors_fill_with_zeros() -> None:
    """They fill the spectrogram before it is normalised."""
    encoder = seeded_encoder("eat", SMALL)
    clip = torch.randn(1, 20, 128, dtype=torch.float64)
    mean, twice = encoder.front_end.to_dict()["mean"], encoder.front_end.to_dict()["divisor"]
    filled = nn.functional.pad(clip, (0, 0, 0, 44), value=-mean / twice)
    short = encoder(clip, torch.ones(1, 20, dtype=torch.bool), [-1]).features
    whole = encoder(filled, torch.ones(1, 64, dtype=torch.bool), [-1]).features
    assert short.shape[2] == 2 and torch.allclose(short, whole[:, :, :2])


@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_clicks_land_in_time(frequency: str) -> None:
    check_click(seeded_encoder("eat", {**SMALL, "frequency": frequency}))


def test_patches_in_another_order_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(PatchEmbedding, "forward", lambda s, x: s.proj(x[:, None]).transpose(2, 3).flatten(2).mT)
    encoder = seeded_encoder("eat", SMALL)
    assert max(click_error(encoder, at, 1.5) for at in (0.31, 0.77)) > 1


def test_positions_of_a_new_encoder_are_sines_of_step_and_row() -> None:
    positions = eat.build(SMALL).positions
    assert isinstance(positions, Tensor) and positions.shape == (1, 24 * 8, 32)
    step, row = 5, 3
    place = positions[0, step * 8 + row]
    rates = 1.0 / 10_000 ** (torch.arange(8) / 8)
    expected = torch.cat([f(at * rates) for at in (row, step) for f in (torch.sin, torch.cos)])
    assert torch.allclose(place, expected, atol=1e-6)


def test_clips_beyond_the_positions_are_refused() -> None:
    encoder = eat.build(SMALL)
    picture = torch.zeros(1, 24 * 16 + 1, 128)
    with pytest.raises(ConfigError, match="the limit is 384"):
        encoder(picture, torch.ones(picture.shape[:2], dtype=torch.bool), [0])
