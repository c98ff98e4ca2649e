"""Attention that does not see some rows, with vLLM's own kernels: one more channel a head decides.

vLLM has no mask of one's own. But a query that holds 1 in an additional channel, and a key that holds a large negative
number there, have a score that leaves nothing of the key after the softmax. The channel is appended after the rotary
embedding, the scale stays that of the real channels, and what comes out is cut back to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vllm.config import VllmConfig
from vllm.model_executor.layers.attention import Attention

from serve.vllm_plugin.support import padded_head

HIDDEN = -1e4
"""In the additional channel of a key that must not be seen: below any real score, and within half precision."""


class ChoosyAttention(nn.Module):
    """Stands where a layer of vLLM's models has its `Attention`; some keys are hidden from every query.

    Args:
        inner: the layer's own attention, which is replaced.
        hidden_rows: gives `[rows, 1]` bool of a step with so many rows: whose keys are hidden.
    """

    def __init__(self, inner: Attention, hidden_rows: Callable[[int], Tensor], vllm_config: VllmConfig) -> None:
        super().__init__()
        self.heads, self.key_heads, self.size = inner.num_heads, inner.num_kv_heads, inner.head_size
        self.padded = padded_head(self.size)
        self.hidden_rows = hidden_rows
        del vllm_config.compilation_config.static_forward_context[inner.layer_name]
        self.inner = Attention(
            self.heads, self.padded, inner.impl.scale, self.key_heads, cache_config=vllm_config.cache_config,
            quant_config=inner.quant_config, per_layer_sliding_window=inner.sliding_window, prefix=inner.layer_name,
        )  # fmt: skip

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """Queries, keys and values `[rows, heads * size]` as vLLM's `Attention` takes them."""
        rows = len(query)
        hidden = self.hidden_rows(rows).to(key.dtype) * HIDDEN
        query = self._wider(query, self.heads, torch.ones_like(hidden))
        key = self._wider(key, self.key_heads, hidden)
        value = self._wider(value, self.key_heads, torch.zeros_like(hidden))
        heard: Tensor = self.inner(query, key, value, **options)
        return heard.view(rows, self.heads, self.padded)[..., : self.size].reshape(rows, -1)

    def _wider(self, x: Tensor, heads: int, channel: Tensor) -> Tensor:
        split = F.pad(x.view(len(x), heads, self.size), (0, self.padded - self.size))
        split[..., self.size] = channel
        return split.flatten(1)
