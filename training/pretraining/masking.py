"""Which patches are hidden."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alm.encoders.families.patch_transformer import BANDS

LEAST_LEFT = 1


def random_mask(real: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """`[batch, patches]` bool, True = hidden: that share of each recording's real patches; one at least stays."""
    score = torch.from_numpy(rng.random(real.shape)).masked_fill(~real, 2.0)
    place = score.argsort(1).argsort(1)
    return place < _count(real, share)[:, None]


def clustered_mask(real: Tensor, share: float, rng: np.random.Generator, sides: tuple[int, int] = (3, 5)) -> Tensor:
    """As `random_mask`, in squares of patches whose side is drawn for each recording, as SSAST hides them."""
    steps = real.shape[1] // BANDS
    hidden = np.zeros((len(real), steps, BANDS), dtype=bool)
    wanted = _count(real, share).tolist()
    lengths = (real.sum(1) // BANDS).tolist()
    for row, (goal, length) in enumerate(zip(wanted, lengths, strict=True)):
        side = int(rng.integers(sides[0], sides[1] + 1))
        while hidden[row].sum() < goal:
            step, band = int(rng.integers(length)), int(rng.integers(BANDS))
            square = np.zeros((steps, BANDS), dtype=bool)
            square[max(0, step - side // 2) : min(length, step + (side + 1) // 2),
                   max(0, band - side // 2) : band + (side + 1) // 2] = True  # fmt: skip
            fresh = np.flatnonzero(square & ~hidden[row])
            hidden[row].reshape(-1)[fresh[: goal - int(hidden[row].sum())]] = True
    return torch.from_numpy(hidden).flatten(1)


def _count(real: Tensor, share: float) -> Tensor:
    """`[batch]` patches to hide."""
    there = real.sum(1)
    return torch.minimum((there * share).round().long(), there - LEAST_LEFT)
