"""ASiT (Atito et al., TASLP 2024): a ViT pre-trained by group masked modelling and self-distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import config_from
from alm.encoders.blocks.grid import Grid, GridTransformer, check_sizes
from alm.encoders.blocks.reading import VIT_AXES, divided, required, vit_sizes
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError

_MEAN, _DEVIATION = -4.2677393, 4.5689974
_BINS, _PATCH = 128, 16
_GRID = Grid(_BINS, _PATCH, _PATCH, _PATCH, _PATCH)
_LONGEST_STEPS = 187
"""30 s. Positions are stretched to any length; this bounds the cost of attention."""
_PREFIXES = ("model.asit.", "model.", "module.", "backbone.")
_HEADS = ("head.", "strong_head.", "weak_head.", "rec_head.", "cls_head.", "seq_model.")


@dataclass(frozen=True)
class AsitConfig:
    """The defaults are the published model's, 5.92 s of positions."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    trained_steps: int = 37
    """Patches in time that positions were learnt for."""
    swapped_positions: bool = False
    """Stretch the positions as if frequency came first, as PretrainedSED does and its fine-tuned weights expect."""
    frequency: str = "mean"

    def __post_init__(self) -> None:
        check_sizes("asit", self)
        if not isinstance(self.swapped_positions, bool):
            raise ConfigError(f"asit encoder: swapped_positions is {self.swapped_positions!r}; want true or false")


def _front_end() -> KaldiFrontEnd:
    return KaldiFrontEnd(_BINS, max_seconds=30.0, mean=_MEAN, divisor=2 * _DEVIATION)


class AsitEncoder(GridTransformer):
    """Positions are stretched (bicubic) to the length of each clip, as the original does."""

    front_end: KaldiFrontEnd
    name: ClassVar[str] = "asit"

    def __init__(self, config: AsitConfig) -> None:
        super().__init__(_GRID, _LONGEST_STEPS, _front_end(), config.frequency, config.dim)
        self.trained_steps, self.swapped_positions = config.trained_steps, config.swapped_positions
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        count = 1 + config.trained_steps * _GRID.rows
        self.pos_embed = nn.Parameter(torch.randn(1, count, config.dim) * 0.02)
        self._add_blocks(config.num_layers, config.num_heads, config.ffn_dim)

    @property
    def filler(self) -> float:
        """Zeros before normalisation, as AST pads."""
        return self.front_end.padding_value

    def _leading(self) -> Tensor:
        return self.cls_token + self.pos_embed[:, :1]

    def _positions(self, steps: Tensor, width: int) -> Tensor:
        return torch.stack([self._stretched(int(count), width) for count in steps])

    def _stretched(self, steps: int, width: int) -> Tensor:
        """Positions of one clip, zero beyond its end `[width, rows, dim]`."""
        learnt, size = (self.trained_steps, self.grid.rows), (steps, self.grid.rows)
        table = self.pos_embed[0, 1:].unflatten(0, learnt)
        if steps != self.trained_steps:
            plane = self.pos_embed[0, 1:].unflatten(0, learnt[::-1] if self.swapped_positions else learnt)
            plane = plane.permute(2, 0, 1)[None]
            table = nn.functional.interpolate(plane, size, mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
        return nn.functional.pad(table, (0, 0, 0, 0, 0, width - steps))


def build(config: Mapping[str, Any]) -> AsitEncoder:
    """A randomly initialised encoder with this architecture (`AsitConfig` fields)."""
    return AsitEncoder(config_from(AsitConfig, config))


def front_end(config: Mapping[str, Any]) -> KaldiFrontEnd:
    """AST's filter bank."""
    config_from(AsitConfig, config)
    return _front_end()


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def read(checkpoint: Checkpoint) -> Read:
    """From a file of PretrainedSED (`ASIT_ssl.pt` ...) or a bare backbone."""
    tensors = {_bare(name): tensor for name, tensor in checkpoint.tensors.items()}
    required(checkpoint, "asit", tensors, {**VIT_AXES, "cls_token": 3, "pos_embed": 3})
    kept, unused = divided(tensors, _HEADS)
    # The original's patches are [frames, bins].
    kept["patch_embed.proj.weight"] = kept["patch_embed.proj.weight"].transpose(2, 3).contiguous()
    trained = (kept["pos_embed"].shape[1] - 1) // _GRID.rows
    tuned = any(name.startswith(("strong_head.", "weak_head.")) for name in unused)
    config = {**vit_sizes(kept), "trained_steps": trained, "swapped_positions": tuned}
    return Read(config, kept, unused)


FAMILY = Family(
    name="asit",
    build=build,
    front_end=front_end,
    read=read,
    sizes=MappingProxyType({"base": {}}),
    lora_targets=("attn.qkv", "attn.proj"),
    facts=Facts(
        title="ASiT",
        paper="Atito, Awais, Wang, Plumbley, Kittler: ASiT: Local-Global Audio Spectrogram vIsion Transformer "
        "for Event Classification, TASLP 2024 (2211.13189)",
        home="https://github.com/ASiT-code/ASiT; weights: https://github.com/fschmid56/PretrainedSED",
        hub=(),
        licence_code="none stated (PretrainedSED: MIT)",
        licence_weights="none stated by the authors; the mirror is MIT",
        good_at="sound events, few labels",
        containers=(("`.pt` with the bare names", "test_official_file_opens_with_every_tensor"),),
        proved_against="fschmid56/PretrainedSED 1aa47e482f7e89904cba2338999345025d8b4e36, models/asit",
        notes="Positions were learnt for 5.92 s and are stretched to the clip, so long clips are unlike training. "
        "PretrainedSED swaps the axes of the table when it stretches; its fine-tuned files are heard that way.",
    ),
)
