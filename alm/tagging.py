"""Event tags: a small head on the frozen encoders' pooled features, over whole windows or along time."""

from __future__ import annotations

from torch import Tensor, nn

from alm.aligner.features import Heard, pooled, pooled_size

DROPPED = 0.5


class TagHead(nn.Module):
    """Pooled features of all encoders to one logit a class (several classes may sound at once).

    Half of the features and of the hidden units are dropped in training: few sources a class, and many features.
    """

    def __init__(self, layers: dict[str, int], dims: dict[str, int], num_tags: int, hidden: int = 256) -> None:
        super().__init__()
        size = pooled_size(layers, dims)
        self.dropout = nn.Dropout(DROPPED)
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Dropout(DROPPED), nn.Linear(hidden, num_tags))

    def classify(self, features: Tensor) -> Tensor:
        """`[windows, tags]` logits of pooled features `[windows, features]`."""
        return self.net(self.dropout(features))  # type: ignore[no-any-return]

    def forward(self, heard: dict[str, Heard]) -> Tensor:
        """`[windows, tags]` logits."""
        return self.classify(pooled(heard))


def stretches(
    heard: dict[str, Heard], seconds: float, hop_seconds: float
) -> tuple[dict[str, Heard], list[tuple[float, float]]]:
    """Cut one window (`[1, layers, time, dim]` each) into overlapping stretches, for tags along time.

    Returns:
        Features whose batch is the stretches, and each stretch's start and end in seconds.
    """
    total = max(float(h.mask.sum()) * h.frame_seconds for h in heard.values())
    starts = [0.0]
    while starts[-1] + seconds < total - 1e-6:
        starts.append(starts[-1] + hop_seconds)
    spans = [(s, min(s + seconds, total)) for s in starts]
    cut: dict[str, Heard] = {}
    for name, item in heard.items():
        mask = item.mask.new_zeros(len(spans), item.mask.shape[1])
        for row, (start, end) in enumerate(spans):
            first = min(int(start / item.frame_seconds), int(item.mask.sum()) - 1)
            last = max(first + 1, round(end / item.frame_seconds))
            mask[row, first:last] = item.mask[0, first:last]
        cut[name] = Heard(item.hidden.expand(len(spans), -1, -1, -1), mask, item.frame_seconds)
    return cut, spans
