"""PaSST (Koutini et al., Interspeech 2022): overlapping patches, positions apart for time and frequency, 32 kHz."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import config_from
from alm.encoders.blocks.grid import Grid, SeparableGridTransformer, check_sizes
from alm.encoders.blocks.reading import VIT_AXES, divided, refusal, required, vit_sizes
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.passt import PasstFrontEnd

_BINS, _PATCH = 128, 16
_STRIDES = MappingProxyType({Grid(_BINS, _PATCH, _PATCH, s, s).rows: s for s in (10, 12, 14, 16)})
"""Rows of patches to the stride that gives them, for the published strides."""
_HOP = re.compile(r"stfthop(\d{2,4})\b")
"""In the names of released files: the one place that says it."""
_SILENCE = (-11.512925464970229 + 4.5) / 5.0
"""log(1e-5), normalised."""
_RENAMED = MappingProxyType(
    {"freq_new_pos_embed": "freq_pos_embed", "time_new_pos_embed": "time_pos_embed", "new_pos_embed": "token_pos_embed"}
)
_HEADS = ("head.", "head_dist.", "mel.", "device_proxy")


@dataclass(frozen=True)
class PasstConfig:
    """The defaults are PaSST-S's with stride 10 on 10 s."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    stride: int = 10
    """Cells from one patch to the next, in both directions."""
    max_steps: int = 99
    """Patches in time that there are positions for."""
    hop_samples: int = 320
    """Of the spectrogram, at 32 kHz."""
    frequency: str = "mean"

    def __post_init__(self) -> None:
        check_sizes("passt", self)

    @property
    def grid(self) -> Grid:
        """16x16 patches that overlap."""
        return Grid(_BINS, _PATCH, _PATCH, self.stride, self.stride)


def _front_end(config: PasstConfig) -> PasstFrontEnd:
    seconds = (config.grid.max_frames(config.max_steps) - 1) * config.hop_samples / PasstFrontEnd.sample_rate
    return PasstFrontEnd(_BINS, max_seconds=seconds, hop_samples=config.hop_samples)


class PasstEncoder(SeparableGridTransformer):
    """DeiT with a class and a distillation token; patchout is for training and not part of it."""

    name: ClassVar[str] = "passt"

    def __init__(self, config: PasstConfig) -> None:
        super().__init__(config.grid, config.max_steps, _front_end(config), config.frequency, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.token_pos_embed = nn.Parameter(torch.randn(1, 2, config.dim) * 0.02)
        self._add_positions()
        self._add_blocks(config.num_layers, config.num_heads, config.ffn_dim)

    @property
    def filler(self) -> float:
        """Digital silence."""
        return _SILENCE

    def _leading(self) -> Tensor:
        return torch.cat([self.cls_token, self.dist_token], dim=1) + self.token_pos_embed


def build(config: Mapping[str, Any]) -> PasstEncoder:
    """A randomly initialised encoder with this architecture (`PasstConfig` fields)."""
    return PasstEncoder(config_from(PasstConfig, config))


def front_end(config: Mapping[str, Any]) -> PasstFrontEnd:
    """PaSST's spectrogram for as long as there are positions."""
    return _front_end(config_from(PasstConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """From a released file, or one that the authors' wrapper saved (`net.`)."""
    bare = {name.removeprefix("net."): tensor for name, tensor in checkpoint.tensors.items()}
    tensors = {_RENAMED.get(name, name): tensor for name, tensor in bare.items()}
    if "pos_embed" in tensors:
        raise refusal(checkpoint, "passt", "its positions are not apart for time and frequency: an image model or AST")
    required(checkpoint, "passt", tensors, {**VIT_AXES, "time_pos_embed": 4, "freq_pos_embed": 4, "dist_token": 3})
    kept, unused = divided(tensors, _HEADS)
    rows = kept["freq_pos_embed"].shape[2]
    if rows not in _STRIDES:
        raise refusal(checkpoint, "passt", f"{rows} rows of patches belong to no stride of {list(_STRIDES.values())}")
    config = {**vit_sizes(kept), "stride": _STRIDES[rows], "max_steps": kept["time_pos_embed"].shape[3]}
    named = _HOP.search(Path(checkpoint.path).name)
    return Read(config | {"hop_samples": int(named[1]) if named else 320}, kept, unused)


FAMILY = Family(
    name="passt",
    build=build,
    front_end=front_end,
    read=read,
    sizes=MappingProxyType(
        {
            "s-stride10": {},
            "s-stride12": {"stride": 12, "max_steps": 83},
            "s-stride14": {"stride": 14, "max_steps": 71},
            "s-stride16": {"stride": 16, "max_steps": 62},
            "s-20s": {"max_steps": 200},
            "s-30s": {"max_steps": 300},
            "s-hop160": {"max_steps": 200, "hop_samples": 160},
            "s-hop100": {"max_steps": 320, "hop_samples": 100},
            "l-light": {"num_layers": 7},
        }
    ),
    lora_targets=("attn.qkv", "attn.proj"),
    facts=Facts(
        title="PaSST",
        paper="Koutini, Schlüter, Eghbal-zadeh, Widmer: Efficient Training of Audio Transformers with Patchout, "
        "Interspeech 2022 (2110.05069)",
        home="https://github.com/kkoutini/PaSST",
        hub=(),
        licence_code="Apache-2.0",
        licence_weights="Apache-2.0",
        good_at="tagging of sounds and music",
        containers=(("`.pt`, bare or with a prefix", "test_official_file_opens_with_every_tensor"),),
        proved_against="kkoutini/PaSST 2a5c818afcc2a215b2a1aaf1ed8be71f89d43201",
        notes="Only `stfthop` in the names of their files tells models that were trained with a hop of 100 or 160 "
        "samples: keep the names, or name the size.",
    ),
)
