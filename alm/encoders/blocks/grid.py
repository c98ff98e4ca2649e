"""Spectrograms cut into a grid of patches, and the encoders that hear such a grid.

Tokens are `[batch, steps, rows, dim]` here: a step is a column of patches in time, its rows go up in frequency. As in
the originals, frames that do not fill a last patch are not heard; a clip shorter than one patch is filled up to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd
from alm.encoders.blocks.steps import check_frequency, patch_times
from alm.encoders.blocks.vit import VitBlock
from alm.errors import ConfigError


@dataclass(frozen=True)
class Grid:
    """How a spectrogram is cut."""

    bins: int
    patch_bins: int
    patch_frames: int
    stride_bins: int
    stride_frames: int

    @property
    def rows(self) -> int:
        """Patches in one step."""
        return (self.bins - self.patch_bins) // self.stride_bins + 1

    def steps(self, frames: Tensor) -> Tensor:
        """Steps of clips with this many frames; at least one."""
        return ((frames - self.patch_frames) // self.stride_frames + 1).clamp(min=1)

    def max_frames(self, steps: int) -> int:
        """Frames of the longest clip that has this many steps."""
        return self.patch_frames + self.stride_frames * steps - 1


def check_sizes(name: str, config: object) -> None:
    """Every number of a configuration is a whole number above 0, heads divide the width, `frequency` is known.

    Raises:
        ConfigError: one is not.
    """
    values = vars(config)
    for field in fields(config):  # type: ignore[arg-type]
        value = values[field.name]
        if type(field.default) is int and (type(value) is not int or value < 1):
            raise ConfigError(f"{name} encoder: {field.name} is {value!r}; it must be a whole number above 0")
    check_frequency(name, values["frequency"])
    if values["dim"] % values.get("num_heads", 1):
        raise ConfigError(f"{name} encoder: dim {values['dim']} is no multiple of num_heads {values['num_heads']}")


class PatchEmbedding(nn.Module):
    """One convolution whose kernel is a patch `[patch bins, patch frames]`."""

    def __init__(self, dim: int, grid: Grid) -> None:
        super().__init__()
        patch, stride = (grid.patch_bins, grid.patch_frames), (grid.stride_bins, grid.stride_frames)
        self.proj = nn.Conv2d(1, dim, patch, stride)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """`[batch, frames, bins]` to `[batch, steps, rows, dim]`."""
        return self.proj(spectrogram.transpose(1, 2)[:, None]).permute(0, 3, 2, 1)  # type: ignore[no-any-return]


class GridEncoder(AudioEncoder):
    """Patches to features: the mean over frequency of each step, or every patch, step after step.

    A subclass gives positions and the layers. Layer 0 is what enters the first block, layer i what leaves block i;
    the last one has the final norm.
    """

    patch_embed: PatchEmbedding

    def __init__(self, grid: Grid, max_steps: int, front_end: FrontEnd, frequency: str, dim: int) -> None:
        super().__init__()
        self.grid, self.max_steps, self.front_end = grid, max_steps, front_end
        self.dim, self.every_patch = dim, frequency == "tokens"
        self.frames_per_second = self._steps_per_second * (grid.rows if self.every_patch else 1)
        self.patch_embed = PatchEmbedding(dim, grid)

    @property
    def _steps_per_second(self) -> float:
        return 1.0 / (self.front_end.frame_seconds * self.grid.stride_frames)

    @property
    def filler(self) -> float:
        """The cell that fills a clip shorter than one patch."""
        return 0.0

    def times(self, count: int) -> Tensor:
        """See `AudioEncoder.times`; patches of one step have the same times, the middle where patches overlap."""
        overlap = (self.grid.patch_frames - self.grid.stride_frames) / 2 * self.front_end.frame_seconds
        return patch_times(count, self.grid.rows if self.every_patch else 1, self._steps_per_second) + overlap

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time` is steps, times rows where every patch is wanted."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        steps = self._checked_steps(mask)
        width = int(steps.max())
        valid = torch.arange(width, device=steps.device) < steps[:, None]
        tokens = self._patches(spectrogram, mask)[:, :width] + self._positions(steps, width)
        kept = self._layers(tokens, valid, wanted)
        features = torch.stack([kept[i] for i in wanted], dim=1)
        if self.every_patch:
            features, valid = features.flatten(2, 3), valid.repeat_interleave(self.grid.rows, dim=1)
        else:
            features = features.mean(dim=3)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _checked_steps(self, mask: Tensor) -> Tensor:
        """Steps of each clip `[batch]`."""
        frames = mask.sum(dim=1)
        steps = self.grid.steps(frames)
        if int(steps.max()) > self.max_steps:
            limit = self.grid.max_frames(self.max_steps)
            raise ConfigError(
                f"{self.name}: {int(frames.max())} frames; the limit is {limit} "
                f"({limit * self.front_end.frame_seconds:g} s). Cut into windows"
            )
        return steps

    def _patches(self, spectrogram: Tensor, mask: Tensor) -> Tensor:
        """Patches without positions `[batch, steps, rows, dim]`."""
        heard = self._prepared(spectrogram).masked_fill(~mask[:, :, None], self.filler)
        short = max(0, self.grid.patch_frames - heard.shape[1])
        return self.patch_embed(nn.functional.pad(heard, (0, 0, 0, short), value=self.filler))  # type: ignore[no-any-return]

    def _prepared(self, spectrogram: Tensor) -> Tensor:
        """What is cut into patches `[batch, frames, bins]`."""
        return spectrogram

    @abstractmethod
    def _positions(self, steps: Tensor, width: int) -> Tensor:
        """Positions `[batch or 1, width, rows, dim]` for clips of `steps` steps, the longest of which has `width`."""

    @abstractmethod
    def _layers(self, tokens: Tensor, valid: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        """The wanted layers `[batch, steps, rows, dim]`; `valid` `[batch, steps]`."""


class GridTransformer(GridEncoder):
    """A grid encoder of pre-norm blocks; attention does not look at padding."""

    blocks: nn.ModuleList
    norm: nn.LayerNorm

    def _add_blocks(self, num_layers: int, num_heads: int, ffn_dim: int) -> None:
        self.num_layers = num_layers
        self.blocks = nn.ModuleList(VitBlock(self.dim, num_heads, ffn_dim) for _ in range(num_layers))
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)

    @abstractmethod
    def _leading(self) -> Tensor:
        """Tokens in front of the patches `[1, leading, dim]`, with their positions."""

    def _layers(self, tokens: Tensor, valid: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        leading, shape = self._leading(), tokens.shape[1:3]
        first = leading.shape[1]
        x = torch.cat([leading.expand(len(tokens), -1, -1), tokens.flatten(1, 2)], dim=1)
        attended = nn.functional.pad(valid.repeat_interleave(shape[1], dim=1), (first, 0), value=True)
        mask = None if bool(valid.all()) else attended[:, None, None]
        kept = {0: tokens}
        for index, block in enumerate(self.blocks[: max(wanted, default=0)], start=1):
            x = block(x, mask)
            if index in wanted:
                heard = self.norm(x) if index == self.num_layers else x
                kept[index] = heard[:, first:].unflatten(1, shape)
        return kept


class SeparableGridTransformer(GridTransformer):
    """Positions are the sum of one for the step and one for the row; a shorter clip has the first ones."""

    def _add_positions(self) -> None:
        self.time_pos_embed = nn.Parameter(torch.randn(1, self.dim, 1, self.max_steps) * 0.02)
        self.freq_pos_embed = nn.Parameter(torch.randn(1, self.dim, self.grid.rows, 1) * 0.02)

    def _positions(self, steps: Tensor, width: int) -> Tensor:
        return (self.time_pos_embed[..., :width] + self.freq_pos_embed).permute(0, 3, 2, 1)
