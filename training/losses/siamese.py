"""SLAP's loss: each side predicts the slow copy of the other and of itself; there are no negatives (BYOL).

Published: momentum 0.995 throughout. Text states are frozen here, so that only the aligner and the small heads have
slow copies. LayerNorm stands where BYOL has batch norm: its running means would be no part of a checkpoint.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.aligner import Heard

WIDTH, OUT = 512, 128
MOMENTUM = 0.995
ACROSS = 0.5
"""Weight of predicting the other side; the rest is predicting one's own."""


def _head(dim: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Linear(WIDTH, out))


class Siamese(nn.Module):
    """Heads of both sides, and slow copies of the aligner and of the heads."""

    def __init__(self, aligner: nn.Module, dim: int) -> None:
        super().__init__()
        self.audio, self.text = _head(dim, OUT), _head(dim, OUT)
        self.from_audio, self.from_text = _head(OUT, OUT), _head(OUT, OUT)
        self.slow = nn.ModuleList([copy.deepcopy(m) for m in (aligner, self.audio, self.text)]).requires_grad_(False)

    @torch.no_grad()
    def follow(self, aligner: nn.Module) -> None:
        """Move the slow copies a little towards what has been learned; once a step."""
        for slow, quick in zip(self.slow, (aligner, self.audio, self.text), strict=True):
            for old, new in zip(slow.parameters(), quick.parameters(), strict=True):
                old.lerp_(new, 1.0 - MOMENTUM)

    def forward(self, tokens: Tensor, other: dict[str, Heard], texts: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            tokens: `[n, tokens, dim]` of the aligner.
            other: the same recordings, seen another way; the slow aligner hears them.
            texts: `[n, dim]` states of their captions.
        """
        audio = self.from_audio(self.audio(tokens.mean(1)))
        text = self.from_text(self.text(texts))
        with torch.no_grad():
            slow_audio = self.slow[1](self.slow[0](other).mean(1))
            slow_text = self.slow[2](texts)
        across = _apart(audio, slow_text) + _apart(text, slow_audio)
        own = _apart(audio, slow_audio) + _apart(text, slow_text)
        return ACROSS * across + (1.0 - ACROSS) * own


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Squared distance of unit vectors, over two: 0 to 2."""
    return 1.0 - F.cosine_similarity(one, other, dim=-1).mean()
