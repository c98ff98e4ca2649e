"""What a run would take, before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from alm.errors import ConfigError
from training.config import RunConfig, StageConfig
from training.groups import group_of
from training.mixing import Bundle, planned
from training.paper import BITS
from training.precision import gigaflops
from training.processes import Processes
from training.rows import Row

if TYPE_CHECKING:
    from training.run import Run

REACHED = 0.8
"""Share of the speed of plain products that a step reaches, counted as below: 0.7 in bf16, 0.95 in fp32, two cores."""
KEYS_PER_CLIP = 60
BYTES = 4
KEPT_OF_A_LAYER, KEPT_AGAIN = 30, 2
"""Numbers that a layer keeps for the backward pass, for each token and dimension; with gradient checkpointing."""


@dataclass(frozen=True)
class Length:
    """How long a stage is."""

    steps: int
    rows: float
    """A step."""
    tokens: float
    """A step, of the language model."""


def describe(run: Run) -> Iterator[str]:
    """Parameters by group; per stage what learns, memory and time at this machine's measured speed."""
    model, config = run.fresh()[0], run.config
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        counts[group_of(name)] = counts.get(group_of(name), 0) + parameter.numel()
    yield "parameters: " + ", ".join(f"{g} {n / 1e6:.2f} M" for g, n in counts.items())
    yield f"{len(run.labels)} tag classes, {len(run.rows)} rows, {len(run.sounds)} labelled sounds"
    torch.set_num_threads(Processes().threads(config.threads))
    speed = REACHED * 1e9 * gigaflops({"fp32": torch.float32, "bf16": torch.bfloat16}[config.precision])
    minutes = 0.0
    text: Any = model.config.text_config
    for stage in config.stages:
        try:
            length = _length(run, stage)
        except ConfigError as error:
            yield f"{stage.name}: cannot be run yet: {error}"
            continue
        seconds = _operations(config, stage, counts) * length.tokens / speed
        minutes += seconds * length.steps / 60
        memory = _weights(config, stage, counts) + _activations(stage, length, text)
        learned = sum(counts.get(g, 0) for g in stage.train)
        yield (
            f"{stage.name}: {learned / 1e6:.2f} M learn, {length.steps} steps of {length.rows:.1f}, about "
            f"{memory / 2**30:.1f} GiB and {seconds * length.steps / 60:.0f} min ({seconds:.1f} s a step)"
        )
        if config.hears_anew(stage):
            yield f"{stage.name}: its encoders hear every recording anew, whose time is not counted"
    yield f"about {minutes:.0f} min together, validation and the heads for the evidence (10 to 20 min) not counted"
    if config.device != "cpu":
        yield f"these times are the processor's, and device is {config.device}; --gpu counts for a card"


def _length(run: Run, stage: StageConfig) -> Length:
    """Raises: ConfigError, when the stage has nothing to train on."""
    if stage.kind == "align":
        sounds = sum(s.split == "train" for s in run.sounds)
        steps = stage.steps or math.ceil(stage.epochs * sounds / stage.batch_size)
        return Length(steps, stage.batch_size, stage.batch_size * KEYS_PER_CLIP)
    rows = [r for r in run.rows_of(stage) if r.split == "train"]
    batches = planned(rows, stage, f"{run.config.seed} {stage.name}")
    shown = sum(len(bundle) for batch in batches for bundle in batch)
    tokens = sum(_tokens(rows, bundle, run.settings.tokens_per_window) for batch in batches for bundle in batch)
    return Length(len(batches), shown / len(batches), tokens / len(batches))


def _tokens(rows: Sequence[Row], bundle: Bundle, per_window: int) -> int:
    """Of rows about the same recordings, which are read once."""
    audio = per_window * sum(i.windows for i in rows[bundle[0]].items)
    return sum(rows[i].length for i in bundle) - audio * (len(bundle) - 1)


def _operations(config: RunConfig, stage: StageConfig, counts: Mapping[str, int]) -> float:
    """For each token: two a weight forward, two for the gradient of what enters it, two more for its own."""
    if stage.kind == "align":
        return 6.0 * counts["aligner"]
    passes = 4.0 + 2.0 * ("llm" in stage.train) + 2.0 * stage.gradient_checkpointing
    return passes * counts["llm"] + 6.0 * counts["aligner"]


def _weights(config: RunConfig, stage: StageConfig, counts: Mapping[str, int]) -> float:
    """Bytes of all weights, and of gradients and AdamW's averages of those that learn."""
    narrow = stage.kind == "language" and config.narrows(stage)
    own = BITS[config.quantise] / 8 if config.quantise != "none" else 2.0 if narrow else BYTES
    others = sum(n for g, n in counts.items() if g != "llm")
    learned = sum(counts.get(g, 0) for g in stage.train)
    return own * counts["llm"] + BYTES * (others + 3 * learned)


def _activations(stage: StageConfig, length: Length, text: Any) -> float:
    """Bytes that the layers keep for the backward pass."""
    if stage.kind == "align":
        return 0.0
    kept = KEPT_AGAIN if stage.gradient_checkpointing else KEPT_OF_A_LAYER
    return float(length.tokens / stage.accumulate * text.num_hidden_layers * text.hidden_size * kept * BYTES)
