"""Dasheng: official files, equality with the original, padding, time."""

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

READ = {"dim": 32, "num_layers": 2, "num_heads": 2, "max_steps": 252}


def test_numbers_are_the_originals() -> None:
    check_golden("dasheng")


def test_official_file_opens_with_every_tensor(tmp_path: Path) -> None:
    state, settings = official("dasheng")
    state["front_end.0.spectrogram.window"] = torch.zeros(512)
    path = saved({"model": state, **settings}, tmp_path / "dasheng_base.pt")
    check_container(path, "dasheng", tmp_path / "out", expected=READ)


def test_transformers_folder_opens_with_every_tensor(tmp_path: Path) -> None:
    state, settings = official("dasheng")
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file({f"encoder.{name}": tensor for name, tensor in state.items()}, folder / "model.safetensors")
    said = {"model_type": "dasheng", "encoder_kwargs": settings["config"]}
    (folder / "config.json").write_text(json.dumps(said), "utf-8")
    check_container(folder, "", tmp_path / "out", expected=READ)


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    state, _ = official("dasheng")
    token = {**state, "cls_token": torch.zeros(1, 1, 32)}
    ced, _ = official("ced")
    for wrong, why in ((token, "class token"), (ced, r"\(16, 16\)")):
        with pytest.raises(WeightsError, match=why):
            encoders.open_encoder(saved(wrong, tmp_path / "wrong.pt"), "dasheng")


def test_padding_and_company_do_not_matter() -> None:
    check_alone_equals_batch(seeded_encoder("dasheng", SMALL), FRAMES)


def test_the_check_sees_a_mask_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference_with_masks_ignored("dasheng", monkeypatch) > 1e-3


def test_a_click_is_where_it_is() -> None:
    check_click(seeded_encoder("dasheng", SMALL))


def test_ten_seconds_are_250_features() -> None:
    encoder = seeded_encoder("dasheng", SMALL)
    frames = encoder.front_end.num_frames(160_000)
    heard = encoder(torch.zeros(1, frames, 64, dtype=torch.float64), torch.ones(1, frames, dtype=torch.bool), [0])
    assert heard.features.shape[2] == 250
