"""What a trained arm says to questions of the test split: is the answer word for word right, and how surely.

An answer counts as right when its every token is the model's first choice after the true tokens before it; that is so
exactly when greedy decoding writes the true answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alm.modeling import AlmForConditionalGeneration
from training.atomic import whole_file
from training.config import EvidenceConfig
from training.groups import evaluating
from training.language import BARE, token_losses
from training.objective import rng_for
from training.placing import moved
from training.rows import Collator, Row, by_task

BATCH = {"cpu": 16, "cuda": 96}


def chosen_rows(rows: Sequence[Row], tasks: Sequence[str], most: int) -> list[Row]:
    """At most `most` test rows of each task, the same ones every time."""
    test = [r for r in rows if r.split == "test"]
    found: list[Row] = []
    for task, own in by_task(test).items():
        if not tasks or task in tasks:
            order = rng_for("study", task).permutation(len(own))[:most]
            found += [test[own[int(i)]] for i in sorted(order)]
    return found


@torch.no_grad()
def score(
    model: AlmForConditionalGeneration, collator: Collator, rows: Sequence[Row], evidence: EvidenceConfig = BARE
) -> tuple[np.ndarray, np.ndarray]:
    """Of every row whether its answer is right `[rows]` (bool), and nats per token of the answer `[rows]`."""
    right, nats = np.zeros(len(rows), bool), np.zeros(len(rows), np.float32)
    order = sorted(range(len(rows)), key=lambda i: rows[i].length)
    size = BATCH.get(model.device.type, 16)
    with evaluating(model):
        for first in range(0, len(order), size):
            own = order[first : first + size]
            batch = collator.batch([[rows[i]] for i in own], evidence, rng_for("study"))
            each, where, hit = token_losses(model, moved(batch, model.device))
            count = torch.bincount(where, minlength=len(own)).clamp_min(1)
            wrong = torch.bincount(where, (~hit).float(), minlength=len(own))
            total = torch.bincount(where, each.float(), minlength=len(own))
            right[own] = (wrong == 0).cpu().numpy()
            nats[own] = (total / count).float().cpu().numpy()
    return right, nats


def save_scores(path: Path, right: np.ndarray, nats: np.ndarray, facts: dict[str, Any]) -> None:
    """One compressed file of arrays."""
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, right=np.packbits(right), nats=nats.astype(np.float16), **facts)
