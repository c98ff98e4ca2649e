"""Convolution blocks of the PANNs kind on padded batches, and encoders whose batch norm keeps its statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from alm.encoders.base import AudioEncoder


class StillEncoder(AudioEncoder):
    """An encoder whose batch norm uses the trained statistics, in training mode too."""

    def train(self, mode: bool = True) -> StillEncoder:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.training = False
        return self


class ConvBlock(nn.Module):
    """One 5x5 convolution, or two of 3x3, without bias, each with batch norm and ReLU; then a mean over cells.

    Keys are the published ones, `conv1`, `bn1` and, for 3x3, `conv2`, `bn2`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.twice, half = kernel_size == 3, kernel_size // 2
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size, padding=half, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        if self.twice:
            self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size, padding=half, bias=False)
            self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, real: Tensor, pool: tuple[int, int] = (1, 1)) -> tuple[Tensor, Tensor]:
        """Mean over cells of `pool` steps and bands; a started cell at the end is dropped, as a lone clip's is.

        `[batch, in, time, bands]` and what of it is real, `[batch, 1, time, 1]`, to the same of the output. What is
        not real is zeroed after each convolution: batch norm lifts it off the zero that a lone clip sees.
        """
        x = torch.relu(self.bn1(self.conv1(x))) * real
        if self.twice:
            x = torch.relu(self.bn2(self.conv2(x))) * real
        if pool != (1, 1):
            x, real = nn.functional.avg_pool2d(x, pool), whole_cells(real, pool[0])
        return x * real, real


def whole_cells(real: Tensor, steps: int) -> Tensor:
    """Which cells of `steps` steps are real throughout, `[batch, 1, time, 1]`; real steps come first."""
    return real[:, :, steps - 1 :: steps]


def on_grid(block: Tensor, steps: int, channels: int) -> Tensor:
    """`[batch, c, time * steps, bands]` to `[batch, time, channels]`: regions of frequency side by side, mean of steps.

    Steps beyond the last whole feature are left out.
    """
    time = block.shape[2] // steps
    pooled = adaptive_avg_pool2d(block[:, :, : steps * time], (time, channels // block.shape[1]))
    return pooled.permute(0, 2, 3, 1).flatten(2)
