"""Small encoders over grids of patches, and their originals' checkpoints from the golden files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alm import encoders
from alm.encoders.blocks.vit import VitBlock
from tests.encoder_checks import GOLDEN, seeded_encoder, worst_difference
from tools.golden.seeded import read

SMALL: Mapping[str, Any] = {"dim": 32, "num_layers": 2, "num_heads": 2, "ffn_dim": 64}
FRAMES = (1, 15, 17, 40, 131)
"""Shorter than a patch, one that ends inside a patch, several patches."""


def official(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and settings in the layout of the original, tiny and random."""
    golden, state, _ = read(GOLDEN / f"{name}.safetensors")
    return state, dict(golden.settings)


def saved(state: Mapping[str, Any], path: Path) -> Path:
    """A file as the authors save theirs."""
    torch.save(dict(state), path)
    return path


def difference_with_masks_ignored(family: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """What padding changes where attention looks at it: the control of `check_alone_equals_batch`."""
    encoder, attending = seeded_encoder(family, SMALL), VitBlock.forward

    def everywhere(block: VitBlock, hidden: Tensor, attend: Tensor | None) -> Tensor:
        return attending(block, hidden, None)

    with monkeypatch.context() as patch:
        patch.setattr(VitBlock, "forward", everywhere)
        return worst_difference(encoder, FRAMES)


def both_ways(family: str, config: Mapping[str, Any], frames: int) -> tuple[encoders.EncoderOutput, Tensor, int]:
    """One clip as the mean over frequency, as every patch `[batch, layers, tokens, dim]`, and the rows of a step."""
    picture = torch.randn(1, frames, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    heard = []
    for frequency in ("mean", "tokens"):
        encoder = seeded_encoder(family, {**config, "frequency": frequency})
        wide = picture.expand(-1, -1, encoder.front_end.bins).contiguous()
        wide = wide * torch.linspace(0.5, 2.0, encoder.front_end.bins, dtype=torch.float64)
        with torch.no_grad():
            heard.append(encoder(wide, torch.ones(1, frames, dtype=torch.bool), [0, 1, -1]))
    return heard[0], heard[1].features, heard[1].features.shape[2] // heard[0].features.shape[2]
