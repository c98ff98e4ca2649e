"""Pooled features of recordings of which any part may be hidden: what weak and strong views are made of.

Each recording is cut into a few pieces of equal length, and mean and maximum of each piece are kept. Those of any set
of pieces are then a matter of microseconds; of all pieces they are what the tag head hears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from alm.aligner import Heard
from training.augment import window
from training.features import FeatureCache, Features, collate
from training.sounds import Sound

PIECES = 8
BATCH = 64


@dataclass(frozen=True)
class Ear:
    """One encoder's part of the features."""

    mean: Tensor
    """[recordings, pieces, layers, dim] float16"""
    peak: Tensor
    """The same shape: maximum over time."""
    frames: Tensor
    """[recordings, pieces] real frames; a short recording has pieces without any."""


@dataclass(frozen=True)
class Pieces:
    """Features of the first window of many recordings, in the order of the encoders."""

    ears: dict[str, Ear]

    def __len__(self) -> int:
        return len(next(iter(self.ears.values())).frames)

    @property
    def layers(self) -> dict[str, int]:
        return {n: e.mean.shape[2] for n, e in self.ears.items()}

    @property
    def dims(self) -> dict[str, int]:
        return {n: e.mean.shape[3] for n, e in self.ears.items()}

    def pooled(self, index: Tensor, kept: Tensor) -> Tensor:
        """As `alm.aligner.pooled`, of some recordings' kept pieces.

        Args:
            index: `[batch]` recordings.
            kept: `[batch, pieces]` bool. A recording of which nothing is kept is heard whole.

        Returns:
            `[batch, features]`
        """
        parts: list[Tensor] = []
        for ear in self.ears.values():
            frames = ear.frames[index]
            there = kept & (frames > 0)
            there = torch.where(there.any(1, keepdim=True), there, frames > 0)
            weight = (frames * there)[:, :, None, None].float()
            mean = (ear.mean[index].float() * weight).sum(1) / weight.sum(1).clamp_min(1.0)
            away = ear.peak[index].float().masked_fill(~there[:, :, None, None], torch.finfo(torch.float32).min)
            for one in (mean, away.amax(1)):
                parts.append(F.layer_norm(one, one.shape[-1:]).flatten(1))
        return torch.cat(parts, dim=-1)

    def whole(self, index: Tensor | None = None) -> Tensor:
        """Features of whole recordings, all by default: `[batch, features]`."""
        some = torch.arange(len(self)) if index is None else index
        parts = [self.pooled(p, torch.ones(len(p), PIECES, dtype=torch.bool)) for p in some.split(BATCH)]
        return torch.cat(parts)


def read_pieces(sounds: Sequence[Sound], cache: FeatureCache) -> Pieces:
    """Pieces of recordings that are all in the cache."""
    found: dict[str, list[Ear]] = {}
    for first in range(0, len(sounds), BATCH):
        items = [cache.find(s.path) for s in sounds[first : first + BATCH]]
        parts: list[Features] = [window(cache.read(i), 0, cache.frame_seconds) for i in items if i is not None]
        for name, heard in collate(parts, cache.frame_seconds).items():
            found.setdefault(name, []).append(cut(heard))
    return Pieces({n: joined(own) for n, own in found.items()})


def cut(heard: Heard) -> Ear:
    """Mean, maximum and length of the pieces of each window."""
    count = heard.mask.sum(1, keepdim=True)
    place = torch.arange(heard.mask.shape[1])[None]
    piece = (place * PIECES // count.clamp_min(1)).masked_fill(~heard.mask, PIECES)
    own = F.one_hot(piece, PIECES + 1)[..., :PIECES].float()
    frames = own.sum(1)
    means = torch.einsum("btp,bltd->bpld", own, heard.hidden) / frames.clamp_min(1.0)[:, :, None, None]
    width = (len(piece), heard.hidden.shape[1], PIECES + 1, heard.hidden.shape[3])
    index = piece[:, None, :, None].expand(heard.hidden.shape)
    peaks = heard.hidden.new_full(width, -torch.inf).scatter_reduce(2, index, heard.hidden, "amax")[:, :, :PIECES]
    peaks = peaks.transpose(1, 2).masked_fill(frames[:, :, None, None] == 0, 0.0)
    return Ear(means.half(), peaks.half(), frames.long())


def joined(ears: Sequence[Ear]) -> Ear:
    """Recordings of all of these, in order."""
    return Ear(*(torch.cat([getattr(e, name) for e in ears]) for name in ("mean", "peak", "frames")))
