"""What each way into the decoder costs, in the shape of `tiny`: `python -m bench.schemes`.

The arms of the study (training/study/arms.py) about schemes, depths, aligners and numbers of tokens, each in a process
of its own, one after the other. A step is forward, backward and AdamW on what the study trains, from features of the
encoders, since these are the same for all and kept. Time is the processor's, of one thread. Written to
`docs/schemes.md`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from alm.audio import Waveform
from alm.modeling import AlmForConditionalGeneration
from bench.memory import peak_from_now_on, peak_mebibytes
from bench.timing import best_time, training_step
from training.config import RunConfig, load_config
from training.features import as_inputs
from training.groups import add_lora, set_trainable
from training.models import find_base, make_ear, make_model, model_config
from training.study.arms import ARMS, BASE, Arm, configured

CONFIG = Path("training/configs/study.yaml")
ARMS_MEASURED = [a for a in ARMS if a.part == "a" or (a.part == "d" and a.aligner)]
SYSTEM, QUESTION, ANSWER, RECORDINGS, RATE = 40, 24, 12, 4, 16_000
"""Tokens of a prompt's parts, recordings in a step, samples a second."""


def hear(config: RunConfig, seconds: float) -> tuple[dict[str, Tensor], int]:
    """What the encoders make of noise, once for each recording of a step, and the windows of one."""
    ear = make_ear(config, find_base(config))
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32) * 0.1
    recording = Waveform(noise, RATE, "noise", 1)
    spans = ear.extractor.spans(recording)
    with torch.no_grad():
        heard = ear.hearing.encode(ear.extractor.features(recording, spans))
    return {n: torch.cat([t] * RECORDINGS) for n, t in as_inputs(heard).items()}, len(spans)


def text(model: AlmForConditionalGeneration, audio: int) -> Tensor:
    """`[recordings, time]` ids: system prompt, audio, question, answer."""
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(100, 20_000, (RECORDINGS, SYSTEM + QUESTION + ANSWER), generator=generator)
    places = torch.full((RECORDINGS, audio), model.config.audio_token_id)
    return torch.cat([words[:, :SYSTEM], places, words[:, SYSTEM:]], dim=1)


def measure(arm: Arm, seconds: float, steps: int) -> dict[str, Any]:
    """One arm, in this process."""
    torch.set_num_threads(1)
    config = replace(configured(load_config(CONFIG), arm, 1), precision="fp32", device="cpu")
    inputs, count = hear(config, seconds)
    base = find_base(config)
    model, _ = make_model(config, base, model_config(config, base, []))
    add_lora(model, config.lora)
    learning = list(set_trainable(model, config.stages[-1].train).values())
    inputs["audio_windows"] = torch.full((RECORDINGS,), count)
    audio = count * model.config.tokens_per_window
    ids = text(model, audio)
    first = best_time(partial(_first_token, model, ids, inputs, count), steps)
    before = peak_from_now_on()
    step = training_step(learning, partial(_loss, model, ids, inputs))
    return {
        "arm": arm.name, "seconds": seconds, "tokens": audio, "step_seconds": best_time(step, steps),
        "megabytes": peak_mebibytes() - before, "first_token_seconds": first,
        "learning": sum(p.numel() for p in learning),
    }  # fmt: skip


def _loss(model: AlmForConditionalGeneration, ids: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    hidden = model.model(input_ids=ids, **inputs).last_hidden_state[:, -ANSWER - 1 : -1]
    return F.cross_entropy(model.lm_head(hidden).float().flatten(0, 1), ids[:, -ANSWER:].flatten())


@torch.no_grad()
def _first_token(model: AlmForConditionalGeneration, ids: Tensor, inputs: dict[str, Tensor], windows: int) -> None:
    """From features to the first word of one answer."""
    one = {n: t[:windows] for n, t in inputs.items() if n != "audio_windows"}
    one["audio_windows"] = torch.tensor([windows])
    hidden = model.model(input_ids=ids[:1, :-ANSWER], use_cache=True, **one).last_hidden_state[:, -1]
    model.lm_head(hidden).argmax(-1)


def page(results: Sequence[dict[str, Any]], command: str) -> str:
    """The whole text."""
    lines = []
    for one in results:
        base = next(r for r in results if r["arm"] == BASE and r["seconds"] == one["seconds"])
        shares = [one[k] / base[k] for k in ("step_seconds", "megabytes", "first_token_seconds")]
        lines.append(
            f"| {one['seconds']:.0f} s | {one['arm']} | {one['tokens']} | {one['learning'] / 1e6:.1f} M "
            f"| {one['step_seconds']:.2f} s | {shares[0]:.2f} | {one['megabytes']:.0f} MB | {shares[1]:.2f} "
            f"| {1000 * one['first_token_seconds']:.0f} ms | {shares[2]:.2f} |"
        )
    rows = "\n".join(lines)
    return f"""# What each way into the decoder costs

```
{command}
```

The shape of `tiny` (SmolLM2-135M, 30 layers), the arms of the study: the number in a name is the layer at which audio
enters, or the tokens of a window. A step is forward, backward and AdamW on {RECORDINGS} recordings, each with {SYSTEM}
tokens of system prompt, a question of {QUESTION} and an answer of {ANSWER}; aligner, entry and LoRA everywhere learn.
Memory is what a step takes on top of model and features; the first token is that of one question, from features. One
thread, float32, the processor's time (best of the steps after the first); the encoders' own time is the same for all
and not in it. "against" is against `{BASE}`, which ships.

| audio | arm | audio tokens | learns | step | against | memory | against | first token | against |
|---|---|---|---|---|---|---|---|---|---|
{rows}
"""


def main(
    steps: Annotated[int, typer.Option(min=1, help="Measured ones, besides the first.")] = 3,
    out: Annotated[Path, typer.Option(help="Page to write; its numbers lie beside it.")] = Path("docs/schemes.md"),
    seconds: Annotated[list[float] | None, typer.Option(help="Lengths of audio.")] = None,
) -> None:
    """Measure all of them."""
    results = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for length in seconds or (10.0, 30.0):
            for arm in ARMS_MEASURED:
                results.append(pool.apply(measure, (arm, length, steps)))
                sys.stderr.write(json.dumps(results[-1]) + "\n")
    out.write_text(page(results, f"python -m bench.schemes --steps={steps}"), encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
