"""Gated cross-attention from text to audio (Flamingo, Audio Flamingo 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedCrossAttention(nn.Module):
    """Text attends to the audio that came before it; a gate that starts closed keeps the decoder as it was.

    A learned null key with a zero value is always allowed: a row that has met no audio yet stays exactly as it was.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.null_key = nn.Parameter(torch.zeros(1, 1, dim))
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, hidden: Tensor, places: Tensor, audio: Tensor, audio_places: Tensor) -> Tensor:
        """
        Args:
            hidden: `[batch, rows, dim]` residual stream of the text.
            places: `[batch, rows]` position of each row in the conversation.
            audio: `[batch, audio, dim]` audio tokens.
            audio_places: `[batch, audio]` their positions; -1 on padding.

        Returns:
            `[batch, rows, dim]`, the residual stream with what was heard added.
        """
        key, value = self.key_value(audio).chunk(2, dim=-1)
        null = self.null_key.expand(hidden.shape[0], -1, -1).to(hidden.dtype)
        key, value = torch.cat([null, key], dim=1), torch.cat([torch.zeros_like(null), value], dim=1)
        allowed = (audio_places[:, None, :] >= 0) & (audio_places[:, None, :] < places[:, :, None])
        allowed = torch.cat([torch.ones_like(allowed[..., :1]), allowed], dim=-1)
        heard = F.scaled_dot_product_attention(
            self._split(self.query(self.norm(hidden))), self._split(key), self._split(value), allowed[:, None]
        )
        result: Tensor = hidden + torch.tanh(self.gate) * self.output(heard.transpose(1, 2).flatten(2))
        return result

    def _split(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split
