"""Language stages: the loss of the assistant's answers, through the whole model on cached features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.fusion import FusionCache
from alm.modeling import AlmForConditionalGeneration
from training.config import EvidenceConfig, StageConfig
from training.groups import evaluating
from training.mixing import planned, told
from training.objective import rng_for
from training.placing import moved
from training.processes import Processes
from training.recomputing import ReplayCache
from training.rows import Batch, Collator, Row, by_task, rounded, with_noise
from training.sharding import ShardedCache, even_parts, in_fsdp, layers_of
from training.shares import answer_weight, share

EVAL_BATCH = 16
ROWS_AT_ONCE = {"cpu": 8, "cuda": 64}
"""On CPU padding costs more than calls, on a GPU calls more than padding."""
BARE = EvidenceConfig(tags=0.0, asked=0.0, transcript=0.0, wrong=0.0)
TOLD = EvidenceConfig(tags=1.0, asked=1.0, transcript=1.0, wrong=0.0)


class LanguageObjective:
    """Cross-entropy on answers; logits are made only where there is something to predict. Satisfies `Objective`."""

    def __init__(
        self,
        model: AlmForConditionalGeneration,
        stage: StageConfig,
        rows: Sequence[Row],
        collator: Collator,
        seed: int,
        processes: Processes = Processes(),
    ) -> None:
        self.model, self.collator, self.seed, self.processes = model, collator, seed, processes
        self.extra = nn.Module()
        self.train = [r for r in rows if r.split == "train"]
        self.batches = planned(self.train, stage, f"{seed} {stage.name}")
        self.stage = replace(stage, steps=len(self.batches), epochs=0.0)
        self.dev = _spread([r for r in rows if r.split == "dev"], stage)

    def told(self) -> list[str]:
        """What the stage is about to show."""
        return list(told(self.train, self.stage, self.batches))

    @property
    def scored(self) -> bool:
        return any(self._learned(r.task) for r in self.dev)

    def _learned(self, task: str) -> bool:
        return not self.stage.tasks or task in self.stage.tasks

    @property
    def audio_token_id(self) -> int:
        return self.model.config.audio_token_id

    @property
    def tokens_per_window(self) -> int:
        return self.model.config.tokens_per_window

    def batch(self, step: int) -> Batch:
        rng = rng_for(self.seed, self.stage.name, step)
        bundles = [[self.train[i] for i in b] for b in self.batches[step]]
        return self.collator.batch(bundles, self.stage.evidence, rng)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        noise, total = self.stage.augment.noise, None
        if self.processes.world > 1:
            settings, total = self.model.config, answer_weight(batch)
            batch = share(batch, noise, self.processes, settings.audio_token_id, settings.tokens_per_window)
            noise = 0.0
        each, where, _ = self._token_losses(batch, noise)
        weights = batch.weights[where]
        loss = (each * weights).sum() / (weights.sum() if total is None else total)
        parts = {"tokens": float(batch.tokens), "token_loss": float(each.mean().detach())}
        return loss, parts

    def _token_losses(self, batch: Batch, noise: float) -> tuple[Tensor, Tensor, Tensor]:
        groups = even_parts(batch, _at_once(batch), self.processes) if self.processes.shards else ()
        return token_losses(self.model, batch, noise, self.stage.gradient_checkpointing, groups)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss per task and share of answers whose every token is the first choice, with evidence and without."""
        losses: dict[str, list[float]] = defaultdict(list)
        right: dict[str, list[float]] = defaultdict(list)
        rows = sorted(self.dev, key=lambda r: r.length)
        with evaluating(self.model):
            for name, evidence in (("bare", BARE), ("told", TOLD)):
                for first in range(0, len(rows), EVAL_BATCH):
                    self._score(rows[first : first + EVAL_BATCH], evidence, name, losses, right)
        figures = {f"loss_{k}": sum(v) / len(v) for k, v in losses.items()}
        figures |= {f"right_{k}": sum(v) / len(v) for k, v in right.items()}
        means = [sum(v) / len(v) for k, v in losses.items() if self._learned(k.rpartition("_")[0])]
        return {**figures, "score": -sum(means) / len(means)} if means else figures

    def _score(
        self,
        rows: Sequence[Row],
        evidence: EvidenceConfig,
        name: str,
        losses: dict[str, list[float]],
        right: dict[str, list[float]],
    ) -> None:
        batch = moved(
            self.collator.batch([[r] for r in rows], evidence, rng_for("validation", self.seed)), self.model.device
        )
        each, where, hit = self._token_losses(batch, 0.0)
        for index, row in enumerate(rows):
            own = where == index
            losses[f"{row.task}_{name}"].append(float(each[own].mean()))
            right[f"{row.task}_{name}"].append(float(hit[own].all()))

    @torch.no_grad()
    def samples(self, count: int) -> list[dict[str, Any]]:
        """A few answers on validation rows, with and without evidence."""
        rng = rng_for("samples", self.seed, self.stage.name)
        with evaluating(self.model):
            return [self._sample(self.dev[int(i)], bool(i % 2), rng) for i in rng.permutation(len(self.dev))[:count]]

    def _sample(self, row: Row, told: bool, rng: np.random.Generator) -> dict[str, Any]:
        inputs = moved(self.collator.prompt(row, TOLD if told else BARE, rng), self.model.device)
        made = self.model.generate(**inputs, max_new_tokens=40, do_sample=False)
        new = made[0, inputs["input_ids"].shape[1] :]
        said = self.collator.processor.tokenizer.decode(new, skip_special_tokens=True).strip()
        asked = next(m["content"] for m in reversed(row.messages) if m["role"] == "user")
        return {"task": row.task, "told": told, "asked": asked, "wanted": row.messages[-1]["content"], "said": said}


