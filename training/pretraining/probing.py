"""Whether an encoder hears what others do not: a tag head on its features, alone and beside theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from alm.aligner import Heard
from alm.encoders.families.patch_transformer import SIDE, PatchTransformer
from training.pretraining.recordings import padded, spectrogram
from training.semi.comparing import ALL_LABELS, Data, Plan, hits, train_one
from training.semi.pieces import BATCH, Ear, Pieces, cut, joined
from training.sounds import Sound

OWN_LAYERS = (2, -1)
"""A middle layer and the last, as the default hears Whisper."""


@torch.no_grad()
def hear(encoder: PatchTransformer, spectrograms: Sequence[np.ndarray], layers: Sequence[int] = OWN_LAYERS) -> Ear:
    """Pieces of an encoder's features of whole recordings."""
    parts = []
    for first in range(0, len(spectrograms), BATCH):
        out = encoder(*padded(spectrograms[first : first + BATCH]), layers)
        parts.append(cut(Heard(out.features, out.mask, SIDE / 100)))
    return joined(parts)


def spectrograms_of(sounds: Sequence[Sound], encoder: PatchTransformer, seconds: float) -> list[np.ndarray]:
    """The first seconds of each recording, all of which can be read."""
    return [spectrogram(s.path, encoder.front_end, seconds) for s in sounds]


def with_ears(data: Data, train: Mapping[str, Ear], tested: Mapping[str, Ear]) -> Data:
    """The same recordings, heard by these encoders."""
    return dataclasses.replace(data, heard=Pieces(dict(train)), tested_features=Pieces(dict(tested)).whole())


def probe(data: Data, plan: Plan) -> np.ndarray:
    """`[seeds, tested]`, 1 where the surest class is heard, of heads that learnt from all labels."""
    found = [hits(train_one(ALL_LABELS, data, plan, seed)[0], data.truth) for seed in range(plan.seeds)]
    return np.stack(found)
