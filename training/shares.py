"""A process's part of a batch of the language stages."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from training.accumulating import part_of
from training.augment import add_noise, lead_astray
from training.processes import Processes
from training.rows import Batch


def answer_weight(batch: Batch) -> Tensor:
    """The sum of the weights of all answer tokens."""
    return ((batch.labels[:, 1:] != -100).sum(1) * batch.weights).sum()


def share(batch: Batch, noise: float, processes: Processes, audio_token_id: int, per_window: int) -> Batch:
    """The bundles of this process with their recordings; noise and what leads astray are drawn for the whole batch.

    A process for which nothing is left gets the first bundle, whose answers then count for nothing.
    """
    own = processes.part(len(batch.inputs["input_ids"]))
    idle = own.start == own.stop
    chosen = torch.arange(1) if idle else torch.arange(own.start, own.stop)
    heard = add_noise(lead_astray(batch.heard, batch.astray), noise) if batch.heard else {}
    part = part_of(batch, heard, chosen, audio_token_id, per_window)
    return replace(part, weights=part.weights * (0.0 if idle else 1.0))
