"""A process's part of a batch of the language stages."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from alm.aligner import Heard
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
    bundles = len(batch.inputs["input_ids"])
    own = processes.part(bundles)
    idle = own.start == own.stop
    own = slice(0, 1) if idle else own
    rows = ((batch.owner >= own.start) & (batch.owner < own.stop)).nonzero().flatten()
    heard, inputs = _audio(batch, noise, own, audio_token_id, per_window)
    inputs |= {name: batch.inputs[name][own] for name in ("input_ids", "attention_mask")}
    return replace(
        batch,
        inputs=inputs,
        heard=heard,
        astray=batch.astray.new_zeros(0),
        owner=batch.owner[rows] - own.start,
        ids=batch.ids[rows],
        mask=batch.mask[rows],
        labels=batch.labels[rows],
        weights=batch.weights[rows] * (0.0 if idle else 1.0),
        tasks=tuple(batch.tasks[i] for i in rows.tolist()),
    )


def _audio(
    batch: Batch, noise: float, own: slice, audio_token_id: int, per_window: int
) -> tuple[dict[str, Heard], dict[str, Tensor]]:
    """Features and window counts of the recordings of these bundles."""
    if not batch.heard:
        return {}, {}
    heard = add_noise(lead_astray(batch.heard, batch.astray), noise)
    ends = ((batch.inputs["input_ids"] == audio_token_id).sum(1) // per_window).cumsum(0).tolist()
    windows = slice(0 if own.start == 0 else ends[own.start - 1], ends[own.stop - 1])
    counts = batch.inputs["audio_windows"]
    after = counts.cumsum(0)
    inside = (after > windows.start) & (after <= windows.stop)
    cut = {n: Heard(h.hidden[windows], h.mask[windows], h.frame_seconds) for n, h in heard.items()}
    return cut, {"audio_windows": counts[inside]}

