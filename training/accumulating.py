"""A batch of a language stage in parts, whose gradients add up to the gradient of the whole.

Padding costs time and memory as words do, and where attention is written out its memory grows with the square of the
longest: one row with nine recordings among seven with one takes more than twenty times what the rows need. So bundles
of unlike lengths are in different parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alm.aligner import Heard
from training.augment import lead_astray
from training.objective import Objective
from training.rows import Batch, rounded

PADDED = 1.5
"""Most positions of a part, as a multiple of those that hold something."""
OF_A_BUNDLE = ("input_ids", "attention_mask")
OF_A_RECORDING = ("audio_windows", "question_ids", "question_mask")


def pieces(objective: Objective, batch: Any, count: int) -> Iterator[tuple[Any, float]]:
    """The batch in at least `count` parts, each with its share of the loss; unless of kind `language`, as it is."""
    if not isinstance(batch, Batch):
        yield batch, 1.0
        return
    yield from split(batch, count, objective.audio_token_id, objective.tokens_per_window)  # type: ignore[attr-defined]


def split(batch: Batch, count: int, audio_token_id: int, tokens_per_window: int) -> Iterator[tuple[Batch, float]]:
    """Parts of whole bundles, each with its share of the weight of all answer tokens; parts without any are left out.

    Features are led astray before, since each is moved towards the next recording of the whole batch.
    """
    weight = (batch.labels[:, 1:] != -100).sum(1) * batch.weights
    bundles = torch.arange(len(batch.inputs["input_ids"]))
    groups = [g for part in bundles.chunk(count) for g in alike(batch, part)]
    if len(groups) == 1:
        yield batch, 1.0
        return
    heard = lead_astray(batch.heard, batch.astray)
    for chosen in groups:
        share = float(weight[torch.isin(batch.owner, chosen.to(batch.owner.device))].sum() / weight.sum())
        if share > 0:
            yield part_of(batch, heard, chosen, audio_token_id, tokens_per_window), share


def alike(batch: Batch, bundles: Tensor) -> list[Tensor]:
    """These bundles in groups whose shared parts are of about equal lengths, the longest first."""
    lengths = batch.inputs["attention_mask"].sum(1).tolist()
    groups: list[list[int]] = [[]]
    for bundle in sorted(bundles.tolist(), key=lambda b: -lengths[b]):
        own = [*groups[-1], bundle]
        if len(own) * lengths[own[0]] <= PADDED * sum(lengths[b] for b in own):
            groups[-1] = own
        else:
            groups.append([bundle])
    return [torch.tensor(sorted(own)) for own in groups]


def part_of(
    batch: Batch, heard: dict[str, Heard], chosen: Tensor, audio_token_id: int, tokens_per_window: int
) -> Batch:
    """These bundles (indices, rising) with their rows and recordings, of which `heard` has the features.

    Padding that none of them needs is gone, and nothing is led astray any more.
    """
    chosen = chosen.to(batch.owner.device)
    rows = torch.isin(batch.owner, chosen)
    windows = (batch.inputs["input_ids"] == audio_token_id).sum(1) // tokens_per_window
    own = torch.isin(torch.arange(len(windows), device=chosen.device).repeat_interleave(windows), chosen)
    shared, mask = batch.inputs["attention_mask"], batch.mask[rows]
    before, after = rounded(int(shared[chosen].sum(1).max())), rounded(int(batch.lengths[rows].max()))
    mask = torch.cat([mask[:, :before], mask[:, shared.shape[1] :][:, :after]], dim=1)
    return replace(
        batch,
        inputs=_inputs(batch.inputs, chosen, own, before),
        heard={n: Heard(h.hidden[own], h.mask[own], h.frame_seconds) for n, h in heard.items()},
        astray=batch.astray.new_zeros(0),
        owner=torch.searchsorted(chosen, batch.owner[rows]),
        ids=batch.ids[rows, :after],
        mask=mask,
        labels=batch.labels[rows, :after],
        weights=batch.weights[rows],
        tasks=tuple(t for t, kept in zip(batch.tasks, rows.tolist(), strict=True) if kept),
        tokens=int(mask.sum()),
    )


def _inputs(inputs: dict[str, Tensor], bundles: Tensor, windows: Tensor, length: int) -> dict[str, Tensor]:
    """Inputs of these bundles, which have these windows (a mask)."""
    recordings = windows[inputs["audio_windows"].cumsum(0) - 1] if "audio_windows" in inputs else windows
    found = {}
    for name, tensor in inputs.items():
        if name in OF_A_BUNDLE:
            found[name] = tensor[bundles, :length]
        else:
            found[name] = tensor[recordings if name in OF_A_RECORDING else windows]
    return found
