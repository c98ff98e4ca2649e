"""Where does the audio go? Attention to it in every layer, and what each layer knows of it where the answer begins.

Both look at the place from which the first word of the answer is predicted, after one question ("What do you hear?").
Attention: the share of all heads' weight that lies on audio. Probe: a ridge classifier of the sound's class on what
enters each layer there, fitted on training sources, scored on those of test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from alm.modeling import AlmForConditionalGeneration
from training.features import FeatureCache, Item
from training.groups import evaluating
from training.language import BARE
from training.objective import rng_for
from training.placing import moved
from training.rows import Collator, Row
from training.sounds import Sound

QUESTION = "What do you hear?"
CLASSES = 60
TRAIN_EACH, TEST_EACH = 12, 6
LOOKED_AT = 48
"""Recordings whose attention is looked at."""
RIDGE = 1.0
BATCH = 32


@dataclass(frozen=True)
class Probed:
    """Recordings of frequent classes."""

    items: tuple[Item, ...]
    classes: tuple[int, ...]
    train: tuple[bool, ...]


def probed(sounds: Sequence[Sound], cache: FeatureCache) -> Probed:
    """Single sounds, the same ones every time: of each class up to so many recordings of train and of test."""
    found: dict[str, dict[str, list[Item]]] = defaultdict(lambda: {"train": [], "test": []})
    for sound in sounds:
        item = cache.find(sound.path)
        if item is not None and sound.single and sound.split in ("train", "test") and item.windows == 1:
            found[sound.classes[0]][sound.split].append(item)
    usable = sorted(c for c, own in found.items() if len(own["train"]) >= TRAIN_EACH and len(own["test"]) >= 2)
    usable = sorted(usable, key=lambda c: -len(found[c]["test"]))[:CLASSES]
    rows = [
        (item, index, split == "train")
        for index, name in enumerate(usable)
        for split, most in (("train", TRAIN_EACH), ("test", TEST_EACH))
        for item in _some(found[name][split], most, name)
    ]
    items, classes, train = zip(*rows, strict=True)
    return Probed(items, classes, train)


def _some(items: Sequence[Item], most: int, name: str) -> list[Item]:
    return [items[int(i)] for i in rng_for("probe", name).permutation(len(items))[:most]]


def _rows(items: Sequence[Item]) -> list[Row]:
    asked = ({"role": "user", "content": f"<audio>{QUESTION}"}, {"role": "assistant", "content": "."})
    return [Row(i.path, "label", "", "", asked, (i,), 0) for i in items]


def _prompts(collator: Collator, items: Sequence[Item], device: torch.device) -> dict[str, Tensor]:
    """Prompts padded on the left, so that the answer begins at the last place of each."""
    rows = _rows(items)
    made = [torch.tensor(collator.encode(r, BARE, rng_for("insight"), prompt_only=True).ids) for r in rows]
    longest = max(map(len, made))
    ids = torch.stack([F.pad(m, (longest - len(m), 0)) for m in made])
    mask = torch.stack([F.pad(torch.ones_like(m), (longest - len(m), 0)) for m in made])
    return moved({**collator.audio_inputs(rows), "input_ids": ids, "attention_mask": mask}, device)


@torch.no_grad()
def knowledge_by_layer(model: AlmForConditionalGeneration, collator: Collator, chosen: Probed) -> list[float]:
    """Accuracy of the probe on test sources, on what enters each layer and the last norm: `[layers + 1]`."""
    seen: list[list[Tensor]] = [[] for _ in range(_layers(model) + 1)]
    with evaluating(model), _listening(model, seen):
        for first in range(0, len(chosen.items), BATCH):
            model.model(**_prompts(collator, chosen.items[first : first + BATCH], model.device))
    classes = torch.tensor(chosen.classes, device=model.device)
    train = torch.tensor(chosen.train, device=model.device)
    return [_probe(torch.cat(own).float(), classes, train) for own in seen]


def _layers(model: AlmForConditionalGeneration) -> int:
    return int(model.config.text_config.num_hidden_layers)  # type: ignore[union-attr]


@contextmanager
def _listening(model: AlmForConditionalGeneration, seen: list[list[Tensor]]) -> Iterator[None]:
    """Keep the last place of what enters every layer and the last norm."""
    language_model: Any = model.model.language_model

    def keep(place: int, _module: Any, given: tuple[Tensor, ...]) -> None:
        if given[0].ndim == 3:  # keys-only audio passes the first norm by itself, without a batch
            seen[place].append(given[0][:, -1])

    hooks = [
        layer.input_layernorm.register_forward_pre_hook(partial(keep, i))
        for i, layer in enumerate(language_model.layers)
    ]
    hooks.append(language_model.norm.register_forward_pre_hook(partial(keep, len(seen) - 1)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _probe(states: Tensor, classes: Tensor, train: Tensor) -> float:
    mean, spread = states[train].mean(0), states[train].std(0) + 1e-6
    scaled = F.pad((states - mean) / spread, (0, 1), value=1.0).double()
    wanted = F.one_hot(classes, int(classes.max()) + 1).double()
    known = scaled[train]
    # As strong as the number of rows, since each dimension has unit spread.
    damped = known.T @ known + RIDGE * len(known) * torch.eye(known.shape[1], device=known.device)
    weights = torch.linalg.solve(damped, known.T @ wanted[train])
    said = (scaled[~train] @ weights).argmax(1)
    return float((said == classes[~train]).float().mean())


@torch.no_grad()
def attention_by_layer(model: AlmForConditionalGeneration, collator: Collator, chosen: Probed) -> list[float]:
    """Share of attention on audio where the answer begins, in every layer; 0 where a layer has none."""
    language_model: Any = model.model.language_model
    test = [i for i, known in zip(chosen.items, chosen.train, strict=True) if not known]
    items = [test[int(i)] for i in rng_for("attention").permutation(len(test))[:LOOKED_AT]]
    shares: list[list[float]] = [[] for _ in language_model.layers]
    kept = language_model.config._attn_implementation
    language_model.set_attn_implementation("eager")
    try:
        with evaluating(model):
            for item in items:
                inputs = _prompts(collator, [item], model.device)
                is_audio = inputs["input_ids"][0] == model.config.audio_token_id
                with _weighing(language_model, is_audio, shares):
                    model.model(**inputs)
    finally:
        language_model.set_attn_implementation(kept)
    return [sum(own) / max(1, len(own)) for own in shares]


@contextmanager
def _weighing(language_model: Any, is_audio: Tensor, shares: list[list[float]]) -> Iterator[None]:
    """Alone in a batch, nothing is padded: keys are all places where a layer has audio, the text's alone elsewhere."""

    def weigh(place: int, _module: Any, _given: Any, out: tuple[Tensor, Tensor]) -> None:
        last = out[1][0, :, -1].float().mean(0)
        shares[place].append(float(last[is_audio].sum()) if len(last) == len(is_audio) else 0.0)

    hooks = [layer.self_attn.register_forward_hook(partial(weigh, i)) for i, layer in enumerate(language_model.layers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
