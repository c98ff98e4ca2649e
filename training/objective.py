"""What a stage asks of its loss: batches that depend on the step alone, a loss, a validation."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn


class Objective(Protocol):
    """One stage's loss."""

    @property
    def scored(self) -> bool:
        """Whether there is anything to validate by; if not, figures have no `score`, and the last weights are kept."""

    @property
    def extra(self) -> nn.Module:
        """Weights that serve the training alone (a temperature)."""

    def batch(self, step: int) -> Any:
        """Everything the loss needs at a step; pure."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss and its parts for the log."""

    def validate(self) -> dict[str, float]:
        """Figures on held-out sources; `score` decides which weights are kept (higher is better), if it is there."""

    def samples(self, count: int) -> list[dict[str, Any]]:
        """Answers to look at; may be empty."""


def rng_for(*key: object) -> np.random.Generator:
    """A generator that depends on the key alone."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def seed_for(*key: object) -> int:
    """A seed for torch that depends on the key alone."""
    return int(rng_for("torch", *key).integers(2**31))
