"""Losses over the pairs of a batch: nearest token to caption, and the volume that several views span."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

NOT_A_NEGATIVE = -1e4
FLAT = 1e-6
"""Least squared volume: the square root has no gradient at nothing."""


def nearest_token(tokens: Tensor, texts: Tensor) -> Tensor:
    """Similarity of every recording's nearest token to every caption: `[recordings, captions]`.

    Args:
        tokens: `[recordings, tokens, dim]` unit.
        texts: `[captions, dim]` unit.
    """
    return torch.einsum("atd,cd->act", tokens, texts).amax(-1)


def symmetric(scores: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy both ways over `scores` `[n, n]`, whose diagonal is right; `same` pairs are no negatives."""
    own = torch.arange(len(scores), device=scores.device)
    masked = scores.masked_fill(same, NOT_A_NEGATIVE)
    return (F.cross_entropy(masked, own) + F.cross_entropy(masked.T, own)) / 2


def volume(anchor: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Volume that each anchor spans with each item's views, `[anchors, items]`: small where all point one way.

    It is the root of the Gram matrix's determinant. With one other view it is the sine of an angle, for which opposite
    is as near as equal.

    Args:
        anchor: `[anchors, dim]` unit.
        others: views `[items, dim]` of the same items, unit.
    """
    with torch.autocast(anchor.device.type, enabled=False):  # a determinant near nothing wants every digit
        first, views = anchor.float(), torch.stack(list(others), dim=1).float()
        among = (views @ views.transpose(1, 2)).expand(len(first), -1, -1, -1)
        to_anchor = torch.einsum("ad,ivd->aiv", first, views)
        top = torch.cat([torch.ones_like(to_anchor[..., :1]), to_anchor], dim=-1)
        rest = torch.cat([to_anchor[..., None], among], dim=-1)
        gram = torch.cat([top[..., None, :], rest], dim=-2)
        squared: Tensor = torch.linalg.det(gram)
    return squared.clamp_min(FLAT).sqrt()
