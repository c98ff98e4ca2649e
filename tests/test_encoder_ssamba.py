"""SSAMBA: official files, equality with the original, padding, time, and the scan against its definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from alm import encoders
from alm.encoders.blocks.selective_scan import selective_scan
from alm.encoders.families import ssamba
from alm.errors import WeightsError
from tests.encoder_checks import (
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    seeded_encoder,
    worst_difference,
)
from tests.grid_helpers import FRAMES, official, saved

TIME = 7
SMALL = {"dim": 32, "num_layers": 2, "states": 4}


def test_numbers_are_the_originals() -> None:
    check_golden("ssamba")


def test_official_file_opens_with_every_tensor(tmp_path: Path) -> None:
    state, _ = official("ssamba")
    read = {"dim": 32, "num_layers": 3, "states": 16, "conv_tokens": 4, "expansion": 2, "max_steps": 10}
    check_container(saved(state, tmp_path / "ssamba.pth"), "ssamba", tmp_path / "out", expected=read)


def test_other_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    state, _ = official("ssamba")
    one_way = {name: tensor for name, tensor in state.items() if "_b" not in name}
    tuned = {**state, "module.mlp_head.1.weight": torch.zeros(5, 32)}
    transformer, _ = official("ssast-frame")
    for wrong, why in ((one_way, "one way only"), (tuned, "fine-tuned"), (transformer, "ssast")):
        with pytest.raises(WeightsError, match=why):
            encoders.open_encoder(saved(wrong, tmp_path / "wrong.pth"), "ssamba")


def test_padding_and_company_do_not_matter() -> None:
    check_alone_equals_batch(seeded_encoder("ssamba", SMALL), FRAMES)


def test_the_check_sees_a_scan_that_starts_in_the_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_whole_batch(counts: Tensor, width: int) -> Tensor:
        return torch.arange(width - 1, -1, -1).expand(len(counts), -1)

    monkeypatch.setattr(ssamba, "_reversed_places", of_the_whole_batch)
    assert worst_difference(seeded_encoder("ssamba", SMALL), FRAMES) > 1e-3


def test_a_click_is_where_it_is() -> None:
    check_click(seeded_encoder("ssamba", SMALL))


# --- the scan ---


def scanned(grad: bool = False) -> tuple[list[Tensor], Tensor]:
    """Arguments of a scan, and its result one cell at a time."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, TIME, 3), (2, TIME, 3), (3, 4), (2, TIME, 4), (2, TIME, 4), (3,))
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    values[1], values[2] = values[1].abs(), -values[2].abs()
    x, step, decay, write, read, skip = values
    result = torch.zeros_like(x)
    for b in range(2):
        for c in range(3):
            state = torch.zeros(4, dtype=torch.float64)
            for t in range(TIME):
                state = torch.exp(step[b, t, c] * decay[c]) * state + step[b, t, c] * write[b, t] * x[b, t, c]
                result[b, t, c] = (state * read[b, t]).sum() + skip[c] * x[b, t, c]
    return [value.requires_grad_(grad) for value in values], result


@pytest.mark.parametrize("at_once", [1, 3, 7, 32])
def test_the_scan_is_its_definition(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alm.encoders.blocks.selective_scan._PLACES_AT_ONCE", at_once)
    values, result = scanned()
    assert (selective_scan(*values) - result).abs().max() < 1e-12


def test_rounding_of_halves_does_not_add_up() -> None:
    """A slow leaky sum of ones over 500 places, which bfloat16 would stop counting at 256."""
    shape, half = (1, 500, 1), torch.bfloat16
    ones, decay = torch.ones(shape, dtype=half), torch.full((1, 1), -1e-4, dtype=half)
    heard = selective_scan(ones, ones, decay, ones, ones, torch.zeros(1, dtype=half))
    assert heard.dtype == half and float(heard[0, -1, 0]) == pytest.approx((1 - 0.9999**500) / 1e-4, rel=0.01)


def test_the_scan_has_gradients() -> None:
    values, _ = scanned(grad=True)
    assert torch.autograd.gradcheck(selective_scan, values)


def test_a_kernel_gets_what_mamba_ssm_takes() -> None:
    """`selective_scan_fn(u, delta, A, B, C, D)`: time last, channels before it."""
    values, result = scanned()

    def kernel(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        assert u.shape == delta.shape == (2, 3, TIME) and b.shape == c.shape == (2, 4, TIME) and a.shape == (3, 4)
        assert all(tensor.is_contiguous() for tensor in (u, delta, b, c))
        turned = [tensor.transpose(1, 2) for tensor in (u, delta, b, c)]
        return selective_scan(turned[0], turned[1], a, turned[2], turned[3], d).transpose(1, 2)

    assert (selective_scan(*values, kernel=kernel) - result).abs().max() < 1e-12
