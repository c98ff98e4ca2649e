"""Several processes that train one model: who is who, and what they add up. One process needs none of it.

Every process knows the whole batch of a step and computes a part of its loss; gradients are added up, so that all
processes make the same step and only the first one writes. Nothing of a process is kept in a checkpoint: a run goes on
with more or fewer of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, distributed, nn

from alm.aligner import Heard
from alm.cores import usable_cores
from alm.errors import AlmError, ConfigError, first_line

T = TypeVar("T")
Shards = Literal["", "fsdp", "zero3"]
WAITS = timedelta(hours=1)
"""For the others: the first process makes evidence alone, which takes longer than the ten minutes that NCCL waits."""


class ProcessError(AlmError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class Processes:
    """This process among those of a run."""

    rank: int = 0
    world: int = 1
    device: str = ""
    """Of this process, where the launcher deals them out; empty: as the configuration says."""
    shards: Shards = ""
    """Whether the launcher wants frozen weights in parts, and by what."""

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def threads(self, wanted: int) -> int:
        """Those that a process computes with: as many as wanted (0: as there are cores), but together with the other
        processes of this machine no more than cores.

        With more, threads wait for others that have no core, at every product: ten times slower, not a little.
        """
        cores = usable_cores()
        if self.world == 1:
            return wanted or cores
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.world))  # as torchrun and accelerate set it
        return max(1, min(wanted or cores, cores // here))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The first process does the block alone and the others after it: they find what it wrote."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            with _naming():
                distributed.barrier()

    def add(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes, in place."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def least(self, values: Tensor) -> Tensor:
        """The smallest of each of `values` over all processes, in place."""
        return self._reduced(values, distributed.ReduceOp.MIN)

    def _reduced(self, values: Tensor, how: Any) -> Tensor:
        if self.world > 1:
            with _naming():
                distributed.all_reduce(values, how)
        return values

    def agreed(self, value: T) -> T:
        """The first process's value."""
        if self.world == 1:
            return value
        held = [value]
        with _naming():
            distributed.broadcast_object_list(held)
        return held[0]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up every gradient, in one buffer for each type; one that a process lacks counts as zero."""
        if self.world == 1:
            return
        known = list(parameters)
        there = self.add(torch.tensor([float(p.grad is not None) for p in known], device=known[0].device))
        kinds: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in [p for p, some in zip(known, there.tolist(), strict=True) if some]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            kinds.setdefault(parameter.grad.dtype, []).append(parameter)
        for own in kinds.values():
            flat = self.add(torch.cat([p.grad.reshape(-1) for p in own if p.grad is not None]))
            for parameter, part in zip(own, flat.split([p.numel() for p in own]), strict=True):
                parameter.grad = part.view_as(parameter)

    def part(self, count: int) -> slice:
        """This process's part of `count` things in a row."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def divided(self, make: Callable[[dict[str, Heard]], Tensor], heard: dict[str, Heard]) -> Tensor:
        """`make(heard)` `[windows, ...]`, of which every process makes a part.

        The gradient is right when all processes compute the same loss of it and each counts `1 / world` of that.
        """
        windows = len(next(iter(heard.values())).hidden)
        if self.world == 1 or windows < self.world:
            return make(heard)
        own = self.part(windows)
        made = make({n: Heard(h.hidden[own], h.mask[own], h.frame_seconds) for n, h in heard.items()})
        sizes = [len(range(windows)[Processes(r, self.world).part(windows)]) for r in range(self.world)]
        return _Gathered.apply(made, self.rank, sizes)  # type: ignore[no-any-return, no-untyped-call]


class _Gathered(torch.autograd.Function):
    """The parts of all processes, one after another; equal gradients come back to all, so none is sent."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, rank: int, sizes: list[int]) -> Tensor:
        ctx.rank, ctx.sizes = rank, sizes
        parts = [made.new_empty(n, *made.shape[1:]) for n in sizes]
        with _naming():
            distributed.all_gather(parts, made.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0].split(ctx.sizes)[ctx.rank] * len(ctx.sizes), None, None


@contextmanager
def _naming() -> Iterator[None]:
    """What a lost connection becomes."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(
            "another process of this run has ended or does not answer; what was saved is whole: start all of them "
            f"again with --resume ({first_line(error)})"
        ) from error


def join(device: str) -> Processes:
    """This process's place, as `accelerate launch` or `torchrun` set it; alone without them.

    Raises:
        ConfigError: the configuration wants a GPU and the launcher started processes for the CPU, or the other way; or
            the launcher wants FSDP in its first version, DeepSpeed in an earlier stage, or one that is not installed.
    """
    from accelerate import PartialState

    shards = wanted_shards()
    state = PartialState(cpu=device == "cpu", timeout=WAITS)
    if state.num_processes == 1:
        return Processes()
    if state.device.type != torch.device(device).type:
        raise ConfigError(
            f"device is {device!r} but the launcher started processes for {state.device.type!r}; change one of them"
        )
    return Processes(state.process_index, state.num_processes, str(state.device), shards)


def wanted_shards() -> Shards:
    """What the launcher asks to divide weights by. Others are refused: under them training would hold whole weights
    where the user counts on parts of them."""
    if _asked("ACCELERATE_USE_DEEPSPEED"):
        if (stage := os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "")) != "3":
            raise ConfigError(
                f"the launcher asks for DeepSpeed with zero_stage {stage or 'unset'}; stage 3 alone divides weights. "
                "Launch with training/launch/deepspeed.yaml"
            )
        if find_spec("deepspeed") is None:
            raise ConfigError("the launcher asks for DeepSpeed, which is not installed: pip install 'alm[deepspeed]'")
        return "zero3"
    if not _asked("ACCELERATE_USE_FSDP"):
        return ""
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ConfigError("the launcher asks for FSDP in its first version; set fsdp_version: 2 (FSDP_VERSION=2)")
    return "fsdp"


def _asked(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"
