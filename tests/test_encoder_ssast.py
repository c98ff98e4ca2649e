"""SSAST: official files, equality with the original, padding, time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alm import encoders
from alm.errors import ConfigError, WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    seeded_encoder,
)
from tests.grid_helpers import FRAMES, SMALL, difference_with_masks_ignored, official, saved

FRAME_MODEL = {**SMALL, "patch_bins": 128, "patch_frames": 2, "max_steps": 100}


@pytest.mark.parametrize("name", ["ssast", "ssast-frame"])
def test_numbers_are_the_originals(name: str) -> None:
    """The clip is shorter than the table of positions: its middle is used, as the original does."""
    check_golden("ssast", GOLDEN / f"{name}.safetensors")


def test_official_file_opens_with_every_tensor(tmp_path: Path) -> None:
    state, _ = official("ssast-frame")
    read = {"dim": 32, "num_layers": 2, "leading_tokens": 2, "patch_bins": 128, "patch_frames": 2, "max_steps": 20}
    check_container(saved(state, tmp_path / "SSAST.pth"), "ssast", tmp_path / "out", expected=read)


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    state, _ = official("ssast-frame")
    tuned = {**state, "module.mlp_head.1.weight": torch.zeros(5, 32)}
    short = {name: tensor for name, tensor in state.items() if not name.endswith("blocks.1.norm1.weight")}
    mamba, _ = official("ssamba")
    for wrong, why in ((tuned, "fine-tuned"), (mamba, "ssamba"), (short, r"missing blocks.1.norm1"), ({}, "tensors")):
        with pytest.raises(WeightsError, match=why):
            encoders.open_encoder(saved(wrong, tmp_path / "wrong.pth"), "ssast")


@pytest.mark.parametrize("config", [SMALL, FRAME_MODEL])
def test_padding_and_company_do_not_matter(config: dict[str, int]) -> None:
    check_alone_equals_batch(seeded_encoder("ssast", config), FRAMES)


def test_the_check_sees_a_mask_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference_with_masks_ignored("ssast", monkeypatch) > 1e-3


@pytest.mark.parametrize("config", [SMALL, FRAME_MODEL])
def test_a_click_is_where_it_is(config: dict[str, int]) -> None:
    check_click(seeded_encoder("ssast", config))


def test_too_long_a_clip_is_refused() -> None:
    encoder = seeded_encoder("ssast", {**SMALL, "max_steps": 4})
    with pytest.raises(ConfigError, match="limit is 79"):
        encoder(torch.zeros(1, 80, 128, dtype=torch.float64), torch.ones(1, 80, dtype=torch.bool), [0])
