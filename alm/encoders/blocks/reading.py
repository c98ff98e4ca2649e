"""What the readers of official checkpoints share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from alm.encoders.family import Checkpoint
from alm.errors import WeightsError

VIT_AXES: Mapping[str, int] = MappingProxyType({"patch_embed.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2})
"""Tensors that `vit_sizes` reads, and their axes."""
HEAD_DIM = 64
"""Width of an attention head in every published size of the DeiT lineage; the files do not say it."""


def refusal(checkpoint: Checkpoint, family: str, reason: str) -> WeightsError:
    """The error of a file that a reader does not take."""
    return WeightsError(f"{checkpoint.path}: no checkpoint of {family} that can be read: {reason}")


def required(checkpoint: Checkpoint, family: str, tensors: Mapping[str, Tensor], axes: Mapping[str, int]) -> None:
    """Raises `WeightsError` when a tensor that tells the size is not there, empty, or has not this many axes."""
    for name, count in axes.items():
        if name not in tensors:
            raise refusal(checkpoint, family, f"{name} is missing")
        if tensors[name].ndim != count or not tensors[name].numel():
            shape = tuple(tensors[name].shape)
            raise refusal(checkpoint, family, f"{name} is {shape}, not {count} axes of at least one number")


def divided(tensors: Mapping[str, Tensor], unused: Sequence[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The encoder's tensors, and the names that start with one of `unused`."""
    left_out = tuple(sorted(name for name in tensors if name.startswith(tuple(unused))))
    return {name: tensor for name, tensor in tensors.items() if name not in left_out}, left_out


def block_count(tensors: Mapping[str, Tensor], prefix: str = "blocks.") -> int:
    """How many numbered blocks there are under a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def vit_sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Width, depth and heads of a transformer of timm's names."""
    dim = tensors["patch_embed.proj.weight"].shape[0]
    return {
        "dim": dim,
        "num_layers": block_count(tensors),
        "num_heads": max(1, dim // HEAD_DIM),
        "ffn_dim": tensors["blocks.0.mlp.fc1.weight"].shape[0],
    }
