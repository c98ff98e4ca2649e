"""From the tag head's opinion on short stretches to events with times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alm.aligner import Heard
from alm.evidence import Tag
from alm.tagging import TagHead, stretches

STRETCH_SECONDS = 2.0
HOP_SECONDS = 1.0
THRESHOLD = 0.35


@torch.no_grad()
def tag_window(head: TagHead, heard: dict[str, Heard], labels: Sequence[str], offset_seconds: float = 0.0) -> list[Tag]:
    """Events of one window (features `[1, layers, time, dim]`), merged over neighbouring stretches.

    Args:
        offset_seconds: where the window starts in its recording.
    """
    cut, spans = stretches(heard, STRETCH_SECONDS, HOP_SECONDS)
    scores = torch.sigmoid(head(cut).float())
    shifted = [(start + offset_seconds, end + offset_seconds) for start, end in spans]
    return merge(_events(scores, shifted, labels))


def _events(scores: Tensor, spans: Sequence[tuple[float, float]], labels: Sequence[str]) -> list[Tag]:
    """Every class above the threshold in a stretch; the best class of each stretch if it is at least half as sure."""
    found = []
    for row, (start, end) in zip(scores, spans, strict=True):
        best = int(row.argmax())
        for index in torch.nonzero(row >= THRESHOLD).flatten().tolist() or [best]:
            if float(row[index]) >= THRESHOLD / 2:
                found.append(Tag(labels[index], start, end, float(row[index])))
    return found


def merge(tags: Sequence[Tag]) -> list[Tag]:
    """Join events of the same class whose times touch or overlap, keeping the highest score; ordered by start."""
    merged: list[Tag] = []
    for tag in sorted(tags, key=lambda t: (t.label, t.start)):
        last = merged[-1] if merged else None
        if last is not None and last.label == tag.label and tag.start <= last.end + 1e-6:
            merged[-1] = Tag(tag.label, last.start, max(last.end, tag.end), max(last.score, tag.score))
        else:
            merged.append(tag)
    return sorted(merged, key=lambda t: (t.start, -t.score))
