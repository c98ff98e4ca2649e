"""One method trained on part of the labels, and scored on sources that no training recording comes from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from alm.errors import ConfigError
from alm.tagging import TagHead
from training.features import FeatureCache
from training.objective import rng_for, seed_for
from training.semi.methods import METHODS, Batch
from training.semi.pieces import Pieces, read_pieces
from training.semi.views import STRONG, WEAK, draw
from training.sounds import Sampler, Sound, multi_hot, thinned

ALL_LABELS = "all labels"
"""The ceiling: labels alone, but every one of them."""


@dataclass(frozen=True)
class Plan:
    """What is compared; making one checks it."""

    methods: tuple[str, ...] = tuple(METHODS)
    seeds: int = 3
    share: float = 0.1
    """Of each class's training recordings that keep their labels; one at least."""
    steps: int = 800
    labelled_size: int = 64
    unlabelled_size: int = 64
    least: int = 10
    """Training recordings that a class needs to take part."""
    most: int = 150
    """Training recordings of a class that are used."""
    hidden: int = 256

    def __post_init__(self) -> None:
        if unknown := [m for m in self.methods if m not in METHODS]:
            raise ConfigError(f"semi: no method {unknown[0]!r}; there are {', '.join(METHODS)}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"semi: 'share' is {self.share}; it must be above 0 and at most 1")
        for f in fields(self):
            if f.type == "int" and getattr(self, f.name) < 1:
                raise ConfigError(f"semi: '{f.name}' is {getattr(self, f.name)}; it must be 1 at least")


@dataclass(frozen=True)
class Data:
    """Recordings of the classes that take part, with their features."""

    labels: list[str]
    train: list[Sound]
    heard: Pieces
    wanted: Tensor
    """[train, labels] probabilities: a recording of two classes is half of each."""
    tested: list[Sound]
    tested_features: Tensor
    truth: np.ndarray
    """[tested, labels] bool"""


def read_data(sounds: Sequence[Sound], cache: FeatureCache, plan: Plan, split: str) -> Data:
    """Cached single recordings; those of `split` are scored.

    Raises:
        ConfigError: no class has enough recordings, or none is to be scored.
    """
    there = [s for s in sounds if s.single and s.classes and cache.find(s.path) is not None]
    train = thinned([s for s in there if s.split == "train"], plan.most)
    counts = Counter(c for s in train for c in s.classes)
    labels = sorted(c for c, n in counts.items() if n >= plan.least)
    known = set(labels)
    train = [s for s in train if known & set(s.classes)]
    tested = [s for s in there if s.split == split and known & set(s.classes)]
    if not labels or not tested:
        raise ConfigError(
            f"semi: {len(labels)} classes have {plan.least} cached training recordings, and {len(tested)} recordings "
            f"of split {split!r} are cached; run `python -m training features CONFIG --splits train,{split}`"
        )
    wanted = torch.from_numpy(multi_hot(train, labels))
    truth = multi_hot(tested, labels) > 0
    features = read_pieces(tested, cache).whole()
    heard = read_pieces(train, cache)
    return Data(labels, train, heard, wanted / wanted.sum(1, keepdim=True), tested, features, truth)


def choose_labelled(sounds: Sequence[Sound], labels: Sequence[str], share: float, seed: int) -> list[int]:
    """Indices of the recordings whose labels are kept: of each class that share, one at least."""
    chosen: set[int] = set()
    for name in labels:
        own = [i for i, s in enumerate(sounds) if name in s.classes]
        order = rng_for("labelled", seed, name).permutation(len(own))
        chosen.update(own[i] for i in order[: max(1, round(share * len(own)))])
    return sorted(chosen)


def train_one(method: str, data: Data, plan: Plan, seed: int) -> tuple[np.ndarray, int]:
    """Probabilities `[tested, labels]` of one trained head, and how many labels it saw."""
    share = 1.0 if method == ALL_LABELS else plan.share
    labelled = choose_labelled(data.train, data.labels, share, seed)
    kind = METHODS["supervised" if method == ALL_LABELS else method]
    torch.manual_seed(seed_for(seed, "semi"))  # the same first weights for every method
    learner = kind(_maker(data, plan), data.heard.layers, data.heard.dims)
    optimizer = torch.optim.Adam(learner.parameters(), lr=kind.settings.lr)
    sampler = Sampler.of([data.train[i] for i in labelled], data.labels)
    for module in learner.modules():
        module.train()
    for step in range(plan.steps):
        done = step / plan.steps
        for group in optimizer.param_groups:
            group["lr"] = kind.settings.lr * (1 + math.cos(math.pi * done)) / 2
        rng = rng_for("semi", seed, step)
        own = torch.tensor([labelled[i] for i in sampler.draw(plan.labelled_size, rng)])
        others = torch.from_numpy(rng.integers(len(data.train), size=plan.unlabelled_size))
        loss = learner.loss(
            Batch(_views(data, own, rng), data.wanted[own], _views(data, others, rng), rng, done)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        learner.after_step(step)
    return learner.probabilities(data.tested_features).numpy(), len(labelled)


def _maker(data: Data, plan: Plan) -> Callable[[], TagHead]:
    return lambda: TagHead(data.heard.layers, data.heard.dims, len(data.labels), plan.hidden)


def _views(data: Data, index: Tensor, rng: np.random.Generator) -> Callable[[str], Tensor]:
    return lambda kind: draw(data.heard, index, {"weak": WEAK, "strong": STRONG}[kind], rng)


def hits(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`[tested]`, 1 where the surest class is heard."""
    return truth[np.arange(len(truth)), probabilities.argmax(1)].astype(np.float64)  # type: ignore[no-any-return]


def by_class(right: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean over classes of the mean over their recordings, each counted `weight` times."""
    times = np.ones(len(right)) if weight is None else weight
    size = (truth * times[:, None]).sum(0)
    there = size > 0
    return float(((truth * (right * times)[:, None]).sum(0)[there] / size[there]).mean())


def interval(right: np.ndarray, truth: np.ndarray, sources: Sequence[str], draws: int = 1000) -> tuple[float, float]:
    """95 % interval of `by_class` over draws of sources with all their recordings."""
    names = {s: i for i, s in enumerate(dict.fromkeys(sources))}
    place = np.array([names[s] for s in sources])
    rng = rng_for("semi interval")
    found = []
    for _ in range(draws):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        found.append(by_class(right, truth, times[place].astype(np.float64)))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
