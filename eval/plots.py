"""Small pictures of results: bars with intervals, and which groups are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLOURS = {"heard": "#2b6ca3", "evidence": "#2f8f5b", "letters": "#7aa6c9", "probe": "#8a8a8a"}
CONTROL = "#c9c9c9"
MOST_BARS = 14


def bars(document: dict[str, Any], place: Path) -> bool:
    """Shares of a result as horizontal bars with 95 % intervals; False if it has none."""
    figures = [f for f in document["figures"] if f["unit"] == "%"][:MOST_BARS]
    if not figures:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 0.6 + 0.32 * len(figures)), dpi=80)
    for row, item in enumerate(reversed(figures)):
        low, high = item["low"], item["high"]
        colour = COLOURS.get(item["key"].split("_")[0], CONTROL)
        axes.barh(row, 100 * item["value"], color=colour, height=0.7)
        if low is not None and high is not None and high > low:
            axes.plot([100 * low, 100 * high], [row, row], color="#222222", linewidth=1.2)
    axes.set_yticks(range(len(figures)), [f["label"] for f in reversed(figures)], fontsize=7)
    axes.set_xlim(0, 100)
    axes.set_xlabel("%", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(document["title"], fontsize=9, loc="left")
    _save(figure, place)
    plt.close(figure)
    return True


def matrix(title: str, names: Sequence[str], counts: Sequence[Sequence[int]], place: Path) -> None:
    """A confusion matrix by rows in per cent."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    values = np.array(counts, float)
    values = 100 * values / np.maximum(values.sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(5.6, 5.0), dpi=80)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    for row, column in zip(*np.nonzero(values >= 0.5), strict=True):
        ink = "white" if values[row, column] > 60 else "black"
        axes.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=6, color=ink)
    axes.set_title(title, fontsize=8)
    _save(figure, place)
    plt.close(figure)


def _save(figure: Any, place: Path) -> None:
    """A PNG with few colours and no timestamp, so that equal results give equal files."""
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(place, metadata={"Software": None})
