"""From the tag head's opinion on short stretches to events with times, and to what else might be heard."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alm.aligner import Heard
from alm.asked import Scores
from alm.evidence import Sounds, Tag, surest
from alm.tagging import stretches

STRETCH_SECONDS = 1.0
HOP_SECONDS = 0.5
THRESHOLD = 0.35
LEAST_GUESS = 0.02
"""A class below this probability everywhere is not worth a mention."""
MOST_NAMED = 9
"""Events and guesses together: nine names hold the right one far more often than the surest alone."""


class Timeline:
    """Sounds of one recording, window by window; `head` makes logits `[windows, tags]` of features (a `TagHead`)."""

    def __init__(self, head: nn.Module, labels: Sequence[str]) -> None:
        self.head, self.labels = head, labels
        self.tags: list[Tag] = []
        self.best = torch.zeros(len(labels))
        self.whole: list[Tensor] = []
        self.stretches: list[Tensor] = []
        self.times: list[float] = []

    @torch.no_grad()
    def add(self, heard: dict[str, Heard], offset_seconds: float = 0.0) -> None:
        """Listen to one window (features `[1, layers, time, dim]`) that starts at `offset_seconds`."""
        cut, spans = stretches(heard, STRETCH_SECONDS, HOP_SECONDS)
        logits = self.head(cut).float().cpu()
        scores = torch.sigmoid(logits)
        shifted = [(start + offset_seconds, end + offset_seconds) for start, end in spans]
        self.tags += _events(scores, shifted, self.labels)
        self.best = torch.maximum(self.best, scores.amax(0))
        self.whole.append(self.head(heard).float().cpu()[0])
        self.stretches.append(logits.half())
        self.times += [(start + end) / 2 for start, end in shifted]

    def add_windows(self, heard: dict[str, Heard], spans: Sequence[tuple[float, float]]) -> None:
        """Listen to windows (features `[windows, layers, time, dim]`) that span these seconds of the recording."""
        for row, (start, _) in enumerate(spans):
            self.add({n: h.window(row) for n, h in heard.items()}, start)

    def scores(self) -> Scores:
        """Every class's logits, for questions that name it."""
        return Scores(torch.stack(self.whole).amax(0), torch.cat(self.stretches), torch.tensor(self.times))

    def sounds(self, seconds: float) -> Sounds:
        """Events merged over neighbouring stretches, none longer than the recording, and guesses, likeliest first."""
        tags = merge([Tag(t.label, t.start, min(t.end, seconds), t.score) for t in self.tags])
        named = {t.label for t in surest(tags)}
        ranked = [i for i in self.best.argsort(descending=True).tolist() if self.labels[i] not in named]
        likely = [self.labels[i] for i in ranked if float(self.best[i]) >= LEAST_GUESS]
        return Sounds(tuple(tags), tuple(likely[: max(0, MOST_NAMED - len(named))]))


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
