"""Keys and values whose length differs from layer to layer: the early layers hold no audio."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers.cache_utils import DynamicCache

from alm.errors import ConversationError


class FusionCache(DynamicCache):
    """A `DynamicCache` that also remembers which positions each group of layers has seen.

    `get_seq_length()` without a layer answers in positions of `input_ids` (audio included), which is what `generate`
    slices by; with a layer it answers what that layer really stores.
    """

    def __init__(self) -> None:
        super().__init__()
        self.positions = 0
        self.has_audio = False
        self.stored: dict[int, Tensor] = {}
        """First layer of a group -> [batch, stored] bool: False on padding."""
        self.present: dict[int, Tensor] = {}
        """First layer of a group -> [batch, positions] bool: which positions the group stores."""
        self.audio_tokens: Tensor | None = None
        """Cross-attention: [batch, audio, dim] tokens met so far (zero on padding)."""
        self.audio_places: Tensor | None = None
        """Cross-attention: [batch, audio] position of each; -1 on padding."""

    def get_seq_length(self, layer_idx: int | None = None) -> int:
        return self.positions if layer_idx is None else int(super().get_seq_length(layer_idx))

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return int(super().get_seq_length(layer_idx))

    def record(self, group: int, keep: Tensor, valid: Tensor) -> Tensor:
        """Note that `group` now also stores `keep` `[batch, time]`; returns the validity of all it stores."""
        self.present[group] = _append(self.present.get(group), keep)
        self.stored[group] = _append(self.stored.get(group), valid)
        return self.stored[group]

    def reorder_cache(self, beam_idx: LongTensor) -> None:
        super().reorder_cache(beam_idx)
        self._map(lambda t: t.index_select(0, beam_idx.to(t.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self._map(lambda t: t.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._map(lambda t: t[indices])

    def selected(self, indices: Tensor) -> FusionCache:
        """A cache of these rows, each as often as it is named; this one stays as it is."""
        other = self.copied()
        other.batch_select_indices(indices)
        return other

    def copied(self) -> FusionCache:
        """A cache that goes its own way from here; nothing is copied in memory until one of them grows."""
        other = copy.copy(self)
        other.layers = [copy.copy(layer) for layer in self.layers]
        other.stored, other.present = dict(self.stored), dict(self.present)
        return other

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last positions of `input_ids` in every layer (single conversations only).

        Args:
            tokens_to_remove: how many, as a negative number (the convention of transformers' caches).

        Raises:
            ConversationError: for a batch, whose rows store different counts, or a positive number.
        """
        if tokens_to_remove > 0:
            raise ConversationError(f"crop takes a negative count of positions to remove, not {tokens_to_remove}")
        if tokens_to_remove == 0:
            return
        if any(p.shape[0] > 1 for p in self.present.values()):
            raise ConversationError("a cache of several conversations cannot be cropped; crop each alone")
        left = self.positions + tokens_to_remove
        groups = sorted(self.present)
        for index, layer in enumerate(self.layers):
            group = max(g for g in groups if g <= index)
            layer.crop(-int(self.present[group][:, left:].sum()))
        for group in groups:
            kept = int(self.present[group][:, :left].sum())
            self.present[group] = self.present[group][:, :left]
            self.stored[group] = self.stored[group][:, :kept]
        self.positions = left
        if self.audio_places is not None and self.audio_tokens is not None:
            kept_audio = int((self.audio_places < left).sum())
            self.audio_places = self.audio_places[:, :kept_audio]
            self.audio_tokens = self.audio_tokens[:, :kept_audio]

    def _map(self, change: Any) -> None:
        self.stored = {k: change(v) for k, v in self.stored.items()}
        self.present = {k: change(v) for k, v in self.present.items()}
        if self.audio_tokens is not None and self.audio_places is not None:
            self.audio_tokens, self.audio_places = change(self.audio_tokens), change(self.audio_places)


def _append(old: Tensor | None, new: Tensor | BoolTensor) -> Tensor:
    return new if old is None else torch.cat([old, new], dim=1)
