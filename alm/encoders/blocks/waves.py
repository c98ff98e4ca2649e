"""Convolutions over samples, as in wav2vec 2.0 with a norm in every layer: no padding, so nothing leaks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class ConvLayer(nn.Module):
    """A convolution without bias or padding, a norm over channels, GELU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride=stride, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, time]`."""
        return nn.functional.gelu(self.norm(self.conv(x).transpose(1, 2))).transpose(1, 2)


def convolved(layers: Iterable[nn.Module], samples: Tensor) -> Tensor:
    """`[batch, samples, 1]` to `[batch, time, channels]`."""
    x = samples.transpose(1, 2)
    for layer in layers:
        x = layer(x)
    return x.transpose(1, 2)


def lengths_after(kernels: Sequence[tuple[int, int]], samples: Tensor) -> Tensor:
    """Steps that clips of so many samples give after convolutions of (kernel, stride)."""
    for kernel, stride in kernels:
        samples = (samples - kernel).div(stride, rounding_mode="floor") + 1
    return samples


def at_least(fewest: int, samples: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Zeros instead of padding, and clips below `fewest` samples followed by silence up to it."""
    short = (0, max(0, fewest - mask.shape[1]))
    mask = nn.functional.pad(mask, short)
    heard = nn.functional.pad(samples, (0, 0, *short)) * mask[:, :, None]
    return heard, mask | (torch.arange(mask.shape[1], device=mask.device) < fewest)
