"""The loss curve of a run as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOSSES = ("loss", "class", "caption", "tags", "token_loss")
FIGURES = ("top1", "four_way", "tags_top1", "score")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a run's log; a line cut off by a kill is passed over."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def draw(log: Path, picture: Path) -> None:
    """One row of plots a stage: training losses, and validation figures."""
    from matplotlib.figure import Figure

    rows = read_log(log)
    stages = list(dict.fromkeys(r["stage"] for r in rows))
    figure = Figure(figsize=(11, 3.2 * max(1, len(stages))), layout="constrained")
    axes = figure.subplots(max(1, len(stages)), 2, squeeze=False)
    for (left, right), stage in zip(axes, stages, strict=False):
        own = [r for r in rows if r["stage"] == stage]
        steps = [r for r in own if "step_seconds" in r]
        checks = [r for r in own if r.get("validation")]
        for name in LOSSES:
            if points := [(r["step"], r[name]) for r in steps if name in r]:
                left.plot(*zip(*points, strict=True), label=name, linewidth=1)
        names = [n for n in FIGURES if any(n in r for r in checks)]
        names += sorted({k for r in checks for k in r if k.startswith("right_") and k.endswith("_bare")})[:10]
        for name in names:
            points = [(r["step"], r[name]) for r in checks if name in r]
            right.plot(*zip(*points, strict=True), label=name, marker=".", linewidth=1)
        left.set_title(f"{stage}: training")
        right.set_title(f"{stage}: held-out sources")
        for axis in (left, right):
            axis.set_xlabel("step")
            if axis.lines:
                axis.legend(fontsize=6, ncols=2)
    figure.savefig(picture, dpi=110)
