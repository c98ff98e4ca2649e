"""Time and memory of a training step beside transformers' audio models of the same size: `python -m bench.steps`.

A step is forward, backward and AdamW. Each model runs in a process of its own, one after the other, with random
weights and the same text. Time is the processor's, of one thread, so that other work on the machine does not count.
Written to `docs/steps.md`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from bench.memory import peak_from_now_on, peak_mebibytes
from bench.step_models import CASES, FROM_FEATURES, LEARNS, SYSTEMS, TOKENS_A_SECOND, Shape
from bench.timing import best_time, training_step

SECONDS = (10.0, 30.0)
THEIRS = ("Qwen2-Audio", "Audio Flamingo 3", "Voxtral")
EQUAL = ("prefix", "keys_values")
WIDE = Shape(text_dim=2048, text_layers=4, text_heads=32, text_ffn=8192)
"""Decoder layers as those of Llama-3.2-1B (with half as many keys as queries)."""
FASTER, SMALLER = 3.0, 0.4
"""What is aimed at, with 30 s of audio."""


def measure(name: str, learns: str, seconds: float, steps: int, shape: Shape) -> dict[str, Any]:
    """One model, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = peak_from_now_on()
    system = SYSTEMS[name](shape, seconds, learns)
    spent = best_time(training_step(system.learning(), system.loss), steps)
    return {
        "name": name, "learns": learns, "seconds": seconds, "step_seconds": spent,
        "megabytes": peak_mebibytes() - before, "tokens": system.tokens,
        "learning": sum(p.numel() for p in system.learning()),
        "parameters": sum(p.numel() for p in system.model.parameters()),
    }  # fmt: skip


def _of(results: Iterable[dict[str, Any]], name: str, learns: str, seconds: float) -> dict[str, Any]:
    return next(r for r in results if (r["name"], r["learns"], r["seconds"]) == (name, learns, seconds))


