"""Weak and strong views of cached features.

Published: occlusion, speed and a cut-out of the spectrogram, each with chance one half in a weak view and always in a
strong one. Occlusion of time is the same here. A cut-out takes channels, and noise stands where the speed was, which
features without time do not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alm.errors import ConfigError
from training.semi.pieces import PIECES, Pieces


@dataclass(frozen=True)
class View:
    """How far one kind of view goes; each is drawn evenly between its limits."""

    chance: float
    """Of each change."""
    occlusion: tuple[float, float]
    """Share of the time that is hidden, in one stretch."""
    cut_out: tuple[float, float]
    """Share of the channels that are set to their mean."""
    noise: tuple[float, float]
    """Spread of Gaussian noise; that of the features is one."""

    def __post_init__(self) -> None:
        for name in ("occlusion", "cut_out"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < 1:
                raise ConfigError(f"view: {name} is {(low, high)}; it must rise, from 0 to less than 1")


WEAK = View(0.5, (0.0, 0.25), (0.01, 0.25), (0.0, 0.1))
STRONG = View(1.0, (0.0, 0.75), (0.25, 0.75), (0.0, 0.3))
"""The published cut-out of half to all of each axis takes a quarter to all of the area; the rest is left here."""


def draw(pieces: Pieces, index: Tensor, view: View, rng: np.random.Generator) -> Tensor:
    """A new view of each recording: `[batch, features]`."""
    count = len(index)
    features = pieces.pooled(index, _shown(count, view, rng))
    cut = rng.uniform(*view.cut_out, (count, 1)) * (rng.random((count, 1)) < view.chance)
    spread = rng.uniform(*view.noise, (count, 1)) * (rng.random((count, 1)) < view.chance)
    noise = rng.standard_normal(features.shape, dtype=np.float32) * spread.astype(np.float32)
    gone = rng.random(features.shape, dtype=np.float32) < cut
    return (features + torch.from_numpy(noise)).masked_fill(torch.from_numpy(gone), 0.0)


def _shown(count: int, view: View, rng: np.random.Generator) -> Tensor:
    """`[batch, pieces]`, False on the pieces of the hidden stretch."""
    share = rng.uniform(*view.occlusion, count) * (rng.random(count) < view.chance)
    start = rng.uniform(0.0, 1.0 - share)
    centre = (np.arange(PIECES) + 0.5) / PIECES
    hidden = (centre >= start[:, None]) & (centre < (start + share)[:, None])
    return torch.from_numpy(~hidden)
