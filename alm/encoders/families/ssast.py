"""SSAST (Gong et al., AAAI 2022): the AST architecture, pre-trained on masked patches or masked frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import config_from
from alm.encoders.blocks.grid import Grid, GridTransformer, check_sizes
from alm.encoders.blocks.reading import VIT_AXES, divided, refusal, required, vit_sizes
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError

_MEAN, _DEVIATION = -4.2677393, 4.5689974
_HEADS = ("cpredlayer.", "gpredlayer.", "mask_embed", "p_input_", "v.head")
"""Of the pre-training tasks and of the image model that the code starts from."""


@dataclass(frozen=True)
class SsastConfig:
    """The defaults are the base model's on 16x16 patches."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    mel_bins: int = 128
    patch_bins: int = 16
    """The whole height, 128, in the frame models."""
    patch_frames: int = 16
    max_steps: int = 64
    """Patches in time that there are positions for."""
    leading_tokens: int = 2
    """2 (class and distillation token), or 1 for `base_nokd`."""
    frequency: str = "mean"

    def __post_init__(self) -> None:
        check_sizes("ssast", self)
        if self.leading_tokens > 2:
            raise ConfigError(f"ssast encoder: leading_tokens is {self.leading_tokens}; it must be 1 or 2")
        if self.mel_bins % self.patch_bins:
            raise ConfigError(f"ssast encoder: mel_bins {self.mel_bins} is no multiple of patch_bins {self.patch_bins}")

    @property
    def grid(self) -> Grid:
        """Patches side by side, as in pre-training."""
        return Grid(self.mel_bins, self.patch_bins, self.patch_frames, self.patch_bins, self.patch_frames)


def middle(table: Tensor, steps: Tensor, width: int) -> Tensor:
    """Of positions `[max steps, rows, dim]` the middle `steps` ones for each clip `[batch, width, rows, dim]`."""
    offset = len(table) // 2 - steps // 2
    index = offset[:, None] + torch.arange(width, device=steps.device)
    return table[index.clamp(max=len(table) - 1)]


def ssast_front_end(bins: int, grid: Grid, max_steps: int) -> KaldiFrontEnd:
    """AST's filter bank for as long as there are positions."""
    seconds = (grid.max_frames(max_steps) - 1) / 100
    return KaldiFrontEnd(bins, max_seconds=seconds, mean=_MEAN, divisor=2 * _DEVIATION)


class SsastEncoder(GridTransformer):
    """A clip is heard as by the original built for its length: positions are the middle of the learnt ones."""

    front_end: KaldiFrontEnd
    name: ClassVar[str] = "ssast"

    def __init__(self, config: SsastConfig) -> None:
        grid = config.grid
        heard = ssast_front_end(config.mel_bins, grid, config.max_steps)
        super().__init__(grid, config.max_steps, heard, config.frequency, config.dim)
        self.leading_tokens = config.leading_tokens
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        if config.leading_tokens == 2:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        count = config.leading_tokens + grid.rows * config.max_steps
        self.pos_embed = nn.Parameter(torch.randn(1, count, config.dim) * 0.02)
        self._add_blocks(config.num_layers, config.num_heads, config.ffn_dim)

    @property
    def filler(self) -> float:
        """The authors pad with zeros before they normalise."""
        return self.front_end.padding_value

    def _leading(self) -> Tensor:
        both = self.leading_tokens == 2
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) if both else self.cls_token
        return tokens + self.pos_embed[:, : self.leading_tokens]

    def _positions(self, steps: Tensor, width: int) -> Tensor:
        # The table goes row by row: all steps of the lowest patches first.
        table = self.pos_embed[0, self.leading_tokens :].unflatten(0, (self.grid.rows, self.max_steps))
        return middle(table.transpose(0, 1), steps, width)


def build(config: Mapping[str, Any]) -> SsastEncoder:
    """A randomly initialised encoder with this architecture (`SsastConfig` fields)."""
    return SsastEncoder(config_from(SsastConfig, config))


def front_end(config: Mapping[str, Any]) -> KaldiFrontEnd:
    """AST's filter bank."""
    settings = config_from(SsastConfig, config)
    return ssast_front_end(settings.mel_bins, settings.grid, settings.max_steps)


def pretrained_grid(checkpoint: Checkpoint, family: str, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Patches of a file that SSAST's pre-training wrote; `tensors` without `module.`. Raises as a reader does."""
    if any(name.startswith("mlp_head.") for name in tensors):
        raise refusal(checkpoint, family, "it is fine-tuned, and such files do not say how far apart the patches are")
    required(checkpoint, family, tensors, {"p_input_fdim": 0, "p_input_tdim": 0, "v.patch_embed.proj.weight": 4})
    patch_bins, patch_frames = tensors["v.patch_embed.proj.weight"].shape[2:]
    steps = (int(tensors["p_input_tdim"]) - patch_frames) // patch_frames + 1
    bins = int(tensors["p_input_fdim"])
    return {"mel_bins": bins, "patch_bins": patch_bins, "patch_frames": patch_frames, "max_steps": steps}


def read(checkpoint: Checkpoint) -> Read:
    """From the dictionary of a `DataParallel` model that the pre-training wrote."""
    tensors = {name.removeprefix("module."): tensor for name, tensor in checkpoint.tensors.items()}
    if "v.layers.0.mixer.A_log" in tensors:
        raise refusal(checkpoint, "ssast", "its layers are Mamba's; it is one of ssamba")
    grid = pretrained_grid(checkpoint, "ssast", tensors)
    kept, unused = divided(tensors, _HEADS)
    encoder = {name.removeprefix("v."): tensor for name, tensor in kept.items()}
    required(checkpoint, "ssast", encoder, VIT_AXES)
    leading = 2 if "dist_token" in encoder else 1
    return Read({**vit_sizes(encoder), **grid, "leading_tokens": leading}, encoder, unused)


_TINY, _SMALL = {"dim": 192, "num_heads": 3, "ffn_dim": 768}, {"dim": 384, "num_heads": 6, "ffn_dim": 1536}
_FRAMES = {"patch_bins": 128, "patch_frames": 2, "max_steps": 512}

FAMILY = Family(
    name="ssast",
    build=build,
    front_end=front_end,
    read=read,
    sizes=MappingProxyType(
        {
            "base-patch": {},
            "small-patch": _SMALL,
            "tiny-patch": _TINY,
            "base-frame": _FRAMES,
            "tiny-frame": _TINY | _FRAMES,
        }
    ),
    lora_targets=("attn.qkv", "attn.proj"),
    facts=Facts(
        title="SSAST",
        paper="Gong, Lai, Chung, Glass: SSAST: Self-Supervised Audio Spectrogram Transformer, AAAI 2022 (2110.09784)",
        home="https://github.com/YuanGongND/ssast",
        hub=(),
        licence_code="BSD-3-Clause",
        licence_weights="BSD-3-Clause",
        good_at="sound and speech without labels: patch models for sounds, frame models for speech",
        containers=(("`.pth` of the pre-training", "test_official_file_opens_with_every_tensor"),),
        proved_against="YuanGongND/ssast a1a3eecb94731e226308a6812f2fbf268d789caf with timm 0.4.5",
        notes="Pre-trained files only: fine-tuned ones do not record their stride. Patches stand side by side, as in "
        "pre-training; the authors fine-tune with a stride of 10.",
    ),
)
