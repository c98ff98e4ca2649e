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
        made.present[group] = stacked([c.present[group] for c in caches], 1)
        made.stored[group] = stacked([c.stored[group] for c in caches], 1)
    for index in range(len(caches[0].layers)):
        layers = [c.layers[index] for c in caches]
        made.update(stacked([x.keys for x in layers], 2), stacked([x.values for x in layers], 2), index)
    if caches[0].audio_tokens is not None:
        made.audio_tokens = stacked([c.audio_tokens for c in caches], 1)  # type: ignore[misc]
        made.audio_places = stacked([_moved(c, made.positions - c.positions) for c in caches], 1, -1)
    return made


def row_of(cache: FusionCache, row: int, real: Tensor) -> FusionCache:
    """A cache of its own for one row, without padding.

    Args:
        real: `[positions]` bool, False where the row is padded.
    """
    made = FusionCache()
    made.has_audio = cache.has_audio
    made.positions = int(real.sum())
    groups = sorted(cache.present)
    for group in groups:
        kept = cache.stored[group][row]
        made.stored[group] = kept[kept][None]
        made.present[group] = cache.present[group][row, real][None]
    for index, layer in enumerate(cache.layers):
        kept = cache.stored[_group_of(groups, index)][row]
        made.update(layer.keys[row][:, kept][None], layer.values[row][:, kept][None], index)
    if cache.audio_tokens is not None and cache.audio_places is not None:
        kept = cache.audio_places[row] >= 0
        made.audio_tokens = cache.audio_tokens[row][kept][None]
        made.audio_places = (real.cumsum(0) - 1)[cache.audio_places[row][kept]][None]
    return made


def rows_of(cache: FusionCache, rows: Sequence[int], mask: Tensor) -> FusionCache:
    """A cache of some rows of joined ones, without the columns on the left in which all of them are padded.

    Args:
        mask: `[batch, positions]`, 0 on padding, which is on the left alone.
    """
    made, index = FusionCache(), torch.tensor(rows)
    made.has_audio = cache.has_audio
    start = _first_used(mask[index])
    made.positions = cache.positions - start
    groups = sorted(cache.present)
    starts = {group: _first_used(cache.stored[group][index]) for group in groups}
    for group in groups:
        made.stored[group] = cache.stored[group][index, starts[group] :]
        made.present[group] = cache.present[group][index, start:]
    for place, layer in enumerate(cache.layers):
        first = starts[_group_of(groups, place)]
        made.update(layer.keys[index, :, first:], layer.values[index, :, first:], place)
    if cache.audio_tokens is not None and cache.audio_places is not None:
        places = cache.audio_places[index]
        made.audio_tokens = cache.audio_tokens[index]
        made.audio_places = torch.where(places >= 0, places - start, places)
    return made


def _group_of(groups: Sequence[int], layer: int) -> int:
    return max(g for g in groups if g <= layer)


def _first_used(flags: Tensor) -> int:
    used = flags.any(0)
    return int(used.int().argmax()) if bool(used.any()) else 0


def size_of(cache: FusionCache) -> int:
    """Bytes of keys and values."""
    return sum(t.numel() * t.element_size() for x in cache.layers for t in (x.keys, x.values) if t is not None)


def _moved(cache: FusionCache, by: int) -> Tensor:
    assert cache.audio_places is not None
    return torch.where(cache.audio_places >= 0, cache.audio_places + by, cache.audio_places)


def stacked(rows: Sequence[Tensor], axis: int, filler: int = 0) -> Tensor:
    """Rows one under the other; shorter ones are padded at the beginning of `axis`."""
    longest = max(r.shape[axis] for r in rows)
    return torch.cat([_lengthened(r, longest - r.shape[axis], axis, filler) for r in rows])


def _lengthened(tensor: Tensor, by: int, axis: int, filler: int) -> Tensor:
    if not by:
        return tensor
    value = bool(filler) if tensor.dtype == torch.bool else filler
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1 - axis) + [by, 0], value=value)
