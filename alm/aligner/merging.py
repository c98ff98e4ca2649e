"""Fewer tokens in the same order: neighbours that are most alike become one, their mean (A-ToMe, Li et al. 2023).

Only neighbours merge, so that every token still stands for one stretch of time, and its time is known. In each round
every second token looks to its left and right; as many as are too many, but at most all of those, join the neighbour
they are most alike. Nothing is learnt, and a row's result does not depend on its padding or on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Span = tuple[float, float]


def merge_groups(keys: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
    """Which of the merged tokens each token becomes part of.

    Args:
        keys: `[batch, time, dim]` what is compared, by the cosine of the means.
        mask: `[batch, time]` True = real; real ones come first.
        keep: `[batch]` tokens that are to be left; at least one each.

    Returns:
        `[batch, time]` long: 0, 0, 1, 2, 2, ... at real places, -1 elsewhere. Rows with fewer tokens than `keep`
        stay as they are.
    """
    groups = (mask.long().cumsum(1) - 1).masked_fill(~mask, -1)
    means, size = keys.float() * mask[..., None], mask.float()
    while bool((size.gt(0).sum(1) > keep).any()):
        step, left = _round(means, size > 0, keep)
        total = _added(means * size[..., None], step, left)
        size = _added(size[..., None], step, left)[..., 0]
        means = total / size.clamp_min(1.0)[..., None]
        groups = torch.where(mask, step.gather(1, groups.clamp_min(0)), -1)
    return groups


def _round(means: Tensor, real: Tensor, keep: Tensor) -> tuple[Tensor, int]:
    """One round: the new place of every token `[batch, time]`, and how many places the longest row has."""
    lowest = torch.finfo(means.dtype).min
    like = torch.cosine_similarity(means[:, :-1], means[:, 1:], dim=-1).masked_fill(~real[:, 1:], lowest)
    before, after = F.pad(like, (1, 0), value=lowest), F.pad(like, (0, 1), value=lowest)
    best = torch.maximum(before, after)
    best[:, 1::2] = lowest
    surplus = (real.sum(1) - keep).clamp_min(0)
    rank = best.argsort(dim=1, descending=True, stable=True).argsort(1)
    joins = (rank < surplus[:, None]) & (best > lowest)
    right = joins & (after >= before)
    starts = real & ~(joins & ~right) & ~F.pad(right[:, :-1], (1, 0))
    return (starts.long().cumsum(1) - 1).clamp_min(0), int(starts.sum(1).max())


def _added(values: Tensor, places: Tensor, count: int) -> Tensor:
    """Sums of `[batch, time, dim]` by place: `[batch, count, dim]`."""
    out = values.new_zeros(len(values), count, values.shape[2])
    return out.scatter_add(1, places[..., None].expand_as(values), values)


def merged_mean(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Means of `[batch, time, dim]` by `merge_groups`: `[batch, groups, dim]` and their mask."""
    real = groups >= 0
    count = max(1, int(groups.max()) + 1) if groups.numel() else 1
    places = groups.clamp_min(0)
    total = _added(values * real[..., None], places, count)
    size = _added(real[..., None].to(values.dtype), places, count)
    return total / size.clamp_min(1.0), size[..., 0] > 0


def merge_windows(tokens: Tensor, spans: Sequence[Span], most: int) -> tuple[Tensor, tuple[Span, ...]]:
    """At most so many windows: neighbouring ones that sound alike become one, token by token.

    Every place of a window keeps its role (query, tag token), and merged tokens are normalised again, so that the
    language model meets the same kind of tokens.

    Args:
        tokens: `[windows, tokens_per_window, dim]` of one recording, each of zero mean and unit spread.
        spans: start and end of each window in seconds.
        most: windows that may be left.

    Returns:
        The tokens, and the seconds of the recording that each window now stands for. Unchanged if they are few enough.
    """
    if len(tokens) <= most:
        return tokens, tuple(spans)
    flat = tokens.flatten(1)[None]
    groups = merge_groups(flat, flat.new_ones(1, len(tokens), dtype=torch.bool), torch.tensor([most]))
    mean, _ = merged_mean(flat.float(), groups)
    left = F.layer_norm(mean[0].unflatten(1, tokens.shape[1:]), tokens.shape[2:]).to(tokens.dtype)
    owner = groups[0].tolist()
    firsts = [spans[owner.index(g)][0] for g in range(len(left))]
    lasts = [spans[len(owner) - 1 - owner[::-1].index(g)][1] for g in range(len(left))]
    return left, tuple(zip(firsts, lasts, strict=True))
