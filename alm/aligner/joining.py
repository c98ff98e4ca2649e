"""Encoders of unequal rates on one grid of time, where they become one: side by side, or as a sum."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.aligner.features import Heard
from alm.configuration import AlignerConfig

JOINED = "joined"
"""Name of what the encoders have become."""


def on_grid(item: Heard, step_seconds: float, count: int) -> Heard:
    """Features on frames of `step_seconds`: the mean of the real frames that a grid frame overlaps, by overlap.

    This resamples down (several frames to one) and up (one frame to several) alike, and leaves features that already
    lie on the grid as they are. A grid frame is real where it overlaps a real frame.
    """
    frames = item.hidden.shape[2]
    own = torch.arange(frames, dtype=torch.float64) * item.frame_seconds
    grid = torch.arange(count, dtype=torch.float64) * step_seconds
    ends = torch.minimum(grid[:, None] + step_seconds, own[None] + item.frame_seconds)
    overlap = (ends - torch.maximum(grid[:, None], own[None])) / min(step_seconds, item.frame_seconds)
    overlap = torch.where(overlap > 1e-6, overlap, 0.0).to(item.hidden.device, item.hidden.dtype)  # rounding is none
    weight = overlap[None] * item.mask[:, None].to(overlap.dtype)
    total = weight.sum(-1)
    hidden = torch.einsum("wlfd,wgf->wlgd", item.hidden, weight / total.clamp_min(1e-9)[..., None])
    return Heard(hidden, total > 0, step_seconds)


class Join(nn.Module):
    """Several encoders and layers to one: `{"joined": [windows, 1, time, dim]}`.

    Every layer is normalised first. `channels` puts all of them side by side, zeros where an encoder has no frame
    (SALMONN, whose padding to equal length this is). `sum` sends each encoder through a projection with a bend in it
    and adds them up (Step-Audio, Kimi-Audio).
    """

    def __init__(self, config: AlignerConfig, layers: dict[str, int], dims: dict[str, int]) -> None:
        super().__init__()
        self.rate = config.grid_frames_per_second
        widths = {n: layers[n] * dims[n] for n in layers}
        self.project = nn.ModuleDict()
        if config.join == "sum":
            width = config.hidden_size
            self.project = nn.ModuleDict(
                {n: nn.Sequential(nn.Linear(w, width), nn.GELU(), nn.Linear(width, width)) for n, w in widths.items()}
            )
        self.width = config.hidden_size if config.join == "sum" else sum(widths.values())

    def forward(self, heard: dict[str, Heard]) -> dict[str, Heard]:
        step = 1.0 / self.rate if self.rate else min(h.frame_seconds for h in heard.values())
        longest = max(h.hidden.shape[2] * h.frame_seconds for h in heard.values())
        count = max(1, math.ceil(longest / step - 1e-6))
        placed = {n: on_grid(h, step, count) for n, h in heard.items()}
        mask = torch.stack([h.mask for h in placed.values()]).any(0)
        parts = [self._part(n, h) for n, h in placed.items()]
        joined = torch.stack(parts).sum(0) if self.project else torch.cat(parts, dim=-1)
        return {JOINED: Heard(joined[:, None], mask, step)}

    def _part(self, name: str, item: Heard) -> Tensor:
        """`[windows, time, features]`, zero where the encoder has no frame."""
        hidden = F.layer_norm(item.hidden, item.hidden.shape[-1:]).transpose(1, 2).flatten(2)
        hidden = self.project[name](hidden) if self.project else hidden
        return hidden * item.mask[..., None].to(hidden.dtype)


class JoinedAligner(nn.Module):
    """Any aligner behind a [`Join`]."""

    def __init__(self, join: Join, aligner: nn.Module) -> None:
        super().__init__()
        self.join, self.aligner = join, aligner

    def forward(
        self, heard: dict[str, Heard], question: Tensor | None = None, question_mask: Tensor | None = None
    ) -> Tensor:
        """Like [`QFormerAligner.forward`]."""
        return self.aligner(self.join(heard), question, question_mask)  # type: ignore[no-any-return]
