"""Linear aligner: features averaged over equal stretches of the window and projected (LTU), the plain baseline."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.aligner.features import Heard, stretch_edges
from alm.configuration import AlignerConfig


class LinearAligner(nn.Module):
    """Windows of features to `num_queries` normalised tokens, one for each equal stretch of its real frames."""

    def __init__(self, config: AlignerConfig, layers: dict[str, int], dims: dict[str, int], out_dim: int) -> None:
        super().__init__()
        self.count = config.num_queries
        self.project = nn.Linear(sum(layers[n] * dims[n] for n in layers), out_dim)
        self.norm = nn.LayerNorm(out_dim, elementwise_affine=False)

    def forward(
        self, heard: dict[str, Heard], question: Tensor | None = None, question_mask: Tensor | None = None
    ) -> Tensor:
        """Like [`QFormerAligner.forward`]; the question is not used."""
        parts = [self._stretches(item) for item in heard.values()]
        return self.norm(self.project(torch.cat(parts, dim=-1)))  # type: ignore[no-any-return]

    def _stretches(self, item: Heard) -> Tensor:
        """Mean of every stretch: `[windows, count, layers * dim]`; short clips repeat frames rather than pad."""
        hidden = F.layer_norm(item.hidden, item.hidden.shape[-1:]).transpose(1, 2).flatten(2)
        low, high = stretch_edges(item.mask, self.count)
        total = F.pad(hidden.cumsum(1), (0, 0, 1, 0))
        index = torch.stack([low, high]).clamp_max(hidden.shape[1])[..., None].expand(-1, -1, -1, hidden.shape[-1])
        spans = total.gather(1, index[1]) - total.gather(1, index[0])
        return spans / (index[1] - index[0]).clamp_min(1)
