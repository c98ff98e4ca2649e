"""The language model's frozen weights in parts, one on each process (FSDP2): a layer is put together when it is used.

What learns stays whole on every process, and its gradients are added up as without sharding, so optimizer, clipping and
checkpoints are the same, and a run may change between the two. Embeddings and output head stay whole, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from alm.errors import ConfigError
from alm.modeling import AlmForConditionalGeneration
from training.config import StageConfig
from training.processes import Processes


def check(stages: Sequence[StageConfig]) -> None:
    """Refuse what sharding cannot do.

    Raises:
        ConfigError: a stage trains the language model's own weights, or one of kind `align` comes after one of kind
            `language`.
    """
    begun = ""
    for stage in stages:
        if "llm" in stage.train:
            raise ConfigError(
                f"stage {stage.name} trains llm, but only frozen weights are sharded; train lora, or go without FSDP"
            )
        if stage.kind == "align" and begun:
            raise ConfigError(
                f"stage {stage.name} of kind align comes after {begun}, whose weights are sharded; put it before"
            )
        begun = stage.name if stage.kind == "language" else begun


def shard_frozen(model: AlmForConditionalGeneration, processes: Processes) -> int:
    """Shard every decoder layer's frozen weights, once; gives the bytes of them that this process holds.

    A layer's LoRA factors are left as they are.
    """
    layers = list(model.model.language_model.layers)
    if not any(isinstance(layer, FSDPModule) for layer in layers):
        mesh = init_device_mesh(torch.device(processes.device).type, (processes.world,))
        for layer in layers:
            learned = {p for n, p in layer.named_parameters() if ".lora_" in n}
            fully_shard(layer, mesh=mesh, ignored_params=learned)
    return sum(_local(p) for layer in layers for n, p in layer.named_parameters() if ".lora_" not in n)


def _local(parameter: nn.Parameter) -> int:
    held = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return held.numel() * held.element_size()
