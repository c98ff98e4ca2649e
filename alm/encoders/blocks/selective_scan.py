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

_PLACES_AT_ONCE = 32
"""Bounds memory: every place has channels x states numbers."""


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
        `[batch, time, channels]`. Halves are scanned as floats: rounding would add up along a sequence.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    decay, skip = decay.to(wide), skip.to(wide)
    if kernel is not None:
        # Theirs are [batch, channels, time]; contiguous, as the kernel wants them.
        turned = [tensor.transpose(1, 2).contiguous() for tensor in (x, step, write, read)]
        return kernel(turned[0], turned[1], decay, turned[2], turned[3], skip).transpose(1, 2)
    narrow, heard, state = x.dtype, [], torch.zeros(len(x), *decay.shape, dtype=wide, device=x.device)
    x, step, write, read = x.to(wide), step.to(wide), write.to(wide), read.to(wide)
    for start in range(0, x.shape[1], _PLACES_AT_ONCE):
        here = slice(start, start + _PLACES_AT_ONCE)
        states = _states(state, x[:, here], step[:, here], decay, write[:, here])
        state = states[-1]
        heard.append(torch.einsum("tbcs,bts->btc", torch.stack(states), read[:, here]))
    return (torch.cat(heard, dim=1) + skip * x).to(narrow)


def _states(state: Tensor, x: Tensor, step: Tensor, decay: Tensor, write: Tensor) -> list[Tensor]:
    """States `[batch, channels, states]` after each place; all that is not recurrent is outside the loop."""
    kept = torch.exp(step.transpose(0, 1)[..., None] * decay).unbind(0)
    put = ((step * x)[..., None] * write[:, :, None]).transpose(0, 1).unbind(0)
    states = []
    for factor, new in zip(kept, put, strict=True):
        state = torch.addcmul(new, factor, state)
        states.append(state)
    return states
