"""Training one encoder with one objective, with curves."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from alm.encoders.families.patch_transformer import PatchTransformer, PatchTransformerConfig
from alm.errors import ConfigError
from training.objective import rng_for, seed_for
from training.pretraining.objectives import Loss, MaskedPatches, MaskedTokens
from training.pretraining.recordings import Spectrograms
from training.pretraining.tokenizers import ClusterCodes, RandomCodes

OBJECTIVES = ("masked-patches", "masked-tokens", "masked-tokens-2")
"""The third is the second's next round: its codes are clusters of what the second learnt."""
CLUSTER_BATCHES = 12
CHECK_BATCHES = 4


@dataclass(frozen=True)
class Plan:
    """How each encoder learns; making one checks it."""

    steps: int = 400
    batch_size: int = 16
    frames: int = 320
    """Longest stretch, a hundredth of a second each."""
    lr: float = 1e-3
    """Peak; SSAST's 0.0001 is for hundreds of thousands of steps."""
    warmup_steps: int = 40
    weight_decay: float = 0.01
    codes: int = 256
    """BEATs has 1024, for a corpus a thousand times as large."""
    check_every: int = 50
    seed: int = 1

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.type == "int" and getattr(self, f.name) < 1:
                raise ConfigError(f"pretraining: '{f.name}' is {getattr(self, f.name)}; it must be 1 at least")


def objective(
    name: str, config: PatchTransformerConfig, train: Spectrograms, plan: Plan, before: PatchTransformer | None
) -> Loss:
    """A fresh encoder with its loss; every objective starts from the same weights.

    Raises:
        ConfigError: unknown name, or a second round without a first.
    """
    torch.manual_seed(seed_for(plan.seed, "encoder"))
    encoder = PatchTransformer(config)
    if name == "masked-patches":
        return MaskedPatches(encoder)
    if name == "masked-tokens":
        return MaskedTokens(encoder, RandomCodes(plan.codes, seed_for(plan.seed, "codes")))
    if name != "masked-tokens-2":
        raise ConfigError(f"pretraining: no objective {name!r}; there are {', '.join(OBJECTIVES)}")
    if before is None:
        raise ConfigError("pretraining: masked-tokens-2 needs the encoder of masked-tokens; name that before it")
    rng = rng_for("clusters", plan.seed)
    batches = [before.patches(*train.batch(plan.batch_size, plan.frames, rng)) for _ in range(CLUSTER_BATCHES)]
    codes = ClusterCodes.of(copy.deepcopy(before), batches, plan.codes, seed_for(plan.seed, "clusters"))
    return MaskedTokens(encoder, codes)


def train(
    name: str, loss: Loss, data: Spectrograms, held_out: Spectrograms, plan: Plan, log: Path,
    say: Callable[[str], None] = print,
) -> PatchTransformer:  # fmt: skip
    """Run all steps; every `check_every` steps the loss on held-out recordings, with the same hidden patches."""
    module: nn.Module = loss  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(module.parameters(), lr=plan.lr, weight_decay=plan.weight_decay, betas=(0.9, 0.98))
    module.train()
    for step in range(plan.steps + 1):
        if step % plan.check_every == 0 or step == plan.steps:
            row = {"objective": name, "step": step, **check(loss, held_out, plan)}
            say(" ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
            _write(log, row)
        if step == plan.steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * _rate(step, plan)
        rng = rng_for("pretraining", plan.seed, step)
        value, parts = loss(*loss.encoder.patches(*data.batch(plan.batch_size, plan.frames, rng)), rng)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        _write(log, {"objective": name, "step": step, "loss": float(value.detach()), **parts})
    return loss.encoder.eval().requires_grad_(False)


@torch.no_grad()
def check(loss: Loss, held_out: Spectrograms, plan: Plan) -> dict[str, float]:
    """Mean loss and parts over a few fixed batches."""
    found: list[dict[str, float]] = []
    for number in range(CHECK_BATCHES):
        rng = rng_for("pretraining check", number)
        value, parts = loss(*loss.encoder.patches(*held_out.batch(plan.batch_size, plan.frames, rng)), rng)
        found.append({"held_out": float(value), **{f"held_out_{k}": v for k, v in parts.items()}})
    return {k: sum(f[k] for f in found) / len(found) for k in found[0]}


def _rate(step: int, plan: Plan) -> float:
    warm = min(1.0, (step + 1) / plan.warmup_steps)
    return warm * (1 + math.cos(math.pi * step / plan.steps)) / 2


def _write(log: Path, row: dict[str, object]) -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
