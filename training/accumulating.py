"""A batch of a language stage in parts, whose gradients add up to the gradient of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alm.aligner import Heard
from training.augment import lead_astray
from training.objective import Objective
from training.rows import Batch

OF_A_BUNDLE = ("input_ids", "attention_mask")
OF_A_RECORDING = ("audio_windows", "question_ids", "question_mask")


def pieces(objective: Objective, batch: Any, count: int) -> Iterator[tuple[Any, float]]:
    """The batch in at most `count` parts, each with its share of the loss; `count` 1: the batch as it is."""
    if count == 1:
        yield batch, 1.0
        return
    yield from split(batch, count, objective.audio_token_id, objective.tokens_per_window)  # type: ignore[attr-defined]


def split(batch: Batch, count: int, audio_token_id: int, tokens_per_window: int) -> Iterator[tuple[Batch, float]]:
    """Parts of whole bundles, each with its share of the weight of all answer tokens; parts without any are left out.

    Features are led astray before, since each is moved towards the next recording of the whole batch.
    """
    heard = lead_astray(batch.heard, batch.astray)
    windows = (batch.inputs["input_ids"] == audio_token_id).sum(1) // tokens_per_window
    weight = (batch.labels[:, 1:] != -100).sum(1) * batch.weights
    owner_of_window = torch.arange(len(windows), device=windows.device).repeat_interleave(windows)
    for chosen in torch.arange(len(windows), device=windows.device).chunk(count):
        rows = torch.isin(batch.owner, chosen)
        share = float(weight[rows].sum() / weight.sum())
        if share > 0:
            yield _part(batch, heard, chosen, rows, torch.isin(owner_of_window, chosen)), share


def _part(batch: Batch, heard: dict[str, Heard], chosen: Tensor, rows: Tensor, windows: Tensor) -> Batch:
    """These bundles with their rows and windows."""
    inputs = {}
    recordings = windows[batch.inputs["audio_windows"].cumsum(0) - 1] if "audio_windows" in batch.inputs else windows
    for name, tensor in batch.inputs.items():
        if name in OF_A_BUNDLE:
            inputs[name] = tensor[chosen]
        elif name in OF_A_RECORDING:
            inputs[name] = tensor[recordings]
        else:
            inputs[name] = tensor[windows]
    return replace(
        batch,
        inputs=inputs,
        heard={n: Heard(h.hidden[windows], h.mask[windows], h.frame_seconds) for n, h in heard.items()},
        astray=torch.zeros_like(batch.astray[windows]) if len(batch.astray) else batch.astray,
        owner=batch.owner[rows] - chosen[0],
        ids=batch.ids[rows],
        mask=batch.mask[rows],
        labels=batch.labels[rows],
        weights=batch.weights[rows],
        tasks=tuple(t for t, kept in zip(batch.tasks, rows.tolist(), strict=True) if kept),
        tokens=int(batch.mask[rows].sum()),
    )
