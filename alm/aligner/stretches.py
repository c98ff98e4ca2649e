"""Equal stretches of a window's real frames, each made a token by a Q-Former of its own (SALMONN)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from alm.aligner.features import Heard, stretch_edges
from alm.aligner.qformer import QFormerAligner
from alm.configuration import AlignerConfig


class StretchQFormer(nn.Module):
    """One token of each of `num_queries` equal stretches of the window, by a Q-Former with a single query.

    SALMONN's window-level Q-Former makes a token of a third of a second; here the stretches are cut from the frames
    that are real, and padding is not attended to.
    """

    def __init__(self, config: AlignerConfig, layers: dict[str, int], dims: dict[str, int], out_dim: int) -> None:
        super().__init__()
        self.count = config.num_queries
        self.each = QFormerAligner(replace(config, num_queries=1), layers, dims, out_dim)

    def forward(
        self, heard: dict[str, Heard], question: Tensor | None = None, question_mask: Tensor | None = None
    ) -> Tensor:
        """Like [`QFormerAligner.forward`]; each stretch reads the question by itself."""
        (name, item), windows = next(iter(heard.items())), len(next(iter(heard.values())).mask)
        low, high = stretch_edges(item.mask, self.count)
        index = low[..., None] + torch.arange(int((high - low).max()), device=low.device)
        real = index < high[..., None]
        index = index.clamp_max(item.hidden.shape[2] - 1)
        real = real & item.mask.gather(1, index.flatten(1)).view_as(index)
        cut = item.hidden.transpose(1, 2)[torch.arange(windows, device=low.device)[:, None, None], index]
        stretches = Heard(cut.flatten(0, 1).transpose(1, 2), real.flatten(0, 1), item.frame_seconds)
        if question is not None and question_mask is not None:
            question = question.repeat_interleave(self.count, 0)
            question_mask = question_mask.repeat_interleave(self.count, 0)
        tokens: Tensor = self.each({name: stretches}, question, question_mask)
        return tokens.view(windows, self.count, -1)
