"""Soft prompt of event tags (GAMA-IT): what the tag head believes, as tokens in the decoder's own space."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TagPrompt(nn.Module):
    """Mix of learned class vectors, weighted by the tag head's probabilities; each token reads the tags in its own way.

    Class vectors start from the language model's hidden states of the label texts (`alm.calibrate`), so that a
    confident tag already looks like its word.
    """

    def __init__(self, num_tags: int, tokens: int, out_dim: int) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.randn(num_tags, out_dim) * 0.02)
        self.sharpness = nn.Parameter(torch.linspace(0.0, 1.0, tokens))
        self.shift = nn.Parameter(torch.zeros(tokens, out_dim))
        self.norm = nn.LayerNorm(out_dim, elementwise_affine=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Tag logits `[windows, tags]` to `[windows, tokens, out_dim]` of zero mean and unit spread."""
        weights = torch.softmax(logits[:, None] * self.sharpness.exp()[None, :, None], dim=-1)
        return self.norm(weights.to(self.classes.dtype) @ self.classes + self.shift)  # type: ignore[no-any-return]
