"""The methods: what each one's loss is, with the published hyper-parameters as defaults.

All see the same batches: labelled recordings, unlabelled ones, and as many new views of them as a method asks for.
Guesses are made without dropout. Ramps are given as shares of the run, since runs here are shorter than the published.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from alm.tagging import TagHead
from training.semi.losses import adversarial, aligned, jensen_shannon, mix, sharpened, soft_cross_entropy


@dataclass(frozen=True)
class Batch:
    """One step's recordings; each call of `labelled` or `unlabelled` gives a new view, "weak" or "strong"."""

    labelled: Callable[[str], Tensor]
    wanted: Tensor
    """[batch, classes] probabilities"""
    unlabelled: Callable[[str], Tensor]
    rng: np.random.Generator
    done: float
    """Share of the run that is behind, 0 to 1."""


@dataclass(frozen=True)
class Settings:
    """Published hyper-parameters (WideResNet-28-2 on spectrograms, 10 % labels)."""

    lr: float = 1e-3
    threshold: float = 0.95
    temperature: float = 0.5
    alpha: float = 0.75
    """Of mixup in MixMatch and ReMixMatch; `mixup` is that of the methods published without it."""
    mixup: float = 0.75
    views: int = 2
    unlabelled: float = 1.0
    """Weight of the unlabelled part."""
    ramp: float = 1.0
    """Share of the run until that weight is reached."""
    unmixed: float = 0.5
    turned: float = 0.5
    remembered: int = 128
    """Batches whose guesses make up the distribution that ReMixMatch aligns."""
    decay: float = 0.999
    agreement: float = 1.0
    difference: float = 0.5
    attack: float = 0.02


class Method:
    """Labels alone: cross-entropy on weak views. The others add to it."""

    settings = Settings()

    def __init__(self, make: Callable[[], TagHead], layers: Mapping[str, int], dims: Mapping[str, int]) -> None:
        self.net = make()
        self.layers, self.dims = dict(layers), dict(dims)

    def modules(self) -> list[nn.Module]:
        """Those that learn."""
        return [self.net]

    def parameters(self) -> Iterator[nn.Parameter]:
        for module in self.modules():
            yield from module.parameters()

    def loss(self, batch: Batch) -> Tensor:
        return self._told(batch)

    def after_step(self, step: int) -> None:
        """Called when the weights have moved."""

    def probabilities(self, features: Tensor) -> Tensor:
        """The method's answer: `[batch, classes]`."""
        return self._guess(features)

    def _told(self, batch: Batch) -> Tensor:
        return soft_cross_entropy(self.net.classify(batch.labelled("weak")), batch.wanted).mean()

    @torch.no_grad()
    def _guess(self, features: Tensor) -> Tensor:
        return guess(self.net, features)


@torch.no_grad()
def guess(net: TagHead, features: Tensor) -> Tensor:
    """Probabilities without dropout; the network stays in the mode that it was in."""
    was = net.training
    net.eval()
    found = net.classify(features).softmax(-1)
    net.train(was)
    return found


def linear_ramp(done: float, share: float) -> float:
    return min(1.0, done / share) if share else 1.0


def exponential_ramp(done: float, share: float) -> float:
    """From e^-5 to 1, slowly at first."""
    return math.exp(-5.0 * (1.0 - linear_ramp(done, share)) ** 2)


class Mixup(Method):
    """Labels alone, mixed with each other."""

    def loss(self, batch: Batch) -> Tensor:
        features = batch.labelled("weak")
        order = torch.from_numpy(batch.rng.permutation(len(features)))
        mixed, wanted = mix(
            (features, batch.wanted), (features[order], batch.wanted[order]), self.settings.mixup, batch.rng
        )
        return soft_cross_entropy(self.net.classify(mixed), wanted).mean()


