"""What the methods are made of: soft cross-entropy, sharpening, mixup, agreement."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 1e-8


def soft_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """`[batch]`, of logits and probabilities `[batch, classes]`."""
    return -(wanted * F.log_softmax(logits, dim=-1)).sum(-1)


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Surer probabilities: raised to one over the temperature."""
    raised = probabilities.clamp_min(TINY) ** (1.0 / temperature)
    return raised / raised.sum(-1, keepdim=True)


def aligned(probabilities: Tensor, prior: Tensor, seen: Tensor) -> Tensor:
    """Probabilities moved from the distribution that was guessed lately to that of the labels."""
    moved = probabilities * (prior.clamp_min(TINY) / seen.clamp_min(TINY))
    return moved / moved.sum(-1, keepdim=True)


def mixup_shares(count: int, alpha: float, rng: np.random.Generator) -> Tensor:
    """`[count, 1]` share of each row's own part: at least a half, so that a row stays mostly itself."""
    share = rng.beta(alpha, alpha, (count, 1)).astype(np.float32)
    return torch.from_numpy(np.maximum(share, 1.0 - share))


def mix(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Features and targets, mixed row by row with as many others."""
    share = mixup_shares(len(first[0]), alpha, rng)
    features, wanted = (share * a + (1 - share) * b for a, b in zip(first, second, strict=True))
    return features, wanted


def entropy(probabilities: Tensor) -> Tensor:
    """`[batch]`"""
    return -(probabilities * probabilities.clamp_min(TINY).log()).sum(-1)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """`[batch]` divergence of two distributions: entropy of the mean less mean of the entropies; never negative.

    The published code of Deep Co-Training divides only the second by the batch, which is no divergence.
    """
    return entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2


def adversarial(net: nn.Module, features: Tensor, wanted: Tensor, step: float) -> Tensor:
    """Features moved by `step` in the direction that the network bears worst (FGSM)."""
    moving = features.detach().clone().requires_grad_(True)
    loss = soft_cross_entropy(net(moving), wanted).sum()
    (slope,) = torch.autograd.grad(loss, moving)
    return (features + step * slope.sign()).detach()
