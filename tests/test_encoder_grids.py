"""What the encoders over grids of patches share: every patch or their mean, sizes as published, impossible settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from alm import encoders
from alm.errors import ConfigError
from tests.grid_helpers import SMALL, both_ways

MAMBA: Mapping[str, Any] = {"dim": 32, "num_layers": 2, "states": 4}
FAMILIES: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "ssast": (SMALL, 8),
    "asit": (SMALL, 8),
    "passt": (SMALL, 12),
    "ced": (SMALL, 4),
    "dasheng": (SMALL, 1),
    "ssamba": (MAMBA, 8),
}
"""Configuration, and rows of patches in one step."""
MILLIONS = {
    ("ssast", "tiny-patch"): 5.6,
    ("ssast", "base-patch"): 85.7,
    ("asit", "base"): 85.5,
    ("passt", "s-stride10"): 85.4,
    ("ced", "tiny"): 5.4,
    ("ced", "base"): 85.3,
    ("dasheng", "base"): 85.4,
    ("dasheng", "0.6b"): 630.3,
    ("dasheng", "1.2b"): 1134.2,
    ("ssamba", "base"): 96.7,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_patch_comes_step_by_step_and_its_mean_is_the_feature(family: str) -> None:
    config, rows = FAMILIES[family]
    mean, patches, found = both_ways(family, config, 70)
    assert found == rows
    assert torch.allclose(patches.unflatten(2, (-1, rows)).mean(3), mean.features)
    # Rows of one step differ: it was not one row repeated.
    assert rows == 1 or patches.unflatten(2, (-1, rows)).std(3).min() > 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_of_one_step_have_one_time(family: str) -> None:
    config, rows = FAMILIES[family]
    mean, patches = (encoders.build(family, {**config, "frequency": f}) for f in ("mean", "tokens"))
    assert patches.frames_per_second == pytest.approx(rows * mean.frames_per_second)
    assert torch.equal(patches.times(3 * rows), mean.times(3).repeat_interleave(rows, dim=0))


@pytest.mark.parametrize(("family", "size"), MILLIONS)
def test_published_sizes_have_their_parameters(family: str, size: str) -> None:
    known = encoders.family(family)
    with torch.device("meta"):
        encoder = known.build(known.sizes[size])
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(MILLIONS[family, size], abs=0.5)
    assert encoder.front_end == known.front_end(known.sizes[size])


@pytest.mark.parametrize("family", FAMILIES)
def test_impossible_settings_are_refused(family: str) -> None:
    for wrong in ({"dim": 0}, {"dim": True}, {"num_layers": 1.5}, {"frequency": "all"}, {"colour": 1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            encoders.build(family, {**FAMILIES[family][0], **wrong})


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_targets_are_linear_layers(family: str) -> None:
    encoder = encoders.build(family, FAMILIES[family][0])
    linear = [name for name, module in encoder.named_modules() if isinstance(module, torch.nn.Linear)]
    for target in encoders.family(family).lora_targets:
        assert sum(name.endswith(f".{target}") for name in linear) == 2
