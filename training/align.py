"""Stage `align`: audio tokens are pulled to where the language model's own words for the sound live.

The decoder takes no part.

Targets are the language model's states of class names and captions at the layer where audio enters, in the normalised
space of the audio tokens, centred on the mean over the classes. The loss is a cross-entropy over the classes, for the
mean of a clip's tokens and for its best tokens, a symmetric contrastive loss over captions, and the tag head's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from alm.aligner import Heard, pooled
from alm.modeling import AlmForConditionalGeneration
from training.augment import add_noise, change, crop, join, window
from training.calibrate import TEMPLATES, text_states
from training.config import StageConfig
from training.features import FeatureCache, Features, collate
from training.groups import evaluating
from training.losses.contrast import symmetric
from training.objective import rng_for
from training.placing import moved
from training.processes import Processes
from training.sounds import ClassInfo, Sampler, Sound, multi_hot

BATCH_EVAL = 64
DISTRACTORS = 3
LONGEST_SINGLE_SECONDS = 5.0
"""Any stretch of a longer clip of one sound will do, and costs less."""
SCENES_EVERY = 4
"""Every so many steps the batch is of composed scenes: equal lengths together."""


@dataclass(frozen=True)
class Targets:
    """Text side of the stage, for the entry layer of one branch."""

    centre: Tensor
    """[dim] mean over classes."""
    classes: Tensor
    """[labels, dim] unit."""
    captions: Tensor
    """[captions, dim] unit."""
    label_states: Tensor
    """[labels, dim] not centred: what the tag prompt starts from."""


def make_targets(
    model: AlmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    info: dict[str, ClassInfo],
    captions: Sequence[str],
    layer: int,
    system: str,
) -> Targets:
    """States of every class (several phrases each) and caption."""
    phrases = [class_texts(name, info) for name in labels]
    flat = [text for own in phrases for text in own]
    states = text_states(model, tokenizer, [*flat, *captions], layer, system)
    parts = states[: len(flat)].split([len(own) for own in phrases])
    means = torch.stack([p.mean(0) for p in parts])
    centre = means.mean(0)
    plain = torch.stack([p[0] for p in parts])
    unit = F.normalize(means - centre, dim=-1)
    return Targets(centre, unit, F.normalize(states[len(flat) :] - centre, dim=-1), plain)


def class_texts(name: str, info: dict[str, ClassInfo]) -> list[str]:
    """Name, phrase in several carriers, and synonyms."""
    if name not in info:
        return [name]
    about = info[name]
    return [name, *(t.format(about.phrase) for t in TEMPLATES), *about.synonyms[:3]]


class Temperature(nn.Module):
    """Learned scale of the similarities."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def forward(self) -> Tensor:
        return self.log_scale.exp().clamp(max=50.0)


@dataclass(frozen=True)
class Batch:
    heard: dict[str, Heard]
    wanted: Tensor
    """[batch, labels] multi-hot."""
    captions: Tensor
    """[batch] caption of each clip; -1 for composed scenes."""
    mix: Tensor
    """[batch] partner of each clip in the mixed pooled features, and their share."""
    share: Tensor


