"""DCLS ConvNeXt against its authors' network; the tiny transformer and the baseline of statistics by what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import torch
from torch import Tensor

from alm import encoders
from alm.configuration import AlmConfig
from alm.encoders.families import dcls_convnext, statistics
from alm.encoders.family import Checkpoint
from alm.errors import ConfigError, WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    seeded_encoder,
    worst_difference,
)

PLACED = {"depths": (1, 2), "first_channels": 4, "kernel_size": 9, "kernel_weights": 5, "mel_bins": 16}
SMALL_STATISTICS = {"mel_bins": 8, "clusters": 4}
PLAIN = {**PLACED, "kernel_size": 7, "kernel_weights": 0}
FRAMES = (1, 31, 33, 80, 140)


@pytest.mark.parametrize("name", ["dcls_convnext", "dcls_convnext_plain"])
def test_equals_the_authors_convnext(name: str) -> None:
    check_golden("dcls_convnext", GOLDEN / f"{name}.safetensors")


@pytest.mark.parametrize("config", [PLACED, PLAIN])
def test_convnext_alone_equals_batch_and_clicks_land(config: dict[str, Any]) -> None:
    encoder = seeded_encoder("dcls_convnext", config)
    check_alone_equals_batch(encoder, FRAMES)
    check_click(encoder, clip_seconds=2.0)


def test_without_zeroing_before_its_kernels_convnext_hears_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = dcls_convnext.Block.forward
    monkeypatch.setattr(dcls_convnext.Block, "forward", lambda b, x, real: forward(b, x, torch.ones_like(real)))
    assert worst_difference(seeded_encoder("dcls_convnext", PLACED), FRAMES) > 1e-4


def test_convnext_files_open_and_others_are_refused(tmp_path: Path) -> None:
    state: dict[str, Tensor] = dict(dcls_convnext.build({**PLACED, "kernel_size": 23, "mel_bins": 128}).state_dict())
    torch.save({"model": {**state, "head.weight": torch.zeros(5, 8), "head.bias": torch.zeros(5)}}, tmp_path / "a.pth")
    check_container(tmp_path / "a.pth", "dcls_convnext", tmp_path / "a", expected={"kernel_weights": 5})
    pictures = {**state, "downsample_layers.0.0.weight": torch.zeros(4, 3, 4, 4)}
    bilinear = {k: t for k, t in state.items() if not k.endswith(".SIG")}
    for tensors, word in ((pictures, "pictures"), (bilinear, "Gaussian"), ({"stem.weight": torch.zeros(1)}, "FastViT")):
        with pytest.raises(WeightsError, match=word):
            dcls_convnext.read(Checkpoint("a.pth", tensors, {}))


# --- the tiny transformer ---


def test_the_tiny_transformer_is_tiny_and_hears_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoders.build("tiny_transformer")
    assert sum(p.numel() for n, p in encoder.named_parameters() if n != "positions") < 10_000
    seeded = seeded_encoder("tiny_transformer", {"mel_bins": 16})
    check_alone_equals_batch(seeded)
    check_click(seeded)
    layer = torch.nn.TransformerEncoderLayer.forward
    monkeypatch.setattr(torch.nn.TransformerEncoderLayer, "forward", lambda s, x, src_key_padding_mask: layer(s, x))
    assert worst_difference(seeded) > 1e-4


# --- statistics ---


def clips(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(90, 32, generator=generator) * 10 - 40 - 20 * (i % 2) for i in range(count)]


def test_statistics_are_numpys_of_the_same_cells_and_the_baseline_is_batch_proof() -> None:
    encoder = encoders.build("statistics").double()
    assert isinstance(encoder, statistics.StatisticsEncoder)
    clip = clips(1)[0].double()
    found = encoder.statistics(clip[None], torch.ones(1, 90, dtype=torch.bool))[0][0]
    cells = clip[80:].numpy()  # the last step has half its frames
    parts = [cells.mean(0), cells.std(0), cells.max(0), np.abs(np.diff(cells, axis=0)).sum(0) / len(cells)]
    assert found.shape == (5, 128) and np.allclose(found[-1], np.concatenate(parts))
    assert worst_difference(encoder, (1, 7, 20, 33, 80)) < 1e-9
    check_click(encoder)


def test_fitted_clusters_tell_loud_clips_from_quiet_ones() -> None:
    heard = clips(6)
    encoder = statistics.fitted(statistics.StatisticsConfig(clusters=2), heard)
    features = encoder(torch.stack(heard), torch.ones(6, 90, dtype=torch.bool), [0]).features[:, 0]
    shares = features[:, :, -2:]
    assert torch.allclose(shares.sum(-1), torch.ones(6, 5))
    loud, quiet = shares[0::2].argmax(-1), shares[1::2].argmax(-1)
    assert loud.unique().numel() == quiet.unique().numel() == 1 and loud[0, 0] != quiet[0, 0]
    with pytest.raises(ConfigError, match="more clips"):
        statistics.fitted(statistics.StatisticsConfig(clusters=64), heard[:1])


@pytest.mark.parametrize("family", ["tiny_transformer", "statistics"])
def test_families_of_our_own_open_their_own_folders_only(family: str) -> None:
    with pytest.raises(WeightsError, match="folder"):
        encoders.family(family).read(Checkpoint("x.pt", {}, {}))
    for field in ("mel_bins", "frames_per_step"):
        with pytest.raises(ConfigError, match=field):
            encoders.build(family, {field: 0})


def test_the_baseline_can_be_an_ear_of_a_model() -> None:
    """It has nothing to learn, so its kind of number is that of its buffers."""
    settings = tiny_model.config().to_dict()
    ear = {"family": "statistics", "layers": [-1], "config": SMALL_STATISTICS}
    branch = {**settings["branches"][0], "encoders": ["statistics"]}
    model = tiny_model.model(AlmConfig(**{**settings, "encoders": {"statistics": ear}, "branches": [branch]}))
    clip = torch.randn(1, 90, SMALL_STATISTICS["mel_bins"], dtype=torch.float64)
    given = {"statistics_features": clip, "statistics_mask": torch.ones(1, 90, dtype=torch.bool)}
    with torch.no_grad():
        heard = model.model.hearing.encode(given)["statistics"]
    wanted = model.model.hearing.encoders["statistics"](clip.float(), given["statistics_mask"], [0]).features
    assert torch.equal(heard.hidden, wanted)
    assert encoders.build("statistics").dtype == torch.float32 and seeded_encoder("vatt", {}).dtype == torch.float64
