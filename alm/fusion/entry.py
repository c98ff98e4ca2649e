"""The door of a decoder layer: audio tokens take on the mean and the spread of the text that lives there.

Hidden states grow with depth, and a few dimensions carry nearly all of their norm. A token of another scale is either
not heard or drowns the rest, so each layer has a mean and a spread per dimension, measured on text (`alm.calibrate`)
and trained on from there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Entry(nn.Module):
    """Per-layer affine map from normalised audio tokens to the layer's own space."""

    def __init__(self, layers: int, dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(layers, dim))
        self.spread = nn.Parameter(torch.ones(layers, dim))

    def forward(self, tokens: Tensor, layer: int) -> Tensor:
        """Tokens `[..., dim]` of zero mean and unit spread, to what layer `layer` expects."""
        return tokens * self.spread[layer].to(tokens.dtype) + self.mean[layer].to(tokens.dtype)

    def inverse(self, hidden: Tensor, layer: int) -> Tensor:
        """Hidden states `[..., dim]` of text at `layer`, to the normalised space of the audio tokens."""
        return (hidden - self.mean[layer]) / self.spread[layer].clamp_min(1e-4)
