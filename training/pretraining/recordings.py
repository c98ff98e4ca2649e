"""Recordings as batches of spectrograms; which ones and which stretch depend on seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alm.audio import load_audio
from alm.encoders.base import FrontEnd
from alm.encoders.families.patch_transformer import SIDE, PatchTransformerConfig
from alm.errors import AlmError, ConfigError

LEAST_FRAMES = 3 * SIDE
"""Shorter recordings have too few patches to hide most of them."""


@dataclass(frozen=True)
class Spectrograms:
    """Log-mel spectrograms in memory."""

    items: list[np.ndarray]
    """Each `[frames, bins]` float16."""
    refused: int
    """Recordings that are too short or cannot be read."""

    def scaled(self, config: PatchTransformerConfig) -> PatchTransformerConfig:
        """The configuration with the mean and spread of these spectrograms."""
        some = self.items[:: max(1, len(self.items) // 200)]
        values = np.concatenate([i.astype(np.float32).reshape(-1) for i in some])
        return PatchTransformerConfig(**{**vars(config), "mean": float(values.mean()), "spread": float(values.std())})

    def batch(self, count: int, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Random stretches of at most so many frames: `[batch, frames, bins]` and mask."""
        chosen = [self.items[i] for i in rng.integers(len(self.items), size=count)]
        starts = [int(rng.integers(max(1, len(c) - frames + 1))) for c in chosen]
        return padded([c[s : s + frames] for c, s in zip(chosen, starts, strict=True)])


def padded(items: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """`[batch, frames, bins]` float32 and `[batch, frames]`, True = real."""
    longest = max(map(len, items))
    batch = torch.zeros(len(items), longest, items[0].shape[1])
    mask = torch.zeros(len(items), longest, dtype=torch.bool)
    for row, item in enumerate(items):
        batch[row, : len(item)] = torch.from_numpy(item.astype(np.float32))
        mask[row, : len(item)] = True
    return batch, mask


def spectrogram(path: Path, front_end: FrontEnd, seconds: float) -> np.ndarray:
    """The first seconds of a recording: `[frames, bins]` float16. Raises as `load_audio` does."""
    samples = load_audio(path).resampled(front_end.sample_rate)[: round(seconds * front_end.sample_rate)]
    return front_end(samples).astype(np.float16)


def read_spectrograms(paths: Sequence[Path], front_end: FrontEnd, seconds: float) -> Spectrograms:
    """All that can be used.

    Raises:
        ConfigError: none can.
    """
    items, refused = [], 0
    for path in paths:
        try:
            found = spectrogram(path, front_end, seconds)
        except AlmError:
            refused += 1
            continue
        if len(found) >= LEAST_FRAMES:
            items.append(found)
        else:
            refused += 1
    if not items:
        raise ConfigError(f"pretraining: none of {len(paths)} recordings can be used; they need {LEAST_FRAMES / 100} s")
    return Spectrograms(items, refused)
