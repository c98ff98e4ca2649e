"""What BEATs' encoder has to name: a code for every patch.

First a random projection to the nearest of random codes; then clusters of what the encoder of the round before makes of
a patch in its surroundings. (BEATs distils its later tokenizers into a vector-quantised network. Clusters of features
need no second network, and are what this size affords.)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alm.encoders.families.patch_transformer import PIXELS, PatchTransformer

PROJECTED = 16
ROUNDS = 20


class Codes(Protocol):
    """Patches to codes."""

    count: int

    def __call__(self, patches: Tensor, real: Tensor) -> Tensor:
        """`[batch, patches, pixels]` and which are real to `[batch, patches]` codes."""


class RandomCodes:
    """Nothing of it learns; sounds that look alike share a code all the same."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.count = count
        self.project = torch.randn(PIXELS, PROJECTED, generator=generator) / PIXELS**0.5
        self.codes = F.normalize(torch.randn(count, PROJECTED, generator=generator), dim=-1)

    @torch.no_grad()
    def __call__(self, patches: Tensor, real: Tensor) -> Tensor:
        """See `Codes`."""
        return (F.normalize(F.layer_norm(patches, patches.shape[-1:]) @ self.project, dim=-1) @ self.codes.T).argmax(-1)


class ClusterCodes:
    """The nearest cluster of an encoder's features."""

    def __init__(self, encoder: PatchTransformer, centres: Tensor) -> None:
        self.encoder, self.centres, self.count = encoder.eval(), centres, len(centres)

    @classmethod
    def of(cls, encoder: PatchTransformer, batches: list[tuple[Tensor, Tensor]], count: int, seed: int) -> ClusterCodes:
        """Clusters of the features of real patches of these batches."""
        from scipy.cluster.vq import kmeans2

        features = torch.cat([_features(encoder, p, real)[real] for p, real in batches]).numpy()
        rng = np.random.default_rng(seed)
        centres, _ = kmeans2(features, count, iter=ROUNDS, minit="points", missing="warn", rng=rng)
        return cls(encoder, torch.from_numpy(centres.astype(np.float32)))

    @torch.no_grad()
    def __call__(self, patches: Tensor, real: Tensor) -> Tensor:
        """See `Codes`."""
        return torch.cdist(_features(self.encoder, patches, real), self.centres).argmin(-1)


@torch.no_grad()
def _features(encoder: PatchTransformer, patches: Tensor, real: Tensor) -> Tensor:
    """`[batch, patches, dim]`, each of length one."""
    return F.normalize(encoder.run(encoder.embed(patches), real), dim=-1)
