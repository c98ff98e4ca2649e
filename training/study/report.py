"""docs/study.md out of the runs' files: tables with paired intervals, and plots of where the audio goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.errors import ConfigError
from training.objective import rng_for
from training.study.arms import ARMS, BASE, PARTS, Arm
from training.study.running import INSIGHT, ROWS, SCORES

FAMILIES = {
    "naming": ("label", "label_name", "instrument"),
    "choice": ("choice",),
    "presence": ("yes_no", "deny"),
    "order": ("order", "order_first", "order_after", "order_before", "statement"),
    "time": ("when", "at_time", "longest", "while", "overlap"),
    "count": ("count",),
    "compare": ("which", "louder", "same"),
    "voice": ("sex", "language", "kind"),
}
"""Task families and the tasks in them; a family's figure is the mean of its tasks'."""
WORDS = ("transcribe", "caption")
"""Tasks whose answers are too long to be right word for word at this size: nats per token are told instead."""
DRAWS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What the runs of one arm said: `[seeds, questions]`."""

    right: Floats
    nats: Floats


def read_scores(folder: Path, arm: str, questions: int, name: str = SCORES) -> Scores | None:
    """Scores of all seeds that are done; None when none is."""
    files = sorted(folder.glob(f"{arm}-[0-9]*/{name}"), key=lambda p: int(p.parent.name.rpartition("-")[2]))
    found = [np.load(f) for f in files if f.parent.name.rpartition("-")[0] == arm]
    if not found:
        return None
    right = np.stack([np.unpackbits(f["right"])[:questions].astype(float) for f in found])
    return Scores(right, np.stack([f["nats"].astype(float) for f in found]))


@dataclass(frozen=True)
class Questions:
    """The questions that all runs were asked."""

    tasks: NDArray[np.str_]
    sources: NDArray[np.str_]

    @classmethod
    def read(cls, folder: Path) -> Questions:
        try:
            rows = json.loads((folder / ROWS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} holds no study ({error}); run `python -m training study`") from error
        return cls(np.array([r["task"] for r in rows]), np.array([r["source"] for r in rows]))

    def family(self, name: str) -> list[NDArray[np.bool_]]:
        """A mask for each of its tasks that was asked."""
        masks = [self.tasks == t for t in FAMILIES[name]]
        return [m for m in masks if m.any()]


def figure(values: Floats, masks: Sequence[NDArray[np.bool_]], weights: Floats | None = None) -> float:
    """Mean over the tasks of a family of the mean over questions; `values` `[questions]`."""
    own = weights if weights is not None else np.ones(len(values))
    parts = [float((values[m] * own[m]).sum() / own[m].sum()) for m in masks if own[m].sum() > 0]
    return float(np.mean(parts)) if parts else float("nan")


def interval(
    values: Floats, masks: Sequence[NDArray[np.bool_]], sources: NDArray[np.str_], key: str
) -> tuple[float, float]:
    """95 % of the figure over draws of source packages with replacement."""
    names, place = np.unique(sources, return_inverse=True)
    rng = rng_for("study interval", key)
    drawn = []
    for _ in range(DRAWS):
        counts = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(float)
        drawn.append(figure(values, masks, counts[place]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _difference(
    own: Floats, base: Floats, masks: Sequence[NDArray[np.bool_]], questions: Questions, key: str, digits: int
) -> str:
    """Against another arm, paired by question and seed; both `[seeds, questions]`."""
    seeds = min(len(own), len(base))
    values = (own[:seeds] - base[:seeds]).mean(0)
    low, high = interval(values, masks, questions.sources, key)
    mark = "**" if low > 0 or high < 0 else ""
    return f"{mark}{figure(values, masks):+.{digits}f}{mark} ({low:+.{digits}f} to {high:+.{digits}f})"


def tables(folder: Path) -> list[str]:
    """Markdown: accuracy of every arm, then differences by part of the study."""
    questions = Questions.read(folder)
    known = {a.name: s for a in ARMS if (s := read_scores(folder, a.name, len(questions.tasks))) is not None}
    if BASE not in known:
        raise ConfigError(f"{folder}: the arm {BASE} is not done; everything is compared with it")
    lines = ["## All arms", "", *_accuracy(known, questions), ""]
    for part, about in PARTS.items():
        arms = [a for a in ARMS if a.part == part and a.name in known and a.name != a.against and a.against in known]
        if arms:
            lines += [f"## ({part}) {about}", "", *_differences(arms, known, questions), ""]
    return lines


def _accuracy(known: Mapping[str, Scores], questions: Questions) -> list[str]:
    words = [w for w in WORDS if (questions.tasks == w).any()]
    asked = {f: sum(int(m.sum()) for m in questions.family(f)) for f in FAMILIES if questions.family(f)}
    head = ["arm", "seeds", *(f"{f} ({n})" for f, n in asked.items()), *(f"{w}, nats" for w in words)]
    rows = []
    for name, scores in known.items():
        cells = [_mean([100 * figure(r, questions.family(f)) for r in scores.right], 1) for f in asked]
        cells += [_mean([float(n[questions.tasks == w].mean()) for n in scores.nats], 2) for w in words]
        rows.append([name, str(len(scores.right)), *cells])
    return markdown(head, rows)


def _mean(values: Sequence[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _differences(arms: Sequence[Arm], known: Mapping[str, Scores], questions: Questions) -> list[str]:
    masks = {f: questions.family(f) for f in FAMILIES if questions.family(f)}
    words = {w: [questions.tasks == w] for w in WORDS if (questions.tasks == w).any()}
    right, nats = [], []
    for arm in arms:
        own, base, key = known[arm.name], known[arm.against], f"{arm.name} against {arm.against}"
        right.append([key, *(
            _difference(100 * own.right, 100 * base.right, m, questions, f"{key} {f}", 1) for f, m in masks.items()
        )])  # fmt: skip
        nats.append([key, *(
            _difference(own.nats, base.nats, m, questions, f"{key} {f}", 2) for f, m in (masks | words).items()
        )])  # fmt: skip
    told = ["", "Nats a token of the true answer, less is better:", ""]
    return [*markdown(["right, points", *masks], right), *told, *markdown(["nats", *masks, *words], nats)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines."""
    return ["| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows)]


def insights(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Probe and attention by layer, by arm."""
    found = {p.parent.name.rpartition("-")[0]: json.loads(p.read_text()) for p in folder.glob(f"*/{INSIGHT}")}
    return {a.name: found[a.name] for a in ARMS if a.name in found}


def draw(folder: Path, out: Path) -> list[str]:
    """Plots into `out`; gives the Markdown that shows them."""
    from matplotlib.figure import Figure

    found = insights(folder)
    texts = {
        "probe": ("Probe of the sound's class, % of test recordings", 100.0, "enters layer"),
        "attention": ("Share of attention on audio, %", 100.0, "layer"),
    }
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for key, (title, factor, axis) in texts.items():
        plot = Figure(figsize=(9, 4.5), layout="constrained")
        axes: Any = plot.subplots()
        for arm, own in found.items():
            if any(own[key]):
                axes.plot(range(len(own[key])), [factor * v for v in own[key]], marker=".", label=arm)
        axes.set(title=title, xlabel=axis, ylim=(0, None))
        axes.legend(fontsize=8, ncols=2)
        plot.savefig(out / f"{key}.png", dpi=110)
        lines += [f"![{title}]({out.name}/{key}.png)", ""]
    return lines
