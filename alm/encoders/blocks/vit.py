"""Transformer blocks under the names of vision transformers: norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class FusedAttention(nn.Module):
    """Self-attention whose query, key and value come out of one linear layer, in this order."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, hidden: Tensor, attend: Tensor | None) -> Tensor:
        """`[batch, tokens, dim]` to the same; `attend` (True = may be looked at) broadcasts to
        `[batch, heads, tokens, tokens]`, None is all."""
        query, key, value = self.qkv(hidden).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=attend)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, dim)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., dim]` to the same."""
        out: Tensor = self.fc2(gelu(self.fc1(hidden)))
        return out


class VitBlock(nn.Module):
    """Attention and MLP, each with a residual.

    The norms stand before the two parts, as in most vision transformers, or, with `post_norm`, after the residual sums.
    Both have the same names in a checkpoint: weights of the one load into the other and give nonsense.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, *, post_norm: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = FusedAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, ffn_dim)

    def forward(self, hidden: Tensor, attend: Tensor | None) -> Tensor:
        """`[batch, tokens, dim]` to the same; `attend` as in `FusedAttention`."""
        if self.post_norm:
            hidden = self.norm1(hidden + self.attn(hidden, attend))
            hidden = self.norm2(hidden + self.mlp(hidden))
        else:
            hidden = hidden + self.attn(self.norm1(hidden), attend)
            hidden = hidden + self.mlp(self.norm2(hidden))
        return hidden
