"""A linear probe on the frozen encoders' pooled features: how much a listener could know at most by simple means.

Multinomial logistic regression; its penalty and class weighting are chosen on the dev split. It never sees test.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.corpus import Clip, Corpus
from eval.items import VAGUE, sound_of
from eval.listening import Sound
from eval.metrics import argmax
from eval.session import Session

MOST_TRAIN = 60
"""Training recordings of a class at most."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
BALANCES = (0.0, 0.5, 1.0)
"""Exponent of the class weights: 0 counts recordings alike, 1 counts classes alike."""


@dataclass
class Probe:
    """A fitted probe."""

    names: list[str]
    weight: Tensor
    """[classes, features]"""
    bias: Tensor
    mean: Tensor
    spread: Tensor
    penalty: float
    balance: float
    trained_on: int
    dev_accuracy: float = 0.0

    def logits(self, features: Tensor) -> Tensor:
        """`[recordings, features]` to `[recordings, classes]`."""
        return ((features - self.mean) / self.spread) @ self.weight.T + self.bias

    def among(self, features: Tensor, options: Sequence[str]) -> int | None:
        """The likeliest of some classes for one recording; None when the probe knows none of them."""
        known = [n for n in options if n in self.names]
        if not known:
            return None
        row = self.logits(features[None])[0]
        best = known[argmax([float(row[self.names.index(n)]) for n in known])]
        return list(options).index(best)

    def top(self, features: Tensor, count: int, names: Sequence[str]) -> list[str]:
        """The likeliest classes of `names`, best first."""
        row = self.logits(features[None])[0]
        ranked = sorted((n for n in self.names if n in names), key=lambda n: -float(row[self.names.index(n)]))
        return ranked[:count]


def fit(features: Tensor, labels: Tensor, names: list[str], penalty: float, balance: float = 0.0) -> Probe:
    """Fit by L-BFGS on standardised features `[recordings, features]`, labels `[recordings]`."""
    mean, spread = features.mean(0), features.std(0).clamp_min(1e-5)
    inputs = (features - mean) / spread
    counts = torch.bincount(labels, minlength=len(names)).clamp_min(1).float()
    weights = counts.pow(-balance)
    weight = torch.zeros(len(names), inputs.shape[1], requires_grad=True)
    bias = torch.zeros(len(names), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, labels, weight=weights)
        value = value + penalty * weight.square().sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    return Probe(names, weight.detach(), bias.detach(), mean, spread, penalty, balance, len(labels))


def accuracy(probe: Probe, features: Tensor, labels: Sequence[str]) -> float:
    """Mean over classes of the share of recordings whose likeliest class is right."""
    best = [probe.names[int(i)] for i in probe.logits(features).argmax(1)]
    hits: dict[str, list[bool]] = {}
    for got, want in zip(best, labels, strict=True):
        hits.setdefault(want, []).append(got == want)
    return sum(sum(h) / len(h) for h in hits.values()) / max(1, len(hits))


def labelled(corpus: Corpus, split: str, most: int, seed: int) -> list[tuple[Sound, str]]:
    """Recordings of a split with their first class that can be asked for, at most so many of each."""
    rng = random.Random(f"probe-{seed}")
    taken: Counter[str] = Counter()
    found = []
    for clip in rng.sample(corpus.of(split), len(corpus.of(split))):
        name = first_class(corpus, clip)
        if name and taken[name] < most:
            taken[name] += 1
            found.append((sound_of(clip), name))
    return found


def first_class(corpus: Corpus, clip: Clip) -> str:
    """The class that a recording is judged by, or ''."""
    return next((c for c in clip.classes if c in corpus.classes.by_name and c not in VAGUE), "")


def trained(session: Session) -> Probe:
    """The probe of a session's encoders: fitted on train, settings chosen on dev; whole even if few are asked."""
    corpus, seed = session.corpus, session.options.seed
    train = labelled(corpus, "train", MOST_TRAIN, seed)
    names = sorted({n for _, n in train})
    dev = [(s, n) for s, n in labelled(corpus, "dev", MOST_TRAIN, seed) if n in names]
    x_train, x_dev = _features(session, train, "train"), _features(session, dev, "dev")
    y_train = torch.tensor([names.index(n) for _, n in train])
    found = []
    with session.progress("fitting the probe", len(PENALTIES) * len(BALANCES)) as advance:
        for penalty in PENALTIES:
            for balance in BALANCES:
                probe = fit(x_train, y_train, names, penalty, balance)
                probe.dev_accuracy = accuracy(probe, x_dev, [n for _, n in dev]) if dev else 0.0
                found.append(probe)
                advance(1)
    return max(found, key=lambda p: (p.dev_accuracy, p.penalty))


def _features(session: Session, items: list[tuple[Sound, str]], what: str) -> Tensor:
    with session.progress(f"listening, probe {what}", len(items)) as advance:
        heard = session.listener.hear([s for s, _ in items], advance)
    return torch.stack([heard[s].pooled for s, _ in items]) if items else torch.zeros(0, 1)
