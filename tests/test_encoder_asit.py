"""ASiT: official files, equality with the original, padding, time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alm import encoders
from alm.errors import WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    seeded_encoder,
)
from tests.grid_helpers import FRAMES, SMALL, difference_with_masks_ignored, official, saved


@pytest.mark.parametrize("name", ["asit", "asit-stretched", "asit-swapped"])
def test_numbers_are_the_originals(name: str) -> None:
    """At the length of training, at another, and at another as PretrainedSED stretches for its fine-tuned files."""
    check_golden("asit", GOLDEN / f"{name}.safetensors")


def test_the_two_ways_to_stretch_differ() -> None:
    clip, mask = torch.randn(1, 100, 128, dtype=torch.float64), torch.ones(1, 100, dtype=torch.bool)
    ways = [seeded_encoder("asit", {**SMALL, "swapped_positions": swapped}) for swapped in (False, True)]
    heard = [encoder(clip, mask, [0]).features for encoder in ways]
    assert (heard[0] - heard[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "swapped"), [("asit", False), ("asit-swapped", True)])
def test_official_file_opens_with_every_tensor(name: str, swapped: bool, tmp_path: Path) -> None:
    state, _ = official(name)
    read = {"dim": 32, "num_layers": 2, "trained_steps": 37, "swapped_positions": swapped}
    check_container(saved(state, tmp_path / "ASIT.pt"), "asit", tmp_path / "out", expected=read)


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    state, _ = official("asit")
    headless = {name: tensor for name, tensor in state.items() if name != "model.pos_embed"}
    extra = {**state, "model.blocks.0.attn.bias": torch.zeros(3)}
    for wrong, why in ((headless, "pos_embed is missing"), (extra, "unexpected blocks.0.attn.bias")):
        with pytest.raises(WeightsError, match=why):
            encoders.open_encoder(saved(wrong, tmp_path / "wrong.pt"), "asit")


def test_padding_and_company_do_not_matter() -> None:
    check_alone_equals_batch(seeded_encoder("asit", SMALL), FRAMES)


def test_the_check_sees_a_mask_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference_with_masks_ignored("asit", monkeypatch) > 1e-3


def test_a_click_is_where_it_is() -> None:
    check_click(seeded_encoder("asit", SMALL))
