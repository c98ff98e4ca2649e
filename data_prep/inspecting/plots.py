"""Small plots of statistics as PNG: the same statistics give the same bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.inspecting.statistics import Statistics

_INK, _BAR = "#1f2933", "#0f766e"
_MOST_BARS = 24
_NAME_LETTERS = 44


@dataclass(frozen=True)
class Plot:
    """A picture with its name and what it says in words, for those who do not see it."""

    name: str
    title: str
    words: str
    png: bytes


def plots_of(found: Statistics) -> list[Plot]:
    """All plots that there is something to show for."""
    bars = (
        ("tasks", "Records by task", found.tasks),
        ("labels", "Records by label", found.labels),
        ("languages", "Records by spoken language", found.languages),
        ("licences", "Records by licence of their recordings", found.licences),
        ("sources", "Records by source", found.sources),
        ("answers", "Commonest answers", found.answers),
    )
    made = [_bars(name, title, counts) for name, title, counts in bars if counts]
    lengths = (
        ("durations", "Seconds of sound in a record", found.seconds, "s"),
        ("questions", "Letters in a question", found.question_letters, "letters"),
        ("answer-lengths", "Letters in an answer", found.answer_letters, "letters"),
    )
    made += [_spread(name, title, values, unit) for name, title, values, unit in lengths if len(values)]
    if found.copies and found.copies["pairs"]:
        made.append(_scores(found.copies["pairs"]))
    if found.leaks and found.leaks["leaks"]:
        counts = Counter({name: len(pairs) for name, pairs in found.leaks["leaks"].items()})
        made.append(_bars("leaks", "Training recordings that share sound with a benchmark", counts))
    return made


def _bars(name: str, title: str, counts: Counter[str]) -> Plot:
    top = counts.most_common(_MOST_BARS)
    more = len(counts) - len(top)
    shown = f"{title} ({len(top)} of {len(counts)})" if more else title
    words = "; ".join(f"{_short(word)} {number:,}" for word, number in top[:8])

    def draw(axes: Any) -> None:
        places = range(len(top))
        axes.barh(places, [number for _, number in top], color=_BAR, height=0.72)
        axes.set_yticks(places, [_short(word) for word, _ in top], fontsize=8)
        axes.invert_yaxis()
        for place, (_, number) in enumerate(top):
            axes.text(number, place, f" {number:,}", va="center", fontsize=7, color=_INK)
        axes.margins(x=0.12, y=0.01)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return Plot(name, shown, words, _png(draw, 0.7 + 0.24 * len(top), shown))


def _spread(name: str, title: str, values: Sequence[float], unit: str) -> Plot:
    numbers = np.asarray(values, dtype=np.float64)
    low, high = max(float(numbers.min()), 0.05 if unit == "s" else 1.0), max(float(numbers.max()), 0.1)
    edges = np.geomspace(low, max(high, 1.01 * low) * 1.001, 41)
    counts, _ = np.histogram(np.maximum(numbers, low), edges)
    middle, long = np.quantile(numbers, [0.5, 0.99])
    words = f"median {middle:.4g} {unit}, 99 % are up to {long:.4g} {unit}, the longest {high:.4g} {unit}"

    def draw(axes: Any) -> None:
        axes.stairs(counts, edges, fill=True, color=_BAR)
        axes.set_xscale("log")
        axes.axvline(middle, color="#b45309", linewidth=1.2)
        axes.set_xlabel(f"{unit} (the line is the median, {middle:.4g})", fontsize=8)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}" if edges[-1] < 8 * edges[0] else "")
        axes.set_ylabel("records", fontsize=8)

    return Plot(name, title, words, _png(draw, 2.4, title))


def _scores(pairs: Sequence[dict[str, Any]]) -> Plot:
    near = [min(float(pair["score"]), 100.0) for pair in pairs if not pair["same_samples"]]
    same = sum(pair["same_samples"] for pair in pairs)
    title = "Near copies by score"
    words = f"{len(near)} pairs of near copies; {same} further pairs have the same samples"

    def draw(axes: Any) -> None:
        axes.hist(near, bins=np.arange(0, 102, 2), color=_BAR)
        axes.set_xlabel("score: -log10 of the chance of an accident (100 and more in the last bar)", fontsize=8)
        axes.set_ylabel("pairs", fontsize=8)

    return Plot("copies", title, words, _png(draw, 2.4, title))


def _png(draw: Callable[[Any], None], height: float, title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), dpi=96, layout="constrained")  # no pyplot: pages draw in several threads
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left", color=_INK)
    axes.tick_params(labelsize=8, colors=_INK, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def _short(word: str) -> str:
    """A word that fits beside a bar, without what matplotlib would read as a formula."""
    line = " ".join(word.split()) or "(empty)"
    line = line if len(line) <= _NAME_LETTERS else f"{line[: _NAME_LETTERS - 1]}…"
    return line.replace("$", r"\$")
