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
TOLD_ARM = "evidence, told"
"""The arm that learns with evidence, asked with it; `evidence` itself is asked without, as all others are."""
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
    """95 % of the figure over draws of source packages with replacement, and of seeds, where there are several.

    Args:
        values: `[questions]`, or `[seeds, questions]`: then training's own luck counts, too.
    """
    names, place = np.unique(sources, return_inverse=True)
    rng, by_seed = rng_for("study interval", key), np.atleast_2d(values)
    drawn = []
    for _ in range(DRAWS):
        counts = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(float)
        seeds = rng.integers(len(by_seed), size=len(by_seed)) if len(by_seed) > 1 else np.zeros(1, int)
        drawn.append(figure(by_seed[seeds].mean(0), masks, counts[place]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _difference(
    own: Floats, base: Floats, masks: Sequence[NDArray[np.bool_]], questions: Questions, key: str, digits: int
) -> str:
    """Against another arm, paired by question and seed; both `[seeds, questions]`."""
    seeds = min(len(own), len(base))
    values = own[:seeds] - base[:seeds]
    low, high = interval(values, masks, questions.sources, key)
    mark = "**" if seeds > 1 and (low > 0 or high < 0) else ""
    return f"{mark}{figure(values.mean(0), masks):+.{digits}f}{mark} ({low:+.{digits}f} to {high:+.{digits}f})"


def read_study(folder: Path) -> tuple[Questions, dict[str, Scores]]:
    """The questions of a study, and the scores of each arm that has any.

    Raises:
        ConfigError: the folder holds none, or its base arm is not done.
    """
    questions = Questions.read(folder)
    known = {a.name: s for a in ARMS if (s := read_scores(folder, a.name, len(questions.tasks))) is not None}
    if BASE not in known:
        raise ConfigError(f"{folder}: the arm {BASE} is not done; everything is compared with it")
    if (told := read_scores(folder, "evidence", len(questions.tasks), f"told-{SCORES}")) is not None:
        known[TOLD_ARM] = told
    return questions, known


def tables(questions: Questions, known: Mapping[str, Scores]) -> list[str]:
    """Markdown: accuracy of every arm, then differences by part of the study."""
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
        if found:
            axes.legend(fontsize=8, ncols=2)
        plot.savefig(out / f"{key}.png", dpi=110)
        lines += [f"![{title}]({out.name}/{key}.png)", ""]
    return lines