class AlignObjective:
    """See the module's text; satisfies `Objective`."""

    def __init__(
        self,
        model: AlmForConditionalGeneration,
        stage: StageConfig,
        sounds: Sequence[Sound],
        cache: FeatureCache,
        labels: Sequence[str],
        info: dict[str, ClassInfo],
        targets: dict[int, Targets],
        caption_index: dict[str, int],
        seed: int,
        processes: Processes = Processes(),
    ) -> None:
        self.model, self.cache, self.labels, self.seed = model, cache, list(labels), seed
        self.processes = processes
        self.targets, self.captions, self.info = moved(targets, model.device), caption_index, info
        self.extra = Temperature().to(model.device)
        there = [s for s in sounds if cache.find(s.path) is not None]
        self.missing = len(sounds) - len(there)
        self.train = [s for s in there if s.split == "train"]
        steps = stage.steps or math.ceil(stage.epochs * len(self.train) / stage.batch_size)
        self.stage = replace(stage, steps=steps, epochs=0.0)
        known = set(labels)
        self.dev = [s for s in there if s.split == "dev" and s.single and known & set(s.classes)]
        single = [s.single for s in self.train]
        self.samplers = [
            Sampler.of(self.train, labels, single),
            Sampler.of(self.train, labels, [not x for x in single]),
        ]
        self.wanted = torch.from_numpy(multi_hot(self.train, labels))
        settings = model.config
        longest = min(settings.window_seconds, LONGEST_SINGLE_SECONDS + 1.0)
        self.longest = {n: int(longest / s) for n, s in cache.frame_seconds.items()}

    def batch(self, step: int) -> Batch:
        rng = rng_for(self.seed, self.stage.name, step)
        scenes = step % SCENES_EVERY == SCENES_EVERY - 1 and bool(self.samplers[1].tree)
        sampler = self.samplers[int(scenes)]
        chosen = sampler.draw(self.stage.batch_size, rng)
        parts, wanted, captions = [], [], []
        for index in chosen:
            part, target = self._clip(index, rng), self.wanted[index]
            if not scenes and rng.random() < self.stage.augment.join:
                other = sampler.draw(1, rng)[0]
                both = join(part, self._clip(other, rng), self.longest)
                if both is not None:
                    part, target = both, torch.maximum(target, self.wanted[other])
            parts.append(part)
            wanted.append(target)
            captions.append(self.captions.get(self.train[index].caption, -1))
        mix = torch.from_numpy(rng.permutation(len(chosen)))
        share = torch.from_numpy(rng.beta(0.4, 0.4, len(chosen)).astype(np.float32))[:, None]
        return Batch(collate(parts, self.cache.frame_seconds), torch.stack(wanted), torch.tensor(captions), mix, share)

    def _clip(self, index: int, rng: np.random.Generator) -> Features:
        item = self.cache.find(self.train[index].path)
        assert item is not None
        whole = self.cache.read(item)
        part = window(whole, int(rng.integers(whole.windows)), self.cache.frame_seconds)
        if self.train[index].single:
            part = crop(part, LONGEST_SINGLE_SECONDS, rng)
        return change(part, self.stage.augment, rng)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        heard = add_noise(batch.heard, self.stage.augment.noise)
        total, parts = batch.wanted.new_zeros(()), {}
        hearing = self.model.model.hearing
        if "aligner" in self.stage.train:
            for index, (branch, aligner) in enumerate(zip(hearing.branches, hearing.aligners, strict=True)):
                tokens = self.processes.divided(aligner, {n: heard[n] for n in branch.encoders})
                own = self._branch_losses(index, tokens, heard, batch)
                total = total + sum(own.values())
                parts.update({f"{k}_{index}" if index else k: float(v.detach()) for k, v in own.items()})
        if hearing.tag_head is not None and "tag_head" in self.stage.train:
            tags = self._tag_loss(hearing.tag_head, heard, batch)
            total = total + tags
            parts["tags"] = float(tags.detach())
        return total / self.processes.world, parts

    def _branch_losses(self, index: int, tokens: Tensor, heard: dict[str, Heard], batch: Batch) -> dict[str, Tensor]:
        """Losses of one branch's tokens, by name; `heard` is what they were made from."""
        return self._align_loss(tokens, self.targets[index], batch)

    def _align_loss(self, tokens: Tensor, targets: Targets, batch: Batch) -> dict[str, Tensor]:
        mean, each = centred(tokens, targets)
        scale = self.extra()
        some = batch.wanted.sum(1) > 0
        wanted = batch.wanted[some] / batch.wanted[some].sum(1, keepdim=True)
        by_mean = F.cross_entropy(scale * mean[some] @ targets.classes.T, wanted)
        best = scale * pooled_similarity(each[some], targets.classes)
        by_best = F.cross_entropy(best, wanted)
        told = batch.captions >= 0
        pair = _contrast(scale, mean[told], targets.captions[batch.captions[told]], batch.wanted[told])
        return {"class": by_mean, "class_best": by_best, "caption": 0.5 * pair}

    def _tag_loss(self, head: Any, heard: dict[str, Heard], batch: Batch) -> Tensor:
        features = pooled(heard)
        loss = _bce(head.classify(features), batch.wanted)
        weight = self.stage.augment.mixup
        if weight > 0:
            mixed = batch.share * features + (1 - batch.share) * features[batch.mix]
            wanted = batch.share * batch.wanted + (1 - batch.share) * batch.wanted[batch.mix]
            loss = (loss + weight * _bce(head.classify(mixed), wanted)) / (1 + weight)
        return loss

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        with evaluating(self.model):
            return evaluate(self, self.dev)

    @property
    def scored(self) -> bool:
        return bool(self.dev)

    def samples(self, count: int) -> list[dict[str, Any]]:
        return []