class FixMatch(Method):
    """A strong view must be what a weak one is surely taken for."""

    def loss(self, batch: Batch) -> Tensor:
        features, target, sure = self._taken(batch)
        found = soft_cross_entropy(self.net.classify(features), target)
        return self._told(batch) + self.settings.unlabelled * (sure * found).mean()

    def _taken(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Strong views, what they are taken for, and whether that is sure."""
        guessed = self._guess(batch.unlabelled("weak"))
        best, which = guessed.max(-1)
        target = nn.functional.one_hot(which, guessed.shape[1]).float()
        return batch.unlabelled("strong"), target, (best >= self.settings.threshold).float()


class FixMatchMixup(FixMatch):
    """FixMatch whose labelled and taken rows are mixed with each other."""

    def loss(self, batch: Batch) -> Tensor:
        features, target, sure = self._taken(batch)
        told = batch.labelled("weak")
        everything, wanted = torch.cat([told, features]), torch.cat([batch.wanted, target])
        usable = torch.cat([torch.ones(len(told)), sure])
        # A row's partner is one whose label is known or sure.
        good = usable.nonzero().flatten()
        partner = good[torch.from_numpy(batch.rng.integers(len(good), size=len(everything)))]
        mixed, mixed_wanted = mix(
            (everything, wanted), (everything[partner], wanted[partner]), self.settings.mixup, batch.rng
        )
        each = soft_cross_entropy(self.net.classify(mixed), mixed_wanted)
        return each[: len(told)].mean() + self.settings.unlabelled * (sure * each[len(told) :]).mean()


class MixMatch(Method):
    """The sharpened mean of guesses on two weak views is the label; everything is mixed with everything."""

    def loss(self, batch: Batch) -> Tensor:
        views = [batch.unlabelled("weak") for _ in range(self.settings.views)]
        mean = torch.stack([self._guess(v) for v in views]).mean(0)
        target = sharpened(mean, self.settings.temperature)
        told = batch.labelled("weak")
        found = self._mixed(told, batch.wanted, views, target, batch.rng)
        weight = self.settings.unlabelled * linear_ramp(batch.done, self.settings.ramp)
        return found[: len(told)].mean() + weight * found[len(told) :].mean()

    def _mixed(
        self, told: Tensor, wanted: Tensor, views: list[Tensor], target: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """`[rows]` losses of the labelled rows, then of the views."""
        features, targets = torch.cat([told, *views]), torch.cat([wanted, *[target] * len(views)])
        order = torch.from_numpy(rng.permutation(len(features)))
        mixed, mixed_targets = mix((features, targets), (features[order], targets[order]), self.settings.alpha, rng)
        return soft_cross_entropy(self.net.classify(mixed), mixed_targets)


class ReMixMatch(MixMatch):
    """MixMatch with strong views, guesses aligned with the labels' distribution, and turned features to recognise.

    Published is a spectrogram that is flipped in time, frequency or both. Pooled features have no time: their channels
    are reversed, their mean and maximum exchanged, or both.
    """

    settings = Settings(unlabelled=1.5)

    def __init__(self, make: Callable[[], TagHead], layers: Mapping[str, int], dims: Mapping[str, int]) -> None:
        super().__init__(make, layers, dims)
        last = self.net.net[-1]
        assert isinstance(last, nn.Linear)
        self.turn = nn.Linear(last.in_features, 4)
        self.prior = torch.full((last.out_features,), 1.0 / last.out_features)
        self.lately: deque[Tensor] = deque(maxlen=self.settings.remembered)

    def modules(self) -> list[nn.Module]:
        return [self.net, self.turn]

    def loss(self, batch: Batch) -> Tensor:
        guessed = self._guess(batch.unlabelled("weak"))
        self.prior = 0.99 * self.prior + 0.01 * batch.wanted.mean(0)
        self.lately.append(guessed.mean(0))
        seen = torch.stack(list(self.lately)).mean(0)
        target = sharpened(aligned(guessed, self.prior, seen), self.settings.temperature)
        told = batch.labelled("strong")
        views = [batch.unlabelled("strong") for _ in range(self.settings.views)]
        found = self._mixed(told, batch.wanted, views, target, batch.rng)
        ramp = linear_ramp(batch.done, self.settings.ramp)
        unmixed = soft_cross_entropy(self.net.classify(views[0]), target).mean()
        return (
            found[: len(told)].mean()
            + ramp * self.settings.unlabelled * found[len(told) :].mean()
            + ramp * self.settings.unmixed * unmixed
            + self.settings.turned * self._turned(views[0], batch.rng)
        )

    def _turned(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        how = torch.from_numpy(rng.integers(4, size=len(features)))
        moved = turned(features, how, self.layers, self.dims)
        hidden = self.net.net[:-1](self.net.dropout(moved))
        return nn.functional.cross_entropy(self.turn(hidden), how)


def turned(features: Tensor, how: Tensor, layers: Mapping[str, int], dims: Mapping[str, int]) -> Tensor:
    """`how` `[batch]`: 0 as they are, 1 channels reversed, 2 mean and maximum exchanged, 3 both."""
    parts, place = [], 0
    for name, count in layers.items():
        size = 2 * count * dims[name]
        own = features[:, place : place + size].unflatten(1, (2, count, dims[name]))
        place += size
        own = torch.where(((how & 1) > 0)[:, None, None, None], own.flip(3), own)
        own = torch.where(((how & 2) > 0)[:, None, None, None], own.flip(1), own)
        parts.append(own.flatten(1))
    return torch.cat(parts, dim=1)


class MeanTeacher(Method):
    """Another view must be answered as the running mean of the weights answers."""

    settings = Settings(ramp=0.25)

    def __init__(self, make: Callable[[], TagHead], layers: Mapping[str, int], dims: Mapping[str, int]) -> None:
        super().__init__(make, layers, dims)
        self.teacher = copy.deepcopy(self.net).requires_grad_(False).eval()

    def loss(self, batch: Batch) -> Tensor:
        told = batch.labelled("weak")
        answers = self.net.classify(torch.cat([told, batch.unlabelled("weak")]))
        with torch.no_grad():
            views = torch.cat([batch.labelled("weak"), batch.unlabelled("weak")])
            wanted = self.teacher.classify(views).softmax(-1)
        apart = (answers.softmax(-1) - wanted).square().mean()
        weight = self.settings.unlabelled * exponential_ramp(batch.done, self.settings.ramp)
        return soft_cross_entropy(answers[: len(told)], batch.wanted).mean() + weight * apart

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        decay = min(1.0 - 1.0 / (step + 1), self.settings.decay)
        for mine, new in zip(self.teacher.parameters(), self.net.parameters(), strict=True):
            mine.lerp_(new, 1.0 - decay)

    def probabilities(self, features: Tensor) -> Tensor:
        return guess(self.teacher, features)


class CoTraining(Method):
    """Two networks agree on unlabelled recordings, and each bears what misleads the other."""

    settings = Settings(lr=5e-4, ramp=0.53)

    def __init__(self, make: Callable[[], TagHead], layers: Mapping[str, int], dims: Mapping[str, int]) -> None:
        super().__init__(make, layers, dims)
        self.second = make()

    def modules(self) -> list[nn.Module]:
        return [self.net, self.second]

    def loss(self, batch: Batch) -> Tensor:
        told, other = batch.labelled("weak"), batch.unlabelled("weak")
        nets = (self.net, self.second)
        right = sum((soft_cross_entropy(n.classify(told), batch.wanted).mean() for n in nets), told.new_zeros(()))
        first, second = (n.classify(other).softmax(-1) for n in nets)
        agreement = jensen_shannon(first, second).mean()
        ramp = exponential_ramp(batch.done, self.settings.ramp)
        return (
            right
            + ramp * self.settings.agreement * agreement
            + ramp * self.settings.difference * self._difference(told, other, batch.wanted)
        )

    def _difference(self, told: Tensor, other: Tensor, wanted: Tensor) -> Tensor:
        everything, total = torch.cat([told, other]), told.new_zeros(())
        for victim, judge in ((self.net, self.second), (self.second, self.net)):
            guessed = guess(victim, other)
            target = nn.functional.one_hot(guessed.argmax(-1), guessed.shape[1]).float()
            hostile = adversarial(_Answers(victim), everything, torch.cat([wanted, target]), self.settings.attack)
            total = total + soft_cross_entropy(judge.classify(hostile), guess(victim, everything)).mean()
        return total

    def probabilities(self, features: Tensor) -> Tensor:
        return (guess(self.net, features) + guess(self.second, features)) / 2


class _Answers(nn.Module):
    """A head called on pooled features."""

    def __init__(self, head: TagHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        return self.head.classify(features)


METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {
        "supervised": Method, "mixup": Mixup, "fixmatch": FixMatch, "fixmatch-mixup": FixMatchMixup,
        "mixmatch": MixMatch, "remixmatch": ReMixMatch, "mean-teacher": MeanTeacher, "co-training": CoTraining,
    }
)  # fmt: skip
