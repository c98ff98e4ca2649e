"""Sentence embeddings of short texts by a pinned local model (all-MiniLM-L6-v2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

BATCH = 64


@dataclass(frozen=True)
class Embedder:
    """A folder with a transformers BERT model and its tokenizer."""

    folder: Path

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder), AutoModel.from_pretrained(self.folder).float().eval()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[texts, dim]`: mean over real tokens, normalised, as the model was trained to be used."""
        tokenizer, model = self._parts
        found = []
        for first in range(0, len(texts), BATCH):
            batch = tokenizer(
                list(texts[first : first + BATCH]), padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(hidden.dtype)
            found.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp_min(1), dim=-1))
        return torch.cat(found) if found else torch.zeros(0, 1)


def default_embedder() -> Embedder:
    """The embedder that comes with the default preset's weights; fetched on first use."""
    from alm import weights

    return Embedder(weights.ensure("tiny", embedder=True).embedder)
