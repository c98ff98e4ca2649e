"""CED: official files, equality with the original, padding, time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from alm import encoders
from alm.errors import WeightsError
from tests.encoder_checks import check_alone_equals_batch, check_click, check_container, check_golden, seeded_encoder
from tests.grid_helpers import FRAMES, SMALL, difference_with_masks_ignored, official, saved


def test_numbers_are_the_originals() -> None:
    check_golden("ced")


@pytest.mark.parametrize("wrapped", [False, True])
def test_official_file_opens_with_every_tensor(wrapped: bool, tmp_path: Path) -> None:
    state, _ = official("ced")
    state["front_end.0.mel_scale.fb"] = torch.zeros(257, 64)
    path = saved({"model": state} if wrapped else state, tmp_path / "audiotransformer_base_mAP_4999.pt")
    check_container(path, "ced", tmp_path / "out", expected={"dim": 32, "num_layers": 2, "max_steps": 63})


def test_transformers_folder_opens_with_every_tensor(tmp_path: Path) -> None:
    """The hub's layout: below `encoder.`, and the batch norm is no part of a sequence."""
    state, _ = official("ced")
    folder = tmp_path / "hub"
    folder.mkdir()
    names = {k: k if k.startswith("outputlayer") else f"encoder.{k.replace('init_bn.1.', 'init_bn.')}" for k in state}
    save_file({names[name]: tensor for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "ced"}), "utf-8")
    check_container(folder, "", tmp_path / "out", expected={"dim": 32, "num_layers": 2})


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    state, _ = official("ced")
    token = {**state, "cls_token": torch.zeros(1, 1, 32)}
    dasheng, _ = official("dasheng")
    for wrong, why in ((token, "class token"), (dasheng, r"\(64, 4\)")):
        with pytest.raises(WeightsError, match=why):
            encoders.open_encoder(saved(wrong, tmp_path / "wrong.pt"), "ced")


def test_padding_and_company_do_not_matter() -> None:
    check_alone_equals_batch(seeded_encoder("ced", SMALL), FRAMES)


def test_the_check_sees_a_mask_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference_with_masks_ignored("ced", monkeypatch) > 1e-3


def test_a_click_is_where_it_is() -> None:
    check_click(seeded_encoder("ced", SMALL))


def test_batch_norm_never_learns_from_a_batch() -> None:
    encoder = seeded_encoder("ced", SMALL).train()
    before = encoder.state_dict()["init_bn.running_mean"].clone()
    encoder(torch.randn(2, 40, 64, dtype=torch.float64), torch.ones(2, 40, dtype=torch.bool), [0])
    assert torch.equal(before, encoder.state_dict()["init_bn.running_mean"])
