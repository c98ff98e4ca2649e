"""Between a grid of patches and features in the order of time."""

from __future__ import annotations

import torch
from torch import Tensor

from alm.errors import ConfigError

FREQUENCY = ("mean", "tokens")
"""One vector a time step (the mean over its frequency patches), or every patch, time step by time step."""


def check_frequency(family: str, value: str) -> None:
    """Raises ConfigError unless `value` is one of `FREQUENCY`."""
    if value not in FREQUENCY:
        raise ConfigError(f"{family} encoder: frequency is {value!r}; it must be one of {', '.join(FREQUENCY)}")


def by_time(grid: Tensor, frequency: str) -> Tensor:
    """`[batch, steps, rows, dim]` to `[batch, steps, dim]`, or to `[batch, steps * rows, dim]` for `tokens`."""
    return grid.mean(2) if frequency == "mean" else grid.flatten(1, 2)


def real_steps(frames: Tensor, stride: int, steps: int) -> Tensor:
    """Mask `[batch, steps]`: a step is real when its first frame is; at least one is. `frames` is `[batch]`."""
    count = torch.div(frames + stride - 1, stride, rounding_mode="floor").clamp(1, steps)
    return torch.arange(steps, device=frames.device) < count[:, None]


def patch_times(count: int, rows: int, steps_per_second: float) -> Tensor:
    """Start and end `[count, 2]` in seconds of features of which `rows` share a time step."""
    starts = torch.arange(count, dtype=torch.float64).div(rows, rounding_mode="floor") / steps_per_second
    return torch.stack([starts, starts + 1 / steps_per_second], dim=1)
