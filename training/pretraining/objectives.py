"""The two losses over masked patches."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.encoders.families.patch_transformer import PIXELS, PatchTransformer
from alm.fusion.layout import Rows
from training.pretraining.masking import clustered_mask, random_mask
from training.pretraining.tokenizers import Codes

HIDDEN_SHARE = 400 / 512
RECONSTRUCTION = 10.0
TOKEN_SHARE = 0.75
SMOOTHING = 0.1


class Loss(Protocol):
    """A loss with the weights that serve it alone."""

    encoder: PatchTransformer

    def __call__(self, patches: Tensor, real: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Of `[batch, patches, pixels]`, and its parts."""


class MaskedPatches(nn.Module):
    """SSAST: tell a hidden patch from the other hidden ones of its recording, and paint it.

    Each part hides patches of its own, 400 of 512 in squares; a hidden patch is a learned vector at its position.
    """

    def __init__(self, encoder: PatchTransformer) -> None:
        super().__init__()
        self.encoder = encoder
        dim = encoder.config.dim
        self.hidden = nn.Parameter(torch.randn(dim) * 0.02)
        self.tell, self.paint = (
            nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PIXELS)) for _ in range(2)
        )

    def forward(self, patches: Tensor, real: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """See `Loss`."""
        told, right = self._told(patches, real, clustered_mask(real, HIDDEN_SHARE, rng))
        hidden = clustered_mask(real, HIDDEN_SHARE, rng)
        painted = F.mse_loss(self.paint(self._seen(patches, real, hidden))[hidden], patches[hidden])
        loss = told + RECONSTRUCTION * painted
        return loss, {"told": float(told.detach()), "painted": float(painted.detach()), "right": right}

    def _seen(self, patches: Tensor, real: Tensor, hidden: Tensor) -> Tensor:
        place = self.encoder.positions(patches.shape[1] // len(self.encoder.bands))
        shown = torch.where(hidden[..., None], self.hidden, self.encoder.project(patches)) + place
        return self.encoder.run(shown, real)

    def _told(self, patches: Tensor, real: Tensor, hidden: Tensor) -> tuple[Tensor, float]:
        """Cross-entropy of each hidden patch among those of its recording, and how often it is the likeliest."""
        rows = Rows.of(hidden)
        guess, truth = rows.take(self.tell(self._seen(patches, real, hidden))), rows.take(patches)
        similar = (guess @ truth.transpose(1, 2)).masked_fill(~rows.valid[:, None], -torch.inf)
        logits = similar[rows.valid]
        own = torch.arange(rows.valid.shape[1]).expand(rows.valid.shape)[rows.valid]
        return F.cross_entropy(logits, own), float((logits.argmax(-1) == own).float().mean())


class MaskedTokens(nn.Module):
    """BEATs: read a quarter of the patches, and name the codes of the others.

    As OpenBEATs trains it: the encoder reads the shown patches alone, two more layers see hidden places too, and the
    codes are smoothed by 0.1.
    """

    def __init__(self, encoder: PatchTransformer, codes: Codes) -> None:
        super().__init__()
        self.encoder, self.codes = encoder, codes
        config = encoder.config
        self.hidden = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.predictor = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, config.ffn_dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.name_of = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, codes.count))

    def forward(self, patches: Tensor, real: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """See `Loss`."""
        hidden = random_mask(real, TOKEN_SHARE, rng)
        shown = Rows.of(real & ~hidden)
        read = self.encoder.run(shown.take(self.encoder.embed(patches)), shown.valid)
        place = self.encoder.positions(patches.shape[1] // len(self.encoder.bands))
        full = shown.put(read, (self.hidden + place).expand(len(patches), -1, -1))
        for layer in self.predictor:
            full = layer(full, src_key_padding_mask=~real)
        logits, truth = self.name_of(full[hidden]), self.codes(patches, real)[hidden]
        loss = F.cross_entropy(logits, truth, label_smoothing=SMOOTHING)
        return loss, {"right": float((logits.argmax(-1) == truth).float().mean())}
