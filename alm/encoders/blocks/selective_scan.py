"""Mamba's selective state space (Gu and Dao 2023), on any device; the authors' CUDA kernel is used where it is there.

h[t] = exp(step[t] * decay) * h[t-1] + step[t] * write[t] * x[t];  y[t] = read[t] . h[t] + skip * x[t]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

Kernel = Callable[..., Tensor]


@lru_cache(maxsize=1)
def cuda_kernel() -> Kernel | None:
    """`selective_scan_fn` of the package mamba_ssm, or None where that is not installed."""
    if find_spec("mamba_ssm") is None:
        return None
    kernel: Kernel = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    return kernel


def selective_scan(
    x: Tensor, step: Tensor, decay: Tensor, write: Tensor, read: Tensor, skip: Tensor, kernel: Kernel | None = None
) -> Tensor:
    """Scan a batch of sequences, each from its first place to its last.

    Args:
        x: `[batch, time, channels]`.
        step: `[batch, time, channels]`, above 0.
        decay: `[channels, states]`, below 0.
        write, read: `[batch, time, states]`.
        skip: `[channels]`.
        kernel: a function with the arguments of mamba_ssm's `selective_scan_fn`; None = the loop below.

    Returns:
        `[batch, time, channels]`.
    """
    if kernel is not None:
        # Theirs are [batch, channels, time]; contiguous, as the kernel wants them.
        turned = [tensor.transpose(1, 2).contiguous() for tensor in (x, step, write, read)]
        return kernel(turned[0], turned[1], decay, turned[2], turned[3], skip).transpose(1, 2)
    # One addition and multiplication for each place in time; everything that is not recurrent is outside the loop.
    kept = torch.exp(step.transpose(0, 1)[..., None] * decay).unbind(0)
    put = ((step * x)[..., None] * write[:, :, None]).transpose(0, 1).unbind(0)
    states = [put[0]]
    for factor, new in zip(kept[1:], put[1:], strict=True):
        states.append(torch.addcmul(new, factor, states[-1]))
    return torch.einsum("tbcs,bts->btc", torch.stack(states), read) + skip * x
