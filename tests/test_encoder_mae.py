"""AudioMAE and Bird-MAE: the authors' files and numbers, company, padding, time."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from alm import encoders
from alm.encoders.blocks.patches import Filled, PatchEmbedding, fill
from alm.encoders.families import audiomae, birdmae
from alm.encoders.family import Checkpoint
from alm.errors import AudioError, ConfigError, WeightsError
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

FAMILIES = ("audiomae", "birdmae")
SMALL = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 48, "max_steps": 10}


def official(family: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A small state dict of the authors' pre-training model and its settings."""
    golden, state, _ = read(GOLDEN / f"{family}.safetensors")
    return state, dict(golden.settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_the_authors(family: str) -> None:
    check_golden(family)


def test_a_left_out_norm_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    real = encoders.build

    def without(family: str, config: dict[str, Any]) -> encoders.AudioEncoder:
        encoder = real(family, config)
        encoder.num_layers += 1  # so the last block is not known as the last
        return encoder

    monkeypatch.setattr(encoders, "build", without)
    with pytest.raises(AssertionError):
        check_golden("audiomae")


def test_a_pretraining_file_opens_without_its_decoder(tmp_path: Path) -> None:
    state, settings = official("audiomae")
    args = argparse.Namespace(model="mae_vit_base_patch16", audio_exp=True, **settings["args"])
    torch.save({"model": state, "epoch": 32, "scaler": {"scale": 1.0}, "args": args}, tmp_path / "pretrained.pth")
    expected = {"dim": 32, "num_layers": 3, "num_heads": 4, "ffn_dim": 48, "max_steps": 4, "final_norm": True}
    check_container(tmp_path / "pretrained.pth", "audiomae", tmp_path / "out", expected=expected)
    unused = audiomae.read(Checkpoint("pretrained.pth", state, settings)).unused
    assert "mask_token" in unused and all(name.startswith(("decoder", "mask_token")) for name in unused)


def test_a_fine_tuned_file_has_no_final_norm(tmp_path: Path) -> None:
    state, settings = official("audiomae")
    kept = {n: t for n, t in state.items() if not n.startswith(("decoder", "mask_token", "norm."))}
    kept |= {"fc_norm.weight": torch.ones(32), "fc_norm.bias": torch.ones(32), "head.weight": torch.ones(527, 32)}
    torch.save({"model": kept, "args": argparse.Namespace(**settings["args"])}, tmp_path / "finetuned.pth")
    check_container(tmp_path / "finetuned.pth", "audiomae", tmp_path / "out", expected={"final_norm": False})


def test_bird_mae_opens_from_the_hubs_folder_and_from_training(tmp_path: Path) -> None:
    state, settings = official("birdmae")
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file({**state, "fc_norm.weight": torch.ones(32), "fc_norm.bias": torch.ones(32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "bird_mae", **settings}))
    hub = check_container(folder, "birdmae", tmp_path / "out").state_dict()
    lightning = {f"encoder.{name}": tensor for name, tensor in state.items()} | {"decoder.mask_token": torch.ones(1)}
    trained = birdmae.read(Checkpoint("epoch=149.ckpt", lightning, settings))
    assert trained.unused == ("decoder.mask_token",)
    assert all(torch.equal(hub[name], trained.tensors[name]) for name in hub) and hub.keys() == trained.tensors.keys()


@pytest.mark.parametrize(("dim", "heads"), [(768, 12), (1024, 16), (1280, 16)])
def test_heads_follow_from_the_width(dim: int, heads: int) -> None:
    state, _ = official("birdmae")
    state["patch_embed.proj.weight"] = torch.zeros(dim, 1, 16, 16)
    assert birdmae.read(Checkpoint("model.safetensors", state, {})).config["num_heads"] == heads


def test_other_variants_are_refused_with_the_reason() -> None:
    state, settings = official("audiomae")
    for wrong, reason in (
        ({**state, "pos_embed": torch.zeros(1, 1 + 101 * 12 + 1, 32)}, "overlapping patches"),
        ({n: t for n, t in state.items() if n != "cls_token"}, "cls_token is missing"),
        ({**state, "patch_embed.proj.weight": torch.zeros(32, 1, 0, 0)}, "not 4 axes"),
        ({**state, "patch_embed.proj.weight": torch.zeros(32, 1, 256, 256)}, "256 high"),
        ({"patch_embedding.weight": torch.ones(4, 1, 16, 16)}, "is missing"),
    ):
        with pytest.raises(WeightsError, match=reason):
            audiomae.read(Checkpoint("pretrained.pth", wrong, settings))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_alone_equals_batch(family: str, frequency: str) -> None:
    check_alone_equals_batch(seeded_encoder(family, {**SMALL, "frequency": frequency}), (1, 16, 40, 112, 155))


def test_what_lies_beyond_a_clip_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""

    def unmasked(spectrogram: Tensor, mask: Tensor, *rest: Any) -> Filled:
        filled = fill(spectrogram, torch.ones_like(mask), *rest)
        return replace(filled, valid=fill(spectrogram, mask, *rest).valid)

    monkeypatch.setattr(audiomae, "fill", unmasked)
    assert worst_difference(seeded_encoder("audiomae", SMALL), (1, 16, 40, 112, 155)) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_clicks_land_in_time(family: str) -> None:
    check_click(seeded_encoder(family, SMALL))


def test_patches_in_another_order_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(PatchEmbedding, "forward", lambda s, x: s.proj(x[:, None]).transpose(2, 3).flatten(2).mT)
    encoder = seeded_encoder("audiomae", SMALL)
    assert max(click_error(encoder, at, 1.5) for at in (0.31, 0.77, 1.23)) > 1


def bird_filling(frames: int) -> Tensor:
    """What follows a clip of random cells whose least is -2."""
    picture = torch.rand(1, frames, 128) - 1.0
    picture[0, 0, 5] = -2.0
    filling = birdmae.build({**SMALL, "max_steps": 32})._filling(picture, torch.ones(1, frames, dtype=torch.bool))
    assert isinstance(filling, Tensor)
    return filling


def test_birds_are_followed_by_silence_and_whole_clips_by_their_quietest_cell() -> None:
    silence = encoders.build("birdmae", SMALL).front_end(np.zeros(8000, np.float32))
    assert np.allclose(silence, bird_filling(497).numpy(), atol=1e-6)
    assert bird_filling(498).tolist() == [-2.0]


def test_each_hears_as_long_as_it_has_positions() -> None:
    for family, rate, frames in (("audiomae", 16_000, 1024), ("birdmae", 32_000, 512)):
        front_end = encoders.front_end(family)
        most = round(front_end.max_seconds * rate)
        assert front_end.sample_rate == rate and front_end.num_frames(most) == frames
        with pytest.raises(AudioError, match="limit"):
            front_end(np.zeros(most + 1, np.float32))
    with pytest.raises(ConfigError, match="the limit is 160"):
        encoders.build("audiomae", SMALL)(torch.zeros(1, 161, 128), torch.ones(1, 161, dtype=torch.bool), [0])
