"""Reading prompts before the first token: several in one pass of the model, and what they share only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from alm.fusion import FusionCache
from alm.fusion.cache_rows import joined, row_of, stacked

T = TypeVar("T")

PASS_TOKENS = 32
"""What one more pass costs, in tokens: on two CPU cores a pass takes about 60 ms before its first token."""
MOST_TOKENS = 2048
"""Of one pass, padding included; a longer prompt is read alone."""


@dataclass(frozen=True)
class Unread:
    """A prompt, and how much of it is known."""

    ids: Sequence[int]
    cache: FusionCache | None
    """Of the first `known` positions; None if nothing is known."""
    known: int

    @property
    def new(self) -> Sequence[int]:
        """Tokens to read; at least one."""
        return self.ids[self.known :]


@dataclass(frozen=True)
class Pass:
    """Several prompts laid side by side; shorter ones are padded on the left, before their cache and before the rest.

    Only the model's own cumulative positions count, so that padding between the two changes nothing.
    """

    ids: Tensor
    """[batch, new]"""
    mask: Tensor
    """[batch, known + new], 0 on padding"""
    cache: FusionCache

    @classmethod
    def of(cls, prompts: Sequence[Unread]) -> Pass:
        """Of prompts that are all begun or all new to the cache."""
        caches = [p.cache for p in prompts if p.cache is not None]
        ids = stacked([torch.tensor([p.new]) for p in prompts], 1)
        known = stacked([torch.ones(1, p.known, dtype=torch.long) for p in prompts], 1)
        read = stacked([torch.ones(1, len(p.new), dtype=torch.long) for p in prompts], 1)
        return cls(ids, torch.cat([known, read], 1), joined(caches) if caches else FusionCache())

    @property
    def positions(self) -> Tensor:
        """[batch, new] rotary positions: each row counts its own tokens."""
        return (self.mask.cumsum(1) - 1).clamp_min(0)[:, -self.ids.shape[1] :]

    def cache_of(self, row: int) -> FusionCache:
        """After the pass: a cache of its own for one row."""
        return self.cache.copied() if len(self.ids) == 1 else row_of(self.cache, row, self.mask[row].bool())


def passes(prompts: Sequence[T], length: Callable[[T], int]) -> list[list[T]]:
    """Groups of prompts that are read together, so that padding and the passes' own cost are least.

    >>> passes([100, 10, 12, 90], lambda n: n)
    [[100, 90], [12, 10]]
    >>> passes([2000, 2000], lambda n: n)
    [[2000], [2000]]
    """
    ordered = sorted(prompts, key=length, reverse=True)
    best: list[tuple[int, int]] = [(0, 0)]  # least cost of the first n prompts, and where their last pass begins
    for end in range(1, len(ordered) + 1):
        ways = (
            (best[begin][0] + PASS_TOKENS + (end - begin) * length(ordered[begin]), begin)
            for begin in range(end)
            if begin == end - 1 or (end - begin) * length(ordered[begin]) <= MOST_TOKENS
        )
        best.append(min(ways))
    groups: list[list[T]] = []
    end = len(ordered)
    while end:
        begin = best[end][1]
        groups.insert(0, ordered[begin:end])
        end = begin
    return groups
