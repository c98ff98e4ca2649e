"""PaSST: official files, equality with the original, padding, time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alm import encoders
from alm.errors import WeightsError
from tests.encoder_checks import check_alone_equals_batch, check_click, check_container, check_golden, seeded_encoder
from tests.grid_helpers import FRAMES, SMALL, difference_with_masks_ignored, official, saved


def test_numbers_are_the_originals() -> None:
    check_golden("passt")


@pytest.mark.parametrize("prefix", ["", "net."])
def test_official_file_opens_with_every_tensor(prefix: str, tmp_path: Path) -> None:
    state, _ = official("passt")
    path = saved({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "passt-s-f128-p16-s10.pt")
    check_container(path, "passt", tmp_path / "out", expected={"stride": 10, "max_steps": 99, "num_layers": 2})


@pytest.mark.parametrize(("rows", "stride"), [(12, 10), (10, 12), (9, 14), (8, 16)])
def test_the_stride_is_read_off_the_rows(rows: int, stride: int, tmp_path: Path) -> None:
    state, _ = official("passt")
    state["freq_new_pos_embed"] = torch.zeros(1, 32, rows, 1)
    encoder = encoders.open_encoder(saved(state, tmp_path / "passt.pt"), "passt")
    assert encoder.frames_per_second == pytest.approx(100 / stride)


def test_a_finer_hop_is_read_off_the_files_name(tmp_path: Path) -> None:
    state, _ = official("passt")
    path = saved(state, tmp_path / "passt-s-f128-stfthop100-p16-s10-ap.473-swa.pt")
    encoder = check_container(path, "passt", tmp_path / "out", expected={"hop_samples": 100})
    assert encoder.frames_per_second == pytest.approx(32.0) and encoder.front_end.num_frames(32_000) == 320
    check_click(seeded_encoder("passt", {**SMALL, "hop_samples": 100, "max_steps": 320}))


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    state, _ = official("passt")
    apart = {**state, "freq_new_pos_embed": torch.zeros(1, 32, 7, 1)}
    image = {**state, "pos_embed": torch.zeros(1, 10, 32)}
    plain = {name: tensor for name, tensor in state.items() if name != "dist_token"}
    for wrong, why in ((apart, "7 rows"), (image, "image model"), (plain, "dist_token is missing")):
        with pytest.raises(WeightsError, match=why):
            encoders.open_encoder(saved(wrong, tmp_path / "wrong.pt"), "passt")


def test_padding_and_company_do_not_matter() -> None:
    check_alone_equals_batch(seeded_encoder("passt", SMALL), FRAMES)


def test_the_check_sees_a_mask_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference_with_masks_ignored("passt", monkeypatch) > 1e-3


def test_a_click_is_where_it_is() -> None:
    check_click(seeded_encoder("passt", SMALL))


def test_overlapping_patches_have_the_time_of_their_middle() -> None:
    encoder = seeded_encoder("passt", SMALL)
    assert torch.allclose(encoder.times(2), torch.tensor([[0.03, 0.13], [0.13, 0.23]], dtype=torch.float64))


def test_ten_seconds_are_heard_whole() -> None:
    assert encoders.front_end("passt", SMALL).max_seconds >= 10.0
