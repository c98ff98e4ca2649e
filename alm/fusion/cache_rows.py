"""Rows of caches: several conversations' caches side by side in one, and one taken out again.

Rows are joined on the right edge: shorter ones get padding on the left, as a batch of prompts does, so that each goes
on with its next token in the same column.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from alm.fusion.cache import FusionCache


def joined(caches: Sequence[FusionCache]) -> FusionCache:
    """One cache with the rows of all; each must hold the same groups of layers."""
    if len(caches) == 1:
        return caches[0]
    made = FusionCache()
    made.positions = max(c.positions for c in caches)
    made.has_audio = any(c.has_audio for c in caches)
    for group in caches[0].present:
        made.present[group] = _stacked([c.present[group] for c in caches], 1)
        made.stored[group] = _stacked([c.stored[group] for c in caches], 1)
    for index in range(len(caches[0].layers)):
        layers = [c.layers[index] for c in caches]
        made.update(_stacked([x.keys for x in layers], 2), _stacked([x.values for x in layers], 2), index)
    if caches[0].audio_tokens is not None:
        made.audio_tokens = _stacked([c.audio_tokens for c in caches], 1)  # type: ignore[misc]
        made.audio_places = _stacked([_moved(c, made.positions - c.positions) for c in caches], 1, -1)
    return made


def row_of(cache: FusionCache, row: int) -> FusionCache:
    """A cache of its own for one row of joined ones, without padding."""
    made = FusionCache()
    made.has_audio = cache.has_audio
    groups = sorted(cache.present)
    start = min(int(cache.present[group][row].int().argmax()) for group in groups)
    made.positions = cache.positions - start
    for group in groups:
        kept = cache.stored[group][row]
        made.stored[group] = kept[kept][None]
        made.present[group] = cache.present[group][row, start:][None]
    for index, layer in enumerate(cache.layers):
        kept = cache.stored[max(g for g in groups if g <= index)][row]
        made.update(layer.keys[row][:, kept][None], layer.values[row][:, kept][None], index)
    if cache.audio_tokens is not None and cache.audio_places is not None:
        kept = cache.audio_places[row] >= 0
        made.audio_tokens = cache.audio_tokens[row][kept][None]
        made.audio_places = cache.audio_places[row][kept][None] - start
    return made


def size_of(cache: FusionCache) -> int:
    """Bytes of keys and values."""
    return sum(t.numel() * t.element_size() for x in cache.layers for t in (x.keys, x.values) if t is not None)


def _moved(cache: FusionCache, by: int) -> Tensor:
    assert cache.audio_places is not None
    return torch.where(cache.audio_places >= 0, cache.audio_places + by, cache.audio_places)


def _stacked(rows: Sequence[Tensor], axis: int, filler: int = 0) -> Tensor:
    """Rows one under the other; shorter ones are padded at the beginning of `axis`."""
    longest = max(r.shape[axis] for r in rows)
    return torch.cat([_lengthened(r, longest - r.shape[axis], axis, filler) for r in rows])


def _lengthened(tensor: Tensor, by: int, axis: int, filler: int) -> Tensor:
    if not by:
        return tensor
    value = bool(filler) if tensor.dtype == torch.bool else filler
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1 - axis) + [by, 0], value=value)