def token_losses(
    model: AlmForConditionalGeneration,
    batch: Batch,
    noise: float = 0.0,
    checkpointing: bool = False,
    groups: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of every answer token, the row it belongs to, and whether the model's first choice is right.

    What the rows of a bundle share is read once; each question goes on from a copy of its keys and values, through
    which its gradient flows back. Questions go on a few at a time, those of equal lengths together, since padding
    costs as much as words. Equal to reading every row whole. With `checkpointing`, layers may compute twice
    (`training.recomputing`).

    Args:
        groups: indices of rows that go on together; empty: as many at once as the device does best.
    """
    cache = _cache(model, checkpointing)
    model.model(**with_noise(batch, noise), past_key_values=cache, use_cache=True)
    parts = [_following(model, batch, cache, rows) for rows in groups or batch.alike(_at_once(batch))]
    losses, where, hits = (torch.cat(part) for part in zip(*parts, strict=True))
    return losses, where, hits


def _at_once(batch: Batch) -> int:
    return ROWS_AT_ONCE.get(batch.ids.device.type, 64)


def _cache(model: AlmForConditionalGeneration, checkpointing: bool) -> FusionCache:
    if in_fsdp(model):
        return ShardedCache(layers_of(model))
    return ReplayCache() if checkpointing else FusionCache()


def _following(
    model: AlmForConditionalGeneration, batch: Batch, cache: FusionCache, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`token_losses` of these rows, given what was read of what they share."""
    shared = batch.mask.shape[1] - batch.ids.shape[1]
    longest = rounded(int(batch.lengths[rows].max()))
    hidden = model.model(
        input_ids=batch.ids[rows, :longest],
        attention_mask=batch.mask[rows, : shared + longest],
        past_key_values=cache.selected(batch.owner[rows]),
        use_cache=True,
    ).last_hidden_state
    wanted = batch.labels[rows, 1:longest]
    chosen = wanted != -100
    logits = model.lm_head(hidden[:, :-1][chosen]).float()
    truth = wanted[chosen]
    where = rows[:, None].expand_as(wanted)[chosen]
    return F.cross_entropy(logits, truth, reduction="none"), where, logits.argmax(-1) == truth


def _spread(rows: Sequence[Row], stage: StageConfig) -> list[Row]:
    """Up to `eval_rows` rows of each task, the same ones every time."""
    chosen: list[Row] = []
    for task, own in by_task(rows).items():
        order = rng_for("dev", task).permutation(len(own))[: stage.eval_rows]
        chosen += [rows[own[i]] for i in order]
    return chosen
