"""Frozen weights in parts by DeepSpeed's ZeRO-3 (Rajbhandari et al. 2020): every process holds its share.

DeepSpeed puts a module's weights together before its forward and its backward pass, by hooks on every module. It is
given frozen modules alone and no optimizer, so what learns is whole in every process, and so are checkpoints. Hooks on
modules also serve layers that are taken apart (audio as keys and values), which FSDP2's hooks on layers do not.
"""

from __future__ import annotations

from typing import Any

from torch import nn

SETTINGS: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": 1,  # of DeepSpeed's own loop, which is not used, but it must be there
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
}


def partition(frozen: list[nn.Module]) -> None:
    """Leave to this process its part of the weights of `frozen`, modules without others inside."""
    import deepspeed

    deepspeed.initialize(model=nn.ModuleList(frozen), config=SETTINGS)


def is_partitioned(module: nn.Module) -> bool:
    return any(hasattr(p, "ds_tensor") for p in module.parameters())
