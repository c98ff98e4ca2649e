"""Changes to cached features: one clip after another, hidden stretches, noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alm.aligner import Heard
from training.config import AugmentConfig
from training.features import Features

HIDDEN_SHARE = 0.3
"""Longest hidden stretch, as a part of the clip."""


def window(features: Features, index: int, frame_seconds: dict[str, float]) -> Features:
    """One window of a recording."""
    frames = {n: [f[index]] for n, f in features.frames.items()}
    hidden = {n: h[index : index + 1, :, : frames[n][0]] for n, h in features.hidden.items()}
    seconds = max(frames[n][0] * s for n, s in frame_seconds.items())
    return Features(hidden, frames, seconds, 1)


def join(first: Features, second: Features, longest: dict[str, int]) -> Features | None:
    """Two single-window clips, one after the other; None when they are longer than a window together."""
    frames = {n: [first.frames[n][0] + second.frames[n][0]] for n in first.frames}
    if any(frames[n][0] > longest[n] for n in frames):
        return None
    hidden = {n: torch.cat([first.hidden[n], second.hidden[n]], dim=2) for n in frames}
    return Features(hidden, frames, first.seconds + second.seconds, 1)


def hide(features: Features, rng: np.random.Generator) -> Features:
    """Without one stretch of up to 30 % of the time, the same in every encoder."""
    share = float(rng.uniform(0.0, HIDDEN_SHARE))
    start = float(rng.uniform(0.0, 1.0 - share))
    hidden, frames = {}, {}
    for name, values in features.hidden.items():
        count = features.frames[name][0]
        first, last = int(start * count), int((start + share) * count)
        kept = torch.cat([values[:, :, :first], values[:, :, last:count]], dim=2)
        hidden[name], frames[name] = (kept, [kept.shape[2]]) if kept.shape[2] else (values, [count])
    return Features(hidden, frames, features.seconds, 1)


def crop(features: Features, seconds: float, rng: np.random.Generator) -> Features:
    """A random stretch of a longer clip, the same in every encoder; shorter clips stay whole."""
    if features.windows != 1 or features.seconds <= seconds:
        return features
    share = seconds / features.seconds
    start = float(rng.uniform(0.0, 1.0 - share))
    hidden, frames = {}, {}
    for name, values in features.hidden.items():
        count = features.frames[name][0]
        first = int(start * count)
        last = min(count, max(first + 1, round((start + share) * count)))
        hidden[name], frames[name] = values[:, :, first:last], [last - first]
    return Features(hidden, frames, seconds, 1)


def change(features: Features, config: AugmentConfig, rng: np.random.Generator) -> Features:
    """A clip as training sees it this time."""
    return hide(features, rng) if features.windows == 1 and rng.random() < config.time_mask else features


def lead_astray(heard: dict[str, Heard], shares: Tensor) -> dict[str, Heard]:
    """Move the mean over time of each window's features towards the next one's: `shares` `[windows]` of the way."""
    if not bool(shares.any()):
        return heard
    return {n: Heard(_moved(h.hidden, h.mask, shares), h.mask, h.frame_seconds) for n, h in heard.items()}


def _moved(hidden: Tensor, mask: Tensor, shares: Tensor) -> Tensor:
    there = mask[:, None, :, None].to(hidden.dtype)
    mean = (hidden * there).sum(2, keepdim=True) / there.sum(2, keepdim=True).clamp_min(1)
    return hidden + (mean.roll(1, 0) - mean) * shares[:, None, None, None].to(hidden) * there


def add_noise(heard: dict[str, Heard], size: float) -> dict[str, Heard]:
    """Gaussian noise on real frames, relative to the spread of each encoder's features; from torch's generator."""
    if size <= 0:
        return heard
    return {n: Heard(_noisy(h.hidden, h.mask, size), h.mask, h.frame_seconds) for n, h in heard.items()}


def _noisy(hidden: Tensor, mask: Tensor, size: float) -> Tensor:
    strength = size * torch.rand(len(hidden), 1, 1, 1, device=hidden.device)
    return hidden + torch.randn_like(hidden) * (hidden.std() * strength) * mask[:, None, :, None]
