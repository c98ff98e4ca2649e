"""Audio that lends a layer its keys and values, and nothing else (PAL's LAL).

The language model's own attention runs on text rows alone. The audio's keys and values come from the layer's own
projections and are handed over where the module asks for those of earlier calls: as its cache.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from alm.fusion.cache import FusionCache
from alm.fusion.layout import Rows


@dataclass(frozen=True)
class KeysOnly:
    """Keys-and-values audio of one group: where it lies among the packed rows, and the layer step that uses it."""

    rows: Rows
    """Residual-stream rows."""
    is_stream: Tensor
    """[batch, packed] bool, which of all packed rows are residual-stream rows."""
    is_keys: Tensor
    """[batch, packed] bool, which of all packed rows are audio keys."""
    places: Tensor
    """[batch, stream] where each residual-stream row lies among all packed rows; 0 for padding."""
    tokens: Tensor
    """[audio, dim] normalised tokens, in the order of `is_keys`."""

    @classmethod
    def of(cls, rows: Rows, all_rows: Rows, stream: Tensor, keys: Tensor, tokens: Tensor) -> KeysOnly:
        is_keys = all_rows.take(keys) & all_rows.valid
        is_stream = all_rows.take(stream) & all_rows.valid
        places = torch.zeros_like(rows.valid, dtype=torch.long)
        places[rows.valid] = is_stream.nonzero()[:, 1]
        return cls(rows, is_stream, is_keys, places, all_rows.take(tokens)[is_keys])

    def run(
        self, layer: nn.Module, hidden: Tensor, audio: Tensor, given: dict[str, Any], texts: dict[str, Any]
    ) -> Tensor:
        """One decoder layer, `hidden` `[batch, stream, dim]` to the same; honours gradient checkpointing as the stock
        layer's own `__call__` does.

        Args:
            audio: `[audio, dim]`, `tokens` scaled for this layer.
            given: what the layer is called with, for all packed rows.
            texts: the same for the residual-stream rows alone.
        """
        if getattr(layer, "gradient_checkpointing", False) and layer.training:
            return checkpoint(self._run, layer, hidden, audio, given, texts, use_reentrant=False)  # type: ignore[no-any-return]
        return self._run(layer, hidden, audio, given, texts)

    def _run(self, layer: Any, hidden: Tensor, audio: Tensor, given: dict[str, Any], texts: dict[str, Any]) -> Tensor:
        audio = audio.to(hidden.dtype)
        rotary = getattr(sys.modules[type(layer.self_attn).__module__], "apply_rotary_pos_emb", None)
        if rotary is not None and is_table(given["attention_mask"]):
            cos, sin = (table[self.is_keys] for table in given["position_embeddings"])
            attended = self._lend(layer, hidden, audio, texts, partial(rotary, cos=cos, sin=sin, unsqueeze_dim=1))
        else:
            attended = self._as_rows(layer, hidden, audio, given)
        return _after_attention(layer, hidden, attended)

    def _lend(
        self, layer: Any, hidden: Tensor, audio: Tensor, texts: dict[str, Any], rotary: Callable[..., Any]
    ) -> Tensor:
        """Attention of the residual-stream rows; `rotary` turns the audio's keys."""
        lent = _Lent(
            *_keys_and_values(layer.self_attn, layer.input_layernorm(audio), rotary), self, texts["past_key_values"]
        )
        heard, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden), **{**texts, "past_key_values": lent})
        return heard.to(hidden.dtype)  # type: ignore[no-any-return]

    def _as_rows(self, layer: Any, hidden: Tensor, audio: Tensor, given: dict[str, Any]) -> Tensor:
        """The same with the audio's rows among the text's, their queries made and thrown away: what kernels need that
        know no mask but the causal one (flash and flex attention)."""
        mixed = hidden.new_zeros(*self.is_stream.shape, hidden.shape[-1])
        mixed[self.is_stream] = hidden[self.rows.valid]
        mixed[self.is_keys] = audio
        heard, _ = layer.self_attn(hidden_states=layer.input_layernorm(mixed), **given)
        attended = torch.zeros_like(hidden)
        attended[self.rows.valid] = heard[self.is_stream].to(hidden.dtype)  # autocast narrows what attention gives
        return attended


@dataclass(frozen=True)
class _Lent:
    """Stands where the attention module expects a cache: adds the audio's keys and values to the text's."""

    keys: Tensor
    """[audio, heads, dim]"""
    values: Tensor
    audio: KeysOnly
    cache: FusionCache | None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        keys, values = self._laid(keys, self.keys), self._laid(values, self.values)
        return (keys, values) if self.cache is None else self.cache.update(keys, values, layer_idx)

    def _laid(self, text: Tensor, audio: Tensor) -> Tensor:
        """`[batch, heads, stream, dim]` and the audio's, in their order: `[batch, heads, packed, dim]`."""
        where = self.audio
        laid = text.new_zeros(*where.is_stream.shape, text.shape[1], text.shape[3])
        laid[where.is_stream] = text.transpose(1, 2)[where.rows.valid]
        laid[where.is_keys] = audio.to(text.dtype)
        return laid.transpose(1, 2)


def is_table(mask: Any) -> bool:
    """Whether a mask says of every query and key `[batch, heads, queries, keys]` what may be seen."""
    return isinstance(mask, Tensor) and mask.ndim == 4


def _keys_and_values(attention: Any, audio: Tensor, rotary: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """Keys and values `[audio, heads, dim]` by the module's own projections (Qwen 3 and Gemma 3 normalise keys)."""
    keys = attention.k_proj(audio).unflatten(-1, (-1, attention.head_dim))
    values = attention.v_proj(audio).unflatten(-1, (-1, attention.head_dim))
    if hasattr(attention, "k_norm"):
        keys = attention.k_norm(keys)
    _, keys = rotary(keys, keys)
    return keys, values


def _after_attention(layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
    """The rest of a decoder layer: pre-norm (Llama, Qwen, Mistral, Gemma) or sandwich norms (Gemma 2 and 3)."""
    if hasattr(layer, "pre_feedforward_layernorm"):
        hidden = hidden + layer.post_attention_layernorm(attended)
        return hidden + layer.post_feedforward_layernorm(layer.mlp(layer.pre_feedforward_layernorm(hidden)))  # type: ignore[no-any-return]
    hidden = hidden + attended
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))  # type: ignore[no-any-return]
