"""Q-Former aligner: learned queries attend to all encoder layers of a window (BLIP-2, GAMA, APT, SALMONN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from alm.aligner.features import Heard, KeyBank, pooled, pooled_size
from alm.configuration import AlignerConfig


class QFormerAligner(nn.Module):
    """Windows of features to `num_queries` normalised tokens each.

    The queries start from a learned vector plus a projection of the pooled features, so that the model hears something
    before the attention has learnt where to look.
    """

    def __init__(self, config: AlignerConfig, layers: dict[str, int], dims: dict[str, int], out_dim: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.bank = KeyBank(layers, dims, width, config.keep_frames)
        self.queries = nn.Parameter(torch.randn(1, config.num_queries, width) * 0.02)
        self.start = nn.Linear(pooled_size(layers, dims), width)
        self.question = nn.Linear(out_dim, width) if config.question_aware else None
        self.qformer = Blip2QFormerModel(_qformer_config(config))
        self.out = nn.Linear(width, out_dim)
        self.norm = nn.LayerNorm(out_dim, elementwise_affine=False)

    def forward(
        self, heard: dict[str, Heard], question: Tensor | None = None, question_mask: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            heard: features of each encoder of the branch.
            question: `[windows, words, out_dim]` token embeddings of the question (question-aware aligners only).
            question_mask: `[windows, words]`.

        Returns:
            `[windows, num_queries, out_dim]`, zero mean and unit spread per token.
        """
        keys, mask = self.bank(heard)
        queries = self.queries + self.start(pooled(heard))[:, None]
        count, attention = queries.shape[1], None
        if self.question is not None and question is not None and question_mask is not None:
            queries = torch.cat([queries, self.question(question)], dim=1)
            attention = torch.cat([question_mask.new_ones(len(queries), count), question_mask], dim=1)
        result = self.qformer(
            query_embeds=queries,
            query_length=queries.shape[1],
            attention_mask=attention,
            encoder_hidden_states=keys,
            encoder_attention_mask=mask.long(),
        )
        return self.norm(self.out(result.last_hidden_state[:, :count]))  # type: ignore[no-any-return]


def _qformer_config(config: AlignerConfig) -> Blip2QFormerConfig:
    return Blip2QFormerConfig(
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=2 * config.hidden_size,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        cross_attention_frequency=1,
        encoder_hidden_size=config.hidden_size,
    )
