"""Gradient checkpointing: layers compute again in the backward pass what they did not keep.

transformers takes the cache away from a layer that computes twice, since it would be filled twice. Here questions are
read after a cache of what they share, so the layers get a cache that can be read again.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import DynamicLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from alm.fusion import FusionCache
from alm.modeling import AlmForConditionalGeneration


class ReplayCache(FusionCache):
    """A cache that a layer may fill once more: the second time it gets what it got the first time, and stores nothing.

    It serves one pass through the layers; a copy serves another one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[int, Any] = {}

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        if layer_idx in self._before:
            return copy.copy(self._before[layer_idx]).update(key_states, value_states)
        there = layer_idx < len(self.layers)
        self._before[layer_idx] = copy.copy(self.layers[layer_idx]) if there else DynamicLayer()
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)

    def copied(self) -> FusionCache:
        other = super().copied()
        if isinstance(other, ReplayCache):
            other._before = {}
        return other


def recompute(model: AlmForConditionalGeneration, on: bool, compared: bool = True) -> None:
    """Let the language model's layers, and those of encoders that learn, keep their inputs alone; or not.

    A layer computes twice only in training mode. The mode of the layer alone is set, not of what is in it: frozen
    modules have no dropout.

    Args:
        compared: whether torch compares the shapes of both times; what DeepSpeed divides is empty when it looks.
    """
    again = partial(checkpoint, use_reentrant=False, determinism_check="default" if compared else "none")
    for name, layer in model.named_modules():
        if not isinstance(layer, GradientCheckpointingLayer):
            continue
        learns = any(p.requires_grad for p in layer.parameters())
        wanted = on and (name.startswith("model.language_model.") or ("hearing.encoders" in name and learns))
        layer.gradient_checkpointing = wanted
        if wanted:
            parts: Any = layer
            parts._gradient_checkpointing_func = again
            parts._can_checkpoint_with_cache = True
            layer.training = True
