"""Spectrograms cut into square patches, in temporal order: all rows of frequency of one time step lie side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput
from alm.encoders.blocks.steps import by_time, check_frequency, patch_times
from alm.encoders.front_ends.kaldi import KaldiFrontEnd
from alm.errors import ConfigError


@dataclass(frozen=True)
class PatchConfig:
    """What the families with square patches share."""

    family: ClassVar[str]

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    mel_bins: int = 128
    patch_frames: int = 16
    """Side of a patch, in spectrogram frames and in mel bands."""
    mean: float = -4.268
    """Mean of the log mel cells of the training set."""
    std: float = 4.569
    """Their standard deviation; the authors divide by twice its value."""
    frequency: str = "mean"
    """`mean`: one feature a time step, the mean over its rows. `tokens`: all of them, low frequencies first."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(type(self).__dataclass_fields__[name].default, float | str | bool):
                continue
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{self.family}: {name} is {value!r}; it must be a whole number above 0")
        if self.dim % self.num_heads:
            raise ConfigError(f"{self.family}: dim {self.dim} is no multiple of num_heads {self.num_heads}")
        if self.mel_bins % self.patch_frames:
            raise ConfigError(f"{self.family}: no whole patches of {self.patch_frames} fit {self.mel_bins} mel_bins")
        check_frequency(self.family, self.frequency)

    @property
    def rows(self) -> int:
        """Patches in one time step."""
        return self.mel_bins // self.patch_frames


class PatchEncoder(AudioEncoder):
    """An encoder whose tokens are square patches in temporal order."""

    front_end: KaldiFrontEnd

    def __init__(self, config: PatchConfig, front_end: KaldiFrontEnd) -> None:
        super().__init__()
        self.front_end = front_end
        self.dim = config.dim
        self.num_layers = config.num_layers
        self.patch_frames, self.rows, self.frequency = config.patch_frames, config.rows, config.frequency
        self.frames_per_second = self._steps_per_second * self._features_per_step

    @property
    def _steps_per_second(self) -> float:
        return 1.0 / (self.front_end.frame_seconds * self.patch_frames)

    @property
    def _features_per_step(self) -> int:
        return self.rows if self.frequency == "tokens" else 1

    @property
    def silence(self) -> float:
        """What a cell of the front end's spectrogram is where there is no sound at all."""
        front_end = self.front_end
        return (float(np.log(np.finfo(np.float32).eps)) - front_end.mean) / front_end.divisor

    def times(self, count: int) -> Tensor:
        """Start and end in seconds `[count, 2]`; the rows of a time step have its times."""
        return patch_times(count, self._features_per_step, self._steps_per_second)

    def _output(self, kept: Mapping[int, Tensor], wanted: Sequence[int], valid: Tensor) -> EncoderOutput:
        """Features of the wanted layers.

        Args:
            kept: layer to its tokens `[batch, at least time steps * rows, dim]`, without leading tokens.
            wanted: layers.
            valid: `[batch, time steps]`, True = real.
        """
        grids = [kept[i].unflatten(1, (-1, self.rows))[:, : valid.shape[1]] for i in wanted]
        features = torch.stack([by_time(grid, self.frequency) for grid in grids], dim=1)
        valid = valid.repeat_interleave(self._features_per_step, 1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)


class PatchEmbedding(nn.Module):
    """Patches to vectors by a convolution that does not overlap."""

    def __init__(self, patch_frames: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch_frames, patch_frames)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """`[batch, frames, bins]` to `[batch, time steps * rows, dim]`."""
        patches: Tensor = self.proj(spectrogram[:, None])
        return patches.flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class Filled:
    """A batch whose clips are all followed by the same filling that each has when it is heard alone."""

    spectrogram: Tensor
    """`[batch, frames, bins]`, frames a multiple of the patch."""
    attend: Tensor | None
    """`[batch, time steps]`, True where a lone clip has a patch, filling included; None if everywhere."""
    valid: Tensor
    """`[batch, started time steps of the batch as it was given]`, True = holds a real frame."""

    def attended_tokens(self, rows: int, leading: int) -> Tensor | None:
        """Tokens that may be looked at `[batch, 1, 1, leading + time steps * rows]`; None if all."""
        if self.attend is None:
            return None
        return nn.functional.pad(self.attend.repeat_interleave(rows, 1), (leading, 0), value=True)[:, None, None]


def fill(spectrogram: Tensor, mask: Tensor, filling: Tensor | float, patch: int, least_frames: int) -> Filled:
    """Follow each clip with `filling` (one number, or `[batch]`) up to `least_frames` or the end of its last patch."""
    given = spectrogram.shape[1]
    started, least = -(-given // patch), -(-least_frames // patch)
    missing = max(started, least) * patch - given
    mask = nn.functional.pad(mask, (0, missing))
    cells = nn.functional.pad(spectrogram, (0, 0, 0, missing))
    value = torch.as_tensor(filling, dtype=cells.dtype, device=cells.device).reshape(-1, 1, 1)
    own = (-(-mask.sum(1) // patch)).clamp(min=least)
    attend = torch.arange(max(started, least), device=mask.device) < own[:, None]
    return Filled(
        torch.where(mask[:, :, None], cells, value),
        None if bool(attend.all()) else attend,
        mask.unflatten(1, (-1, patch)).any(2)[:, :started],
    )


def sine_positions(dim: int, first: int, second: int) -> Tensor:
    """Fixed positions `[first * second, dim]` of a grid, the second axis fastest.

    As in masked autoencoders: half of the dimensions for the second axis, then half for the first; each half sines,
    then cosines.
    """
    if (place := torch.empty(0)).is_meta:  # only shapes are asked for, and numpy would take memory for them
        return place.new_empty(first * second, dim)
    rates = 1.0 / 10_000 ** (np.arange(dim // 4, dtype=np.float64) / (dim / 4))

    def waves(places: NDArray[np.float64]) -> NDArray[np.float64]:
        angles = np.outer(places, rates)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    slow, fast = np.divmod(np.arange(first * second, dtype=np.float64), second)
    return torch.from_numpy(np.concatenate([waves(fast), waves(slow)], axis=1)).float()
