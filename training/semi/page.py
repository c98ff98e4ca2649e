"""The comparison as a page with a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.semi.comparing import ALL_LABELS, Data, Plan, by_class, hits, interval

ABOUT = {
    "supervised": "labels alone",
    "mixup": "labels alone, mixed with each other",
    "fixmatch": "FixMatch",
    "fixmatch-mixup": "FixMatch with mixup",
    "mixmatch": "MixMatch",
    "remixmatch": "ReMixMatch",
    "mean-teacher": "Mean Teacher",
    "co-training": "Deep Co-Training (two heads)",
    ALL_LABELS: "labels alone, all of them",
}
Answers = Mapping[str, Sequence[np.ndarray]]
"""Method to each seed's probabilities `[tested, labels]`."""


def rows(answers: Answers, data: Data) -> list[tuple[str, list[float], float, tuple[float, float]]]:
    """Method, accuracy of each seed, mean gain over labels alone, and its interval."""
    base = np.stack([hits(p, data.truth) for p in answers["supervised"]])
    sources = [s.source for s in data.tested]
    made = []
    for name, own in answers.items():
        right = np.stack([hits(p, data.truth) for p in own])
        gain = (right - base).mean(0)
        made.append(
            (name, [by_class(r, data.truth) for r in right], by_class(gain, data.truth),
             interval(gain, data.truth, sources))
        )  # fmt: skip
    return made


def table(answers: Answers, data: Data, seconds: Mapping[str, float]) -> str:
    """Markdown."""
    lines = [
        "| method | right, mean of the seeds | each seed | gain over labels alone | 95 % interval | seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    for name, each, gain, (low, high) in rows(answers, data):
        shown = "" if name == "supervised" else f"{100 * gain:+.1f} | {100 * low:+.1f} to {100 * high:+.1f}"
        lines.append(
            f"| {ABOUT[name]} | {100 * float(np.mean(each)):.1f} % | {', '.join(f'{100 * e:.1f}' for e in each)} "
            f"| {shown or '| '} | {seconds[name]:.0f} |"
        )
    return "\n".join(lines)


def plot(answers: Answers, data: Data, picture: Path) -> None:
    """Accuracy of each method: mean as a bar, seeds as points."""
    from matplotlib.figure import Figure

    found = rows(answers, data)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axis = figure.subplots()
    for place, (_, each, _, _) in enumerate(found):
        axis.barh(place, 100 * float(np.mean(each)), color="#9db8d2")
        axis.plot([100 * e for e in each], [place] * len(each), "k.", markersize=4)
    axis.set_yticks(range(len(found)), [ABOUT[name] for name, *_ in found])
    axis.invert_yaxis()
    axis.set_xlabel("right, % (mean over classes; points are seeds)")
    figure.savefig(picture, dpi=110)


def page(answers: Answers, data: Data, plan: Plan, labelled: int, seconds: Mapping[str, float], command: str) -> str:
    """The whole text."""
    found = rows(answers, data)
    better = [ABOUT[n] for n, _, _, (low, _) in found if low > 0 and n != ALL_LABELS]
    worse = [ABOUT[n] for n, _, _, (_, high) in found if high < 0]
    verdict = (
        f"Surely better than labels alone (interval above 0): {', '.join(better) or 'none'}. "
        f"Surely worse: {', '.join(worse) or 'none'}."
    )
    return f"""# Few labels, many recordings: the event-tag head

{len(data.train)} training recordings of {len(data.labels)} classes (those with {plan.least} or more, at most
{plan.most} each), of which about {labelled} keep their labels ({100 * plan.share:g} % of each class, one at least).
Scored on {len(data.tested)} recordings of sources that no training recording comes from; nothing was chosen by them,
and the last weights count. Each run is {plan.steps} steps of {plan.labelled_size} labelled and {plan.unlabelled_size}
unlabelled recordings, the same ones in the same order for every method. Every seed keeps other labels.

```
{command}
```

{table(answers, data, seconds)}

"Right" is how often the surest class is heard, as a mean over classes. The interval is of the paired gain, over draws
of sources; seconds are the processor's. {verdict}

![Accuracy of the methods](semi-supervised.png)

## What was carried over, and what could not be

The methods are in `training/semi/methods.py`, one class each, with the hyper-parameters that were published for 10 %
labels on spectrograms: FixMatch threshold 0.95; MixMatch two weak views, temperature 0.5, mixup 0.75; ReMixMatch
weights 1.5, 0.5, 0.5 and distribution alignment over 128 batches; Mean Teacher decay 0.999, squared error, ramp over a
quarter of the run; Deep Co-Training agreement 1, difference 0.5, attack 0.02, learning rate 0.0005. The others learn at
0.001; all fall by half a cosine, with Adam and no weight decay. Ramps are the published shares of a run, which is much
shorter here.

- The published networks learn from spectrograms. Here the encoders stay frozen and a head learns from their pooled
  features, so views are changes of features (`training/semi/views.py`): a stretch of time is hidden, channels are set
  to their mean, noise is added. A change of speed is not possible; noise stands in its place.
- ReMixMatch's flips of the spectrogram became reversed channels and exchanged mean and maximum.
- Guesses are made without dropout, which the published network does not have.
- The divergence of Deep Co-Training is the entropy of the mean less the mean entropy, for each recording; the published
  code scales the two differently. Its attack is 0.02 of a feature's spread.
- A recording of two classes counts as half of each in the loss, and either is right.
"""
