"""AudioMAE (Huang et al., NeurIPS 2022): a masked autoencoder's encoder on square patches in temporal order.

It hears 1024 frames (10.2 s). As in the authors' pipeline a shorter clip is followed by zeros up to them, which are
attended to; a longer one must be cut into windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import EncoderOutput, config_from
from alm.encoders.blocks.patches import PatchConfig, PatchEmbedding, PatchEncoder, fill, sine_positions
from alm.encoders.blocks.reading import HEAD_DIM, block_count, divided, refusal, required
from alm.encoders.blocks.vit import VitBlock
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError

_HEADS: Mapping[int, int] = MappingProxyType({384: 6, 768: 12, 1024: 16, 1280: 16})
"""Heads of the published widths; the files do not say it."""
_UNUSED = ("decoder", "mask_token", "fc_norm.", "head.", "ppnet.", "head_drop.")


@dataclass(frozen=True)
class AudioMaeConfig(PatchConfig):
    """Architecture; the defaults are those of AudioMAE's base size."""

    family: ClassVar[str] = "audiomae"
    hertz: ClassVar[int] = 16_000

    mean: float = -4.2677393
    std: float = 4.5689974
    max_steps: int = 64
    """Time steps that it hears at once, 160 ms each."""
    final_norm: bool = True
    """Whether the last layer is normalised; fine-tuned files have no such norm."""


def front_end(config: AudioMaeConfig) -> KaldiFrontEnd:
    """AST's spectrogram."""
    # The last window reaches 15 ms beyond its hop.
    seconds = config.max_steps * config.patch_frames / 100 + 0.015
    return KaldiFrontEnd(config.mel_bins, config.hertz, max_seconds=seconds, mean=config.mean, divisor=2.0 * config.std)


class AudioMaeEncoder(PatchEncoder):
    """Layer 0 is what enters the first block, layer i what leaves the i-th; the last has the final norm, if any.

    The leading token is used inside and not returned.
    """

    name: ClassVar[str] = "audiomae"

    def __init__(self, config: AudioMaeConfig) -> None:
        super().__init__(config, front_end(config))
        self.max_steps = config.max_steps
        self.patch_embed = PatchEmbedding(config.patch_frames, config.dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.dim) * 0.02)
        # The authors lay the table out row by row although the patches come step by step; trained so, it stays so.
        grid = sine_positions(config.dim, config.rows, config.max_steps)
        self.register_buffer("pos_embed", nn.functional.pad(grid, (0, 0, 1, 0))[None])
        self.blocks = nn.ModuleList(
            VitBlock(config.dim, config.num_heads, config.ffn_dim) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim, eps=1e-6) if config.final_norm else nn.Identity()

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / 16)`, times the rows where all tokens are wanted."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        if spectrogram.shape[1] > (limit := self.max_steps * self.patch_frames):
            raise ConfigError(f"{self.name}: {spectrogram.shape[1]} frames; the limit is {limit}. Cut into windows")
        heard = fill(spectrogram, mask, self._filling(spectrogram, mask), self.patch_frames, limit)
        patches = self.patch_embed(heard.spectrogram)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed  # type: ignore[operator]
        kept = {0: x[:, 1:]}
        for index, block in enumerate(self.blocks[: max(wanted, default=0)], start=1):
            x = block(x, None)
            kept[index] = (self.norm(x) if index == self.num_layers else x)[:, 1:]
        return self._output(kept, wanted, heard.valid)

    def _filling(self, spectrogram: Tensor, mask: Tensor) -> Tensor | float:
        """The cells that follow a clip, one number or `[batch]`."""
        return self.front_end.padding_value


def build(config: Mapping[str, Any]) -> AudioMaeEncoder:
    """A randomly initialised encoder with this architecture (`AudioMaeConfig` fields)."""
    return AudioMaeEncoder(config_from(AudioMaeConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """From the authors' files, pretrained or fine-tuned, or a port to timm; see `Family.read`."""
    return read_as("audiomae", checkpoint)


def read_as(family: str, checkpoint: Checkpoint) -> Read:
    """`read` for a family that has the files of masked autoencoders."""
    bare = {name.removeprefix("encoder."): tensor for name, tensor in checkpoint.tensors.items()}
    tensors, unused = divided(bare, _UNUSED)
    required(
        checkpoint,
        family,
        tensors,
        {"patch_embed.proj.weight": 4, "pos_embed": 3, "cls_token": 3, "blocks.0.mlp.fc1.weight": 2},
    )
    dim, _, _, side = tensors["patch_embed.proj.weight"].shape
    settings = {**checkpoint.settings, **(checkpoint.settings.get("args") or {})}
    bins = settings.get("mel_bins", 128)
    if side > bins:
        raise refusal(checkpoint, family, f"its patches are {side} high, and there are {bins} mel bands")
    steps, over = divmod(tensors["pos_embed"].shape[1] - 1, bins // side)
    if over:
        raise refusal(checkpoint, family, "its positions are no grid of 8 rows: overlapping patches are not read")
    config = {
        "dim": dim,
        "num_layers": block_count(tensors),
        "num_heads": settings.get("num_heads") or _HEADS.get(dim) or max(1, dim // HEAD_DIM),
        "ffn_dim": tensors["blocks.0.mlp.fc1.weight"].shape[0],
        "patch_frames": side,
        "mel_bins": bins,
        "max_steps": steps,
        "final_norm": "norm.weight" in tensors,
    }
    return Read(config, tensors, unused)


FAMILY = Family(
    name="audiomae",
    build=build,
    front_end=lambda config: front_end(config_from(AudioMaeConfig, config)),
    read=read,
    sizes=MappingProxyType({"base": MappingProxyType({})}),
    lora_targets=("qkv",),
    facts=Facts(
        title="AudioMAE",
        paper="Huang et al. 2022, Masked Autoencoders that Listen, arXiv:2207.06405",
        home="github.com/facebookresearch/AudioMAE",
        hub=("gaunernst/vit_base_patch16_1024_128.audiomae_as2m",),
        licence_code="CC-BY-NC-4.0",
        licence_weights="CC-BY-NC-4.0; ports on the hub are labelled otherwise, which does not follow the original",
        good_at="general sounds: AudioSet mAP 47.3, ESC-50 94.1; the encoder of APT",
        containers=(
            ("pre-trained `.pth` with `model` and `args`", "test_a_pretraining_file_opens_without_its_decoder"),
            ("fine-tuned `.pth`", "test_a_fine_tuned_file_has_no_final_norm"),
        ),
        proved_against=(
            "github.com/facebookresearch/AudioMAE at bd60e29651285f80d32a6405082835ad26e6f19f, models_mae.py"
        ),
        notes=(
            "Its table of positions runs row by row while its patches come step by step. Files with overlapping "
            "patches are refused. Fine-tuned files normalise only the pooled clip: their last layer is not normalised. "
            "Clips below 10.2 s are followed by zeros, which are attended to, as in training."
        ),
    ),
)
