"""Pictures of a run's summary: categories with intervals, confusions, a wheel of aspects, calibration, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COLOURS = ("#2b6ca3", "#2f8f5b", "#c97b2a", "#8a5aa5", "#8a8a8a")
MOST_BARS, MOST_CLASSES = 40, 60
WHEEL = (3, 12)
"""Fewest and most spokes that can be read."""
Bar = tuple[str, Mapping[str, Any]]
"""A name and a measure as the summary has it."""


@contextmanager
def _figure(place: Path, width: float, height: float, **more: Any) -> Iterator[Any]:
    """Axes that are saved as a PNG without a timestamp, so that equal results give equal files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), dpi=90, **more)
    try:
        yield axes
        place.parent.mkdir(parents=True, exist_ok=True)
        figure.tight_layout()
        figure.savefig(place, metadata={"Software": None})
    finally:
        plt.close(figure)


def scale_of(measure: Mapping[str, Any]) -> float:
    """Shares are drawn in per cent."""
    return 100.0 if measure["unit"] == "%" else 1.0


def bars(title: str, groups: Mapping[str, Sequence[Bar]], place: Path) -> None:
    """Horizontal bars with 95 % intervals, side by side for each group such as `official` and `robust`."""
    names = list(dict.fromkeys(name for own in groups.values() for name, _ in own))[:MOST_BARS]
    each, unit = 0.8 / len(groups), next((m["unit"] for own in groups.values() for _, m in own), "%")
    with _figure(place, 7.2, 1.2 + 0.24 * len(names) * max(1, len(groups) / 1.5)) as axes:
        for number, (group, own) in enumerate(groups.items()):
            _bars_of(axes, names, dict(own), number * each, each, COLOURS[number % len(COLOURS)], group)
        axes.set_yticks([n + 0.4 for n in range(len(names))], [_short(n) for n in names], fontsize=7)
        axes.invert_yaxis()
        axes.set_xlim(left=0, right=100 if unit == "%" else None)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title, fontsize=9, loc="left")
        if len(groups) > 1:
            axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _bars_of(
    axes: Any, names: Sequence[str], own: Mapping[str, Any], offset: float, height: float, colour: str, label: str
) -> None:
    for place, name in enumerate(names):
        if name not in own:
            continue
        measure, middle = own[name], place + offset + height / 2
        scale = scale_of(measure)
        axes.barh(middle, scale * measure["value"], height=0.9 * height, color=colour, label=label)
        label = "_nolegend_"
        low, high = interval(measure)
        if low is not None and high is not None:
            axes.plot([scale * low, scale * high], [middle, middle], color="#222222", linewidth=1.0)


def interval(measure: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """By source where there is more than one item to a source, else by item; Nones where nothing is known."""
    sourced = measure["sources"] and measure["sources"] < measure["items"] and measure["source_low"] is not None
    low, high = (measure["source_low"], measure["source_high"]) if sourced else (measure["low"], measure["high"])
    return (low, high) if low is not None and high is not None and high > low else (None, None)


def confusion(title: str, table: Mapping[str, Any], place: Path) -> bool:
    """A table whose rows are named as its first columns, in per cent of each row; False if it is none."""
    names, header = [str(r[0]) for r in table["rows"]], [str(h) for h in table["header"][1:]]
    counts = [r[1:] for r in table["rows"]]
    numbers = all(isinstance(v, int | float) for row in counts for v in row)
    if not (2 <= len(names) <= MOST_CLASSES and header[: len(names)] == names and numbers):
        return False
    import numpy as np

    values = np.array(counts, float)
    values = 100 * values / np.maximum(values.sum(1, keepdims=True), 1)
    size = 2.5 + 0.22 * len(names)
    with _figure(place, size + 0.8, size) as axes:
        axes.imshow(values, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(header)), [_short(h) for h in header], rotation=60, ha="right", fontsize=6)
        axes.set_yticks(range(len(names)), [_short(n) for n in names], fontsize=6)
        for row, column in zip(*np.nonzero(values >= 0.5), strict=True) if len(names) <= 24 else ():
            ink = "white" if values[row, column] > 60 else "black"
            axes.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=5, color=ink)
        axes.set_title(title, fontsize=8)
    return True


def wheel(title: str, groups: Mapping[str, Sequence[Bar]], place: Path) -> bool:
    """Shares of several aspects on a wheel, one line for each group; False if there are too few or too many."""
    names = list(dict.fromkeys(name for own in groups.values() for name, _ in own))
    if not WHEEL[0] <= len(names) <= WHEEL[1]:
        return False
    import numpy as np

    angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
    with _figure(place, 5.4, 5.0, subplot_kw={"projection": "polar"}) as axes:
        for number, (group, own) in enumerate(groups.items()):
            values = [100 * dict(own)[n]["value"] if n in dict(own) else 0.0 for n in names]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot([*angles, angles[0]], [*values, values[0]], color=colour, linewidth=1.5, label=group)
            axes.fill(angles, values, color=colour, alpha=0.12)
        axes.set_xticks(angles, [_short(n) for n in names], fontsize=7)
        axes.set_ylim(0, 100)
        axes.tick_params(axis="y", labelsize=6)
        axes.set_title(title, fontsize=9)
        axes.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1.15, -0.08))
    return True


def reliability(title: str, found: Mapping[str, Any], place: Path) -> None:
    """How often the likeliest candidate was right against how sure the model was."""
    with _figure(place, 4.4, 4.0) as axes:
        axes.plot([0, 100], [0, 100], color="#bbbbbb", linewidth=1.0, linestyle="--")
        sizes = [10 + 200 * b["items"] / found["items"] for b in found["bins"]]
        xs, ys = [100 * b["sure"] for b in found["bins"]], [100 * b["right"] for b in found["bins"]]
        axes.plot(xs, ys, color=COLOURS[0], linewidth=1.2)
        axes.scatter(xs, ys, s=sizes, color=COLOURS[0])
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("how sure, %", fontsize=8)
        axes.set_ylabel("how often right, %", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(f"{title}, error {100 * found['error']:.1f} %", fontsize=8, loc="left")


def differences(title: str, rows: Sequence[tuple[str, Mapping[str, Any]]], place: Path) -> None:
    """Differences between two systems with their intervals around nought."""
    with _figure(place, 6.4, 1.2 + 0.28 * len(rows)) as axes:
        for number, (_, measure) in enumerate(rows):
            low, high = interval(measure)
            axes.plot(100 * measure["value"], number, "o", color=COLOURS[0], markersize=5)
            if low is not None and high is not None:
                axes.plot([100 * low, 100 * high], [number, number], color=COLOURS[0], linewidth=1.6)
        axes.axvline(0, color="#888888", linewidth=1.0)
        axes.set_yticks(range(len(rows)), [_short(name) for name, _ in rows], fontsize=7)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("points", fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title, fontsize=9, loc="left")


def _short(name: str) -> str:
    return name if len(name) <= 36 else name[:33] + "..."
