"""What a run would take, before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from training.groups import group_of
from training.precision import gigaflops

if TYPE_CHECKING:
    from training.run import Run

REACHED = 0.8
"""Share of the speed of plain products that a step reaches, counted as below: 0.7 in bf16, 0.95 in fp32, two cores."""
TOKENS_PER_ROW = 85
KEYS_PER_CLIP = 60
BYTES = 4


def describe(run: Run) -> Iterator[str]:
    """Parameters by group; per stage what learns, memory and time at this machine's measured speed."""
    model, config = run.fresh()[0], run.config
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        counts[group_of(name)] = counts.get(group_of(name), 0) + parameter.numel()
    yield "parameters: " + ", ".join(f"{g} {n / 1e6:.2f} M" for g, n in counts.items())
    yield f"{len(run.labels)} tag classes, {len(run.rows)} rows, {len(run.sounds)} labelled sounds"
    total = sum(counts.values())
    speed = REACHED * 1e9 * gigaflops({"fp32": torch.float32, "bf16": torch.bfloat16}[config.precision])
    minutes = 0.0
    text: Any = model.config.text_config
    for stage in config.stages:
        learned = sum(counts.get(g, 0) for g in stage.train)
        width = counts["aligner"] if stage.kind == "align" else counts["llm"] + counts["aligner"]
        tokens = stage.batch_size * (TOKENS_PER_ROW if stage.kind == "language" else KEYS_PER_CLIP)
        # Forward and backward; the frozen language model needs no gradients of its weights.
        work = (4.0 if stage.kind == "language" else 6.0) * width * tokens
        seconds = work / speed
        minutes += seconds * stage.steps / 60
        activations = 0 if stage.kind == "align" else tokens * text.num_hidden_layers * text.hidden_size * 30 * BYTES
        memory = (total + 3 * learned) * BYTES + activations
        yield (
            f"{stage.name}: {learned / 1e6:.2f} M learn, {stage.steps} steps of {stage.batch_size}, about "
            f"{memory / 2**30:.1f} GiB and {seconds * stage.steps / 60:.0f} min ({seconds:.1f} s a step)"
        )
    yield f"about {minutes:.0f} min together, validation and the heads for the evidence (10 to 20 min) not counted"
