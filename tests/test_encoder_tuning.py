"""LoRA and adapters beside convolutions: PANNs, aiSFX and the tower of msclap 2022 are tuned as transformers are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny_model
import torch
from encoder_checks import check_alone_equals_batch, seeded_encoder, worst_difference
from torch import Tensor, nn

from alm import encoders
from alm.configuration import AlmConfig
from alm.encoders.tuning import Bypass, Tuning
from alm.errors import ConfigError

SMALL: dict[str, dict[str, Any]] = {
    "panns": {"num_blocks": 4, "first_channels": 4, "mel_bins": 16},
    "panns cnn6": {"num_blocks": 4, "first_channels": 4, "mel_bins": 16, "kernel_size": 5},
    "panns wavegram": {"first_channels": 8, "mel_bins": 8, "num_blocks": 3, "inputs": "both"},
    "msclap": {"tower": "cnn14", "num_blocks": 4, "first_channels": 4, "mel_bins": 16},
    "aisfx": {},
}
FRAMES = (8, 33, 80)


def tuned(name: str, bend: bool, up: float = 0.0) -> tuple[encoders.AudioEncoder, Tuning]:
    """A frozen encoder and its bypasses, which say nothing unless `up` is given."""
    family = name.split()[0]
    encoder = seeded_encoder(family, SMALL[name]).requires_grad_(False)
    torch.manual_seed(0)
    targets = encoders.family(family).lora_targets or ("conv1", "conv2")
    tuning = Tuning(encoder, targets, 3, 6.0, bend).double()
    for bypass in tuning.bypasses.values():
        assert isinstance(bypass, Bypass)
        nn.init.normal_(bypass.up, std=up) if up else None
    tuning.attach(encoder)
    return encoder, tuning


def features(encoder: encoders.AudioEncoder) -> Tensor:
    picture = torch.randn(
        1, 40, encoder.front_end.bins, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found: Tensor = encoder(picture, torch.ones(1, 40, dtype=torch.bool), [-1]).features
    return found


@pytest.mark.parametrize("bend", [False, True], ids=["lora", "adapter"])
@pytest.mark.parametrize("name", SMALL)
def test_bypasses_start_as_nothing_and_learn(name: str, bend: bool) -> None:
    encoder, tuning = tuned(name, bend)
    heard = features(encoder)
    assert torch.equal(heard, features(seeded_encoder(name.split()[0], SMALL[name])))
    heard.square().mean().backward()
    tuning.check()
    learns = {n: p for n, p in tuning.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert any(n.endswith("up") for n in learns) and all(p.grad is None for p in encoder.parameters())
    with torch.no_grad():
        for parameter in learns.values():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad.sign())
    assert not torch.allclose(features(encoder), heard)


@pytest.mark.parametrize("bend", [False, True], ids=["lora", "adapter"])
@pytest.mark.parametrize("name", SMALL)
def test_tuned_encoders_hear_no_padding(name: str, bend: bool) -> None:
    """What the bypasses say lies behind the masks. Control: what is added after these is heard."""
    encoder, _ = tuned(name, bend, up=0.05)
    plain = seeded_encoder(name.split()[0], SMALL[name])
    assert not torch.allclose(features(encoder), features(plain))
    check_alone_equals_batch(encoder, FRAMES)
    block = next(m for n, m in encoder.named_modules() if n.endswith("conv_block2"))
    block.register_forward_hook(lambda _, __, out: (out[0] + 1.0, out[1]) if isinstance(out, tuple) else out + 1.0)
    assert worst_difference(encoder, FRAMES) > 1e-3


CONVOLUTIONS: dict[str, nn.Conv1d | nn.Conv2d] = {
    "plain": nn.Conv2d(4, 6, 3, padding=1),
    "wide": nn.Conv2d(4, 6, (5, 3), stride=2, padding=(2, 1), bias=False),
    "spread": nn.Conv2d(4, 6, 3, dilation=2),
    "time": nn.Conv1d(4, 6, 3, padding=2, dilation=2),
    "grouped": nn.Conv1d(4, 6, 2, groups=2, padding="same"),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_lora_is_a_change_of_the_kernel_and_an_adapter_is_not(kind: str) -> None:
    torch.manual_seed(0)
    layer = copy.deepcopy(CONVOLUTIONS[kind])
    for bend in (False, True):
        bypass = Bypass(layer, 3, 6.0, bend)
        nn.init.normal_(bypass.up)
        x = torch.randn(2, 4, 11, *([9] if layer.weight.ndim == 4 else []))
        changed = copy.deepcopy(layer)
        whole = torch.zeros(6, 4, *layer.kernel_size)
        for group in range(layer.groups):  # a grouped kernel as one that has zeros between the groups
            rows, columns = 6 // layer.groups, 4 // layer.groups
            part = layer.weight[group * rows : (group + 1) * rows].detach()
            whole[group * rows : (group + 1) * rows, group * columns : (group + 1) * columns] = part
        changed.groups = 1
        changed.weight = nn.Parameter(whole + 2.0 * torch.einsum("or,ri...->oi...", bypass.up, bypass.down))
        with torch.no_grad():
            away = (bypass.hook(layer, (x,), layer(x)) - changed(x)).abs().max()
        assert (float(away) < 1e-4) != bend


def test_edges_that_are_no_zeros_are_refused() -> None:
    with pytest.raises(ConfigError, match="circular"):
        Bypass(nn.Conv1d(2, 2, 3, padding_mode="circular"), 2, 2.0, False)


def test_of_alternatives_the_first_that_there_is_is_tuned() -> None:
    assert {n.rpartition(".")[2] for n in tuned("panns cnn6", False)[1].places} == {"conv1"}
    assert {n.rpartition(".")[2] for n in tuned("panns", False)[1].places} == {"conv1", "conv2"}
    htsat = encoders.build("msclap", {"patch_dim": 8, "depths": (2,), "num_heads": (1,), "spectrogram_side": 256})
    places = Tuning(htsat, encoders.family("msclap").lora_targets, 2, 2.0, False).places
    assert {n.rpartition(".")[2] for n in places} == {"query", "value"}
    with pytest.raises(ConfigError, match=r"called nothing\|nowhere; tune_layers may name conv1, conv2"):
        Tuning(encoders.build("panns", SMALL["panns"]), ["nothing|nowhere"], 2, 2.0, False)


@pytest.mark.parametrize("tune", ["lora", "adapter"])
def test_a_model_learns_beside_convolutions(tune: str) -> None:
    settings = tiny_model.config().to_dict()
    ear = {"family": "panns", "layers": [-1], "config": SMALL["panns"], "tune": tune, "tune_rank": 2}
    branch = {**settings["branches"][0], "encoders": ["panns"]}
    model = tiny_model.model(AlmConfig(**{**settings, "encoders": {"panns": ear}, "branches": [branch]}))
    hearing = model.model.hearing
    learning = hearing.learning()
    assert len(learning) == 2 * 2 * 4 and all(n.startswith("tuning.panns.") for n in learning)
    for parameter in hearing.encoders.parameters():
        parameter.requires_grad_(False)
    given = {"panns_features": torch.randn(1, 64, 16), "panns_mask": torch.ones(1, 64, dtype=torch.bool)}
    hearing.encode(given)["panns"].hidden.square().mean().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in learning.values())