def table(results: Sequence[dict[str, Any]], names: Sequence[str], base: str) -> str:
    """Markdown; ratios are against `base` at the same length and with the same parts learning."""
    lines = [
        "| audio | learns | model | audio tokens | parameters that learn | processor time a step | steps/s against "
        f"{base} | memory | memory against {base} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        if one["name"] not in names:
            continue
        other = _of(results, base, one["learns"], one["seconds"])
        lines.append(
            f"| {one['seconds']:.0f} s | {one['learns']} | {one['name']} | {one['tokens']} "
            f"| {one['learning'] / 1e6:.1f} M of {one['parameters'] / 1e6:.1f} M | {one['step_seconds']:.2f} s "
            f"| {other['step_seconds'] / one['step_seconds']:.2f} | {one['megabytes']:.0f} MB "
            f"| {one['megabytes'] / other['megabytes']:.2f} |"
        )
    return "\n".join(lines)


def verdict(results: Sequence[dict[str, Any]], name: str = "ours") -> str:
    """Whether the aim is reached at 30 s by `name`: as each is trained, and with the same parts learning."""
    lines = []
    own = _of(results, name, "light", SECONDS[-1])
    for learns, how in (("all", "theirs tuned in full"), ("light", "theirs with LoRA, as ours")):
        for rival in THEIRS:
            other = _of(results, rival, learns, SECONDS[-1])
            faster = other["step_seconds"] / own["step_seconds"]
            smaller = own["megabytes"] / other["megabytes"]
            reached = "reached" if faster >= FASTER and smaller <= SMALLER else "not reached"
            lines.append(f"- {rival}, {how}: {faster:.1f} times the steps, {smaller:.3f} of the memory: {reached}")
    return "\n".join(lines)


def share(shape: Shape, audio: int) -> float:
    """Work of a decoder layer with audio as keys and values, as a part of that with audio in the stream.

    Counted in multiplications with weights and of attention scores; the audio passes key and value projections alone.

    Args:
        audio: rows of audio.
    """
    dim, text = shape.text_dim, shape.asked + shape.answered
    keys = max(1, shape.text_heads // 2) * (dim // shape.text_heads)
    rest = 2 * dim**2 + 3 * dim * shape.text_ffn + 2 * dim * (text + audio)
    return ((text + audio) * 2 * dim * keys + text * rest) / ((text + audio) * (2 * dim * keys + rest))


def gains(results: Sequence[dict[str, Any]]) -> str:
    """What keys and values bring with the longest audio, for each of what learns."""
    lines = []
    for learns in LEARNS:
        prefix, own = (_of(results, n, learns, SECONDS[-1]) for n in EQUAL)
        faster, smaller = prefix["step_seconds"] / own["step_seconds"] - 1, own["megabytes"] / prefix["megabytes"] - 1
        lines.append(f"- {learns}: {100 * faster:+.0f} % throughput, {100 * smaller:+.0f} % memory")
    return "\n".join(lines)


def page(results: Sequence[dict[str, Any]], wide: Sequence[dict[str, Any]], shape: Shape, command: str) -> str:
    """The whole text.

    Args:
        wide: results of `EQUAL` in the shape `WIDE`, with the longest audio.
    """
    audio = round(SECONDS[-1] * TOKENS_A_SECOND)
    learns = "\n".join(f"- {name}: {what}" for name, what in LEARNS.items())
    return f"""# A training step, beside transformers' audio models

```
{command}
```

A step is forward, backward and AdamW on a batch of {shape.batch} with {shape.asked} words of text and an answer of
{shape.answered}, in float32 on one thread; time is the processor's (best of the steps after the first), memory what the
process took on top of its libraries. Every model has the same language model ({shape.text_layers} layers of
{shape.text_dim}, {shape.vocabulary} words) and the same encoder ({shape.ear_layers} Whisper layers of {shape.ear_dim}),
with random weights. Each ran in a process of its own. What learns:

{learns}

Ours is trained as `light`, and from features that the frozen encoder gave once (`alm train --prepare` keeps them on
disk), so that a step has no encoder in it; the three classes take spectrograms alone. Audio Flamingo 3's published
scripts tune everything in their main stage, and for Qwen2-Audio and Voxtral the same is taken. Since much of the
difference is what learns, both were measured for all.

{table(results, ("ours", FROM_FEATURES, *THEIRS), "ours")}

Aim, with 30 s of audio: {FASTER:g} times the steps a second and {SMALLER:g} of the memory. Ours as it is trained,
from features:

{verdict(results, FROM_FEATURES)}

Ours with the encoder in the step:

{verdict(results)}

Where it comes from: the three classes always hear 30 s, and give their decoder 250 to 750 positions where ours has 20
in each window of 10 s, from a quarter of the decoder's layers on. They also make logits of every position; ours of the
answer's alone. Much is also what learns: with the same parts learning the lead is smaller, and with everything learning
smallest, for the encoder's work on all of the audio is then the larger part of ours (its windows overlap, too).

## Keys and values against prefix

Our model with 25 tokens a second that enter at the first layer, by a linear aligner. PAL reports 190 to 247 % more
throughput and 60 to 64 % less memory.

{table(results, EQUAL, "prefix")}

{gains(results)}

And with a language model of {WIDE.text_layers} layers in the shape of Llama-3.2-1B's ({WIDE.text_dim} wide,
{WIDE.text_ffn} in the feed-forward block), the same encoder and {SECONDS[-1]:.0f} s:

{table(wide, EQUAL, "prefix")}

{gains(wide)}

What can be had: the audio's rows pass a layer's key and value projections alone, the stock attention runs on the text's
(`alm/fusion/keys_only.py`). That is {100 * share(shape, audio):.0f} % of the multiplications that `prefix` needs in a
layer of the first shape and {100 * share(WIDE, audio):.0f} % in the second; encoder, aligner, embeddings and the
optimizer come on top for both alike, so that the gain is largest where the language model is large beside the encoder
and most of it is frozen. With everything learning the optimizer's pass over all weights is a large part of a step of
one row.
"""


def _told(result: dict[str, Any]) -> dict[str, Any]:
    sys.stderr.write(json.dumps(result) + "\n")
    return result


def main(
    steps: Annotated[int, typer.Option(min=1, help="Measured ones, besides the first.")] = 3,
    out: Annotated[Path, typer.Option(help="Page to write; its numbers lie beside it.")] = Path("docs/steps.md"),
) -> None:
    """Measure all of them."""
    shape = Shape()
    torch.set_num_threads(1)  # before the processes branch off, which then need not import everything again
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        results = [
            _told(pool.apply(measure, (name, what, length, steps, shape)))
            for length in SECONDS for what, name in CASES
        ]  # fmt: skip
        wide = [_told(pool.apply(measure, (name, what, SECONDS[-1], steps, WIDE))) for what in LEARNS for name in EQUAL]
    out.write_text(page(results, wide, shape, f"python -m bench.steps --steps={steps}"), encoding="utf-8")
    told = {"shape": asdict(shape), "results": results, "wide": {"shape": asdict(WIDE), "results": wide}}
    numbers = json.dumps(told, indent=1)
    out.with_suffix(".json").write_text(numbers + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
