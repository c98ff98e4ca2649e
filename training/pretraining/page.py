"""What came of it as a page with curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.curves import read_log
from training.semi.comparing import Data, by_class, interval


def curves(log: Path, picture: Path) -> None:
    """Loss in training and on held-out recordings, one plot an objective."""
    from matplotlib.figure import Figure

    rows = read_log(log)
    names = list(dict.fromkeys(r["objective"] for r in rows))
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        own = [r for r in rows if r["objective"] == name]
        for key, label in (("loss", "training"), ("held_out", "held-out sources")):
            points = [(r["step"], r[key]) for r in own if key in r]
            axis.plot(*zip(*points, strict=True), label=label, linewidth=1)
        axis.set_title(name)
        axis.set_xlabel("step")
        axis.legend(fontsize=7)
    figure.savefig(picture, dpi=110)


def learnt(log: Path) -> str:
    """Markdown: first and last check of each objective."""
    rows = [r for r in read_log(log) if "held_out" in r]
    lines = ["| objective | steps | held-out loss | hidden patches named right |", "|---|---|---|---|"]
    for name in dict.fromkeys(r["objective"] for r in rows):
        own = [r for r in rows if r["objective"] == name]
        first, last = own[0], own[-1]
        lines.append(
            f"| {name} | {last['step']} | {first['held_out']:.3f} to {last['held_out']:.3f} "
            f"| {100 * first['held_out_right']:.1f} % to {100 * last['held_out_right']:.1f} % |"
        )
    return "\n".join(lines)


def probes(found: Mapping[str, np.ndarray], data: Data, base: str) -> str:
    """Markdown: accuracy of each set of encoders, and the gain over `base`."""
    sources = [s.source for s in data.tested]
    lines = [
        f"| encoders | right, mean of the seeds | each seed | gain over {base} | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for name, right in found.items():
        each = [by_class(r, data.truth) for r in right]
        shown = " | "
        if name != base:
            gain = (right - found[base]).mean(0)
            low, high = interval(gain, data.truth, sources)
            shown = f"{100 * by_class(gain, data.truth):+.1f} | {100 * low:+.1f} to {100 * high:+.1f}"
        lines.append(
            f"| {name} | {100 * float(np.mean(each)):.1f} % | {', '.join(f'{100 * e:.1f}' for e in each)} | {shown} |"
        )
    return "\n".join(lines)


def verdict(found: Mapping[str, np.ndarray], data: Data, base: str, added: Sequence[str]) -> str:
    """One sentence: whether an own encoder adds to the ensemble."""
    sources = [s.source for s in data.tested]
    told = []
    for name in added:
        low, high = interval((found[name] - found[base]).mean(0), data.truth, sources)
        told.append(f"{name} {'adds' if low > 0 else 'takes away' if high < 0 else 'cannot be told from it'}")
    return f"Against {base}: {'; '.join(told)}."


def page(facts: Mapping[str, Any], log: Path, table: str, sentence: str, command: str) -> str:
    """The whole text; `facts` are the numbers of the run."""
    return f"""# An encoder of our own, from recordings without labels

```
{command}
```

{facts["recordings"]} recordings of the corpus's training split ({facts["refused"]} more
are too short), {facts["hours"]:.1f} hours with at most {facts["longest"]:g} s of each; no label is read.
The encoder is a transformer over patches of a log-mel spectrogram: {facts["layers"]} layers of {facts["dim"]},
{facts["parameters"]:.2f} M parameters, 6.25 features a second. Every objective starts from the same weights and sees
the same stretches: {facts["steps"]} steps of {facts["batch"]}.
All of it took {facts["minutes"]:.0f} minutes of one core.

{learnt(log)}

![Loss curves](own-encoder.png)

- `masked-patches` is SSAST's: 400 of 512 patches hidden in squares, one head tells a hidden patch from the others of
  its recording, one paints it (weight 10). Guessing names at best one of 78 right, 1.3 %.
- `masked-tokens` is BEATs': three quarters hidden, the code of each hidden patch is named; codes are those of a random
  projection, {facts["codes"]} of them. `masked-tokens-2` is the next round, whose codes are clusters of what the first
  round learnt. Guessing names 1 of {facts["codes"]} right. Losses of different objectives, and of the two rounds, do
  not compare.

## Does it hear anything, and does it add to the ensemble?

A tag head learns from all labels of {facts["probed"]} training recordings of {facts["classes"]} classes and is scored
on {facts["tested"]} recordings of other sources; {facts["seeds"]} seeds. "Random" is the same network before it learnt.

{table}

{sentence} The default's encoders learnt from far more: this one has {facts["hours"]:.1f} hours and minutes.
"""