def _contrast(scale: Tensor, sounds: Tensor, texts: Tensor, wanted: Tensor) -> Tensor:
    """Symmetric contrastive loss; clips that share a class are no negatives of each other."""
    if len(sounds) < 2:
        return sounds.sum() * 0.0
    return symmetric(scale * sounds @ texts.T, (wanted @ wanted.T > 0).fill_diagonal_(False))


def _bce(logits: Tensor, wanted: Tensor) -> Tensor:
    """Summed over classes, so that the few positives are not averaged away."""
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1).mean()


def centred(tokens: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Unit mean token `[batch, dim]` and unit tokens `[batch, tokens, dim]`, both relative to the classes' centre."""
    moved = tokens - targets.centre
    return F.normalize(moved.mean(1), dim=-1), F.normalize(moved, dim=-1)


def pooled_similarity(each: Tensor, classes: Tensor) -> Tensor:
    """Soft maximum over tokens of the similarity to each class: `[batch, labels]`."""
    return torch.logsumexp(10.0 * (each @ classes.T), dim=1) / 10.0


@torch.no_grad()
def evaluate(objective: AlignObjective, sounds: Sequence[Sound]) -> dict[str, float]:
    """Top-1, top-5 and 4-way accuracy of tokens against class texts, and the tag head's, on single sounds."""
    if not sounds:
        return {"n": 0.0}
    model, labels = objective.model, objective.labels
    align, tags = [], []
    for first in range(0, len(sounds), BATCH_EVAL):
        items = [objective.cache.find(s.path) for s in sounds[first : first + BATCH_EVAL]]
        parts = [window(objective.cache.read(i), 0, objective.cache.frame_seconds) for i in items if i is not None]
        heard = moved(collate(parts, objective.cache.frame_seconds), model.device)
        align.append(_class_scores(objective, heard).cpu())
        head = model.model.hearing.tag_head
        tags.append(head(heard).cpu() if head is not None else torch.zeros_like(align[-1]))
    truth = torch.from_numpy(multi_hot(sounds, labels)) > 0
    figures = _figures(torch.cat(align), truth, labels, objective.info)
    own = _figures(torch.cat(tags), truth, labels, objective.info)
    return {
        **figures, **{f"tags_{k}": v for k, v in own.items()}, "n": float(len(sounds)),
        "score": figures["top1"] + figures["four_way"] + own["top1"],
    }  # fmt: skip


def _class_scores(objective: AlignObjective, heard: dict[str, Heard]) -> Tensor:
    hearing = objective.model.model.hearing
    scores = []
    for index, (branch, aligner) in enumerate(zip(hearing.branches, hearing.aligners, strict=True)):
        targets = objective.targets[index]
        mean, each = centred(aligner({n: heard[n] for n in branch.encoders}), targets)
        scores.append(mean @ targets.classes.T + pooled_similarity(each, targets.classes))
    return torch.stack(scores).mean(0)


def _figures(scores: Tensor, truth: Tensor, labels: Sequence[str], info: dict[str, ClassInfo]) -> dict[str, float]:
    """Each is a mean over classes, so that a class with many clips counts no more than others."""
    ranked = scores.argsort(dim=1, descending=True)
    hit = truth.gather(1, ranked)
    return {
        "top1": _by_class(hit[:, 0].float(), truth),
        "top5": _by_class(hit[:, :5].any(1).float(), truth),
        "four_way": _by_class(four_way(scores, truth, labels, info), truth),
    }


def _by_class(right: Tensor, truth: Tensor) -> float:
    there = truth.any(0)
    member = truth[:, there].float()
    return float(((right[:, None] * member).sum(0) / member.sum(0)).mean())


def four_way(
    scores: Tensor, truth: Tensor, labels: Sequence[str], info: dict[str, ClassInfo], draws: int = 8
) -> Tensor:
    """`[sounds]`: how often the true class beats three others of groups that are not heard; fixed draws."""
    rng = rng_for("four-way")
    groups = np.array([info[c].group if c in info else c for c in labels])
    right = torch.zeros(len(scores))
    for row in range(len(scores)):
        heard = truth[row].nonzero().flatten().tolist()
        others = np.flatnonzero(~np.isin(groups, groups[heard]))
        if len(others) < DISTRACTORS:
            others = np.setdiff1d(np.arange(len(labels)), heard)
        won = [
            float(
                scores[row, heard].max() > scores[row, rng.choice(others, min(DISTRACTORS, len(others)), False)].max()
            )
            for _ in range(draws)
        ]
        right[row] = float(np.mean(won))
    return right
