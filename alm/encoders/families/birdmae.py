"""Bird-MAE (Rauch et al. 2025): AudioMAE's module trained on bird recordings, 32 kHz.

It hears 512 frames (5.1 s). As in the authors' pipeline a shorter clip is followed by more frames, which are attended
to: by silence below 5 s, by its own quietest cell from there on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from alm.encoders.base import config_from
from alm.encoders.families import audiomae
from alm.encoders.family import Checkpoint, Facts, Family, Read

_CLIP_FRAMES = 498
"""Whole windows in the 5 s that the authors cut or fill every clip to."""


@dataclass(frozen=True)
class BirdMaeConfig(audiomae.AudioMaeConfig):
    """Architecture; the defaults are those of the base size."""

    family: ClassVar[str] = "birdmae"
    hertz: ClassVar[int] = 32_000

    mean: float = -7.2
    std: float = 4.43
    max_steps: int = 32


class BirdMaeEncoder(audiomae.AudioMaeEncoder):
    """See `AudioMaeEncoder`."""

    name: ClassVar[str] = "birdmae"

    def _filling(self, spectrogram: Tensor, mask: Tensor) -> Tensor | float:
        least = spectrogram.masked_fill(~mask[:, :, None], torch.inf).amin((1, 2))
        return torch.where(mask.sum(1) < _CLIP_FRAMES, self.silence, least)


def build(config: Mapping[str, Any]) -> BirdMaeEncoder:
    """A randomly initialised encoder with this architecture (`BirdMaeConfig` fields)."""
    return BirdMaeEncoder(config_from(BirdMaeConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """From a folder of the hub or the authors' training files; see `Family.read`."""
    return audiomae.read_as("birdmae", checkpoint)


FAMILY = Family(
    name="birdmae",
    build=build,
    front_end=lambda config: audiomae.front_end(config_from(BirdMaeConfig, config)),
    read=read,
    sizes=MappingProxyType(
        {
            "base": MappingProxyType({}),
            "large": MappingProxyType({"dim": 1024, "num_layers": 24, "num_heads": 16, "ffn_dim": 4096}),
            "huge": MappingProxyType({"dim": 1280, "num_layers": 32, "num_heads": 16, "ffn_dim": 5120}),
        }
    ),
    lora_targets=("qkv",),
    facts=Facts(
        title="Bird-MAE",
        paper="Rauch et al. 2025, Can Masked Autoencoders Also Listen to Birds?, arXiv:2504.12880",
        home="github.com/DBD-research-group/Bird-MAE",
        hub=tuple(f"DBD-research-group/Bird-MAE-{size}" for size in ("Base", "Large", "Huge")),
        licence_code="none stated",
        licence_weights="none stated",
        good_at="birds; the authors classify by prototypes of single patches rather than by the pooled clip",
        containers=(("folder of the hub", "test_bird_mae_opens_from_the_hubs_folder_and_from_training"),),
        proved_against=(
            "github.com/DBD-research-group/Bird-MAE at a514ef5042b43d80d11677979586299877d6b6ed, models/mae/encoder.py"
        ),
        notes=(
            "A file does not say whether it is AudioMAE's or Bird-MAE's: name the right one, for rate and length "
            "differ. The last layer has the norm of pre-training; the authors' classifier pools what is in front of it."
        ),
    ),
)
