"""Frozen decoder layers in parts: each process holds its share of their weights and borrows the rest layer by layer.

By FSDP2, or by DeepSpeed (`training.zero`). FSDP2 puts a layer together before its forward pass and, in the backward
pass, when the gradient of its output comes. What questions share is read once, and its gradient comes back through keys
and values: there the layer is asked for by hand. What learns is small beside the frozen weights; every process holds
all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from alm.errors import ConfigError
from alm.modeling import AlmForConditionalGeneration
from training import zero
from training.config import RunConfig
from training.groups import group_of
from training.processes import Processes
from training.recomputing import ReplayCache
from training.rows import Batch, Row

LAYERS = "model.language_model.layers"


class ShardedCache(ReplayCache):
    """A cache through whose keys and values gradients come back into layers that lie in parts."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self._layers = layers

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        layer: Any = self._layers[layer_idx]
        for states in (key_states, value_states):
            if states.requires_grad:
                states.register_hook(lambda _: layer.unshard() and None)
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


def check(config: RunConfig) -> None:
    """Whether a run can have its frozen layers in parts.

    Raises:
        ConfigError: it cannot; says what stands in the way.
    """
    against = [f"stage {s.name} trains the language model itself" for s in config.stages if "llm" in s.train]
    kinds = [s.kind for s in config.stages]
    if "language" in kinds and "align" in kinds[kinds.index("language") :]:
        against.append("a stage `align` comes after one of the language model, whose layers it needs whole")
    if config.quantise != "none":
        against.append(f"quantise is {config.quantise!r}, which packs weights in its own way")
    if against:
        raise ConfigError(
            f"only frozen layers of plain matrices can lie in parts: {'; '.join(against)}. Launch with "
            "training/launch/processes.yaml"
        )


def shard(model: AlmForConditionalGeneration, processes: Processes, device: str) -> None:
    """Leave to this process its part of every decoder layer's frozen weights; done once.

    Raises:
        ConfigError: FSDP is to do it and a branch enters by keys and values, for which layers are taken apart.
    """
    if is_sharded(model):
        return
    if processes.shards == "zero3":
        zero.partition(_frozen_modules(model))
    else:
        _by_layers(model, processes, device)


def _by_layers(model: AlmForConditionalGeneration, processes: Processes, device: str) -> None:
    if any(route.way == "keys" for route in model.model.fusion.plan.routes):
        raise ConfigError(
            "audio as keys and values takes layers apart, which FSDP does not know; launch with "
            "training/launch/deepspeed.yaml, or use another scheme"
        )
    mesh = init_device_mesh(torch.device(device).type, (processes.world,))
    for layer, learned in _layers_and_learned(model):
        # By itself FSDP2 leaves the outermost module whole after a forward pass, and here every layer is one.
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=learned)


def _layers_and_learned(model: AlmForConditionalGeneration) -> Iterator[tuple[nn.Module, set[nn.Parameter]]]:
    for index, layer in enumerate(layers_of(model)):
        yield layer, {p for n, p in layer.named_parameters() if group_of(f"{LAYERS}.{index}.{n}") != "llm"}


def _frozen_modules(model: AlmForConditionalGeneration) -> list[nn.Module]:
    """Innermost modules of the decoder layers whose weights are all frozen."""
    return [
        module
        for layer, learned in _layers_and_learned(model)
        for module in layer.modules()
        if not list(module.children()) and (own := set(module.parameters())) and not own & learned
    ]


def layers_of(model: AlmForConditionalGeneration) -> nn.ModuleList:
    layers = model.get_submodule(LAYERS)
    assert isinstance(layers, nn.ModuleList)
    return layers


def is_sharded(model: AlmForConditionalGeneration) -> bool:
    return in_fsdp(model) or zero.is_partitioned(layers_of(model))


def in_fsdp(model: AlmForConditionalGeneration) -> bool:
    return isinstance(layers_of(model)[0], FSDPModule)


def check_rows(rows: Iterable[Row]) -> None:
    """Without a recording no gradient may come to layers in which the other processes wait for one.

    Raises:
        ConfigError: a row has no recording.
    """
    if (without := next((r for r in rows if not r.items), None)) is not None:
        raise ConfigError(f"row {without.id} has no recording; where layers lie in parts every row needs one")


def even_parts(batch: Batch, most: int, processes: Processes) -> list[Tensor]:
    """As `Batch.alike`, but as many groups as in every other process: all put a layer together at the same time."""
    rows = len(batch.ids)
    own = torch.tensor([-math.ceil(rows / most), rows], device=batch.ids.device)
    groups, fewest = processes.least(own).tolist()
    return list(batch.by_length.tensor_split(min(-groups, fewest)))
