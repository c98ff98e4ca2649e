"""Time and memory of a training step beside transformers' audio models of the same size: `python -m bench.steps`.

A step is forward, backward and AdamW. Each model runs in a process of its own, one after the other, with random
weights and the same text. Time is the processor's, of one thread, so that other work on the machine does not count.
Written to `docs/steps.md`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from bench.memory import peak_mebibytes
from bench.step_models import LEARNS, SYSTEMS, Shape

SECONDS = (10.0, 30.0)
THEIRS = ("Qwen2-Audio", "Audio Flamingo 3", "Voxtral")
EQUAL = ("prefix", "keys_values")
FASTER, SMALLER = 3.0, 0.4
"""What is aimed at, with 30 s of audio."""


def measure(name: str, learns: str, seconds: float, steps: int, shape: Shape) -> dict[str, Any]:
    """One model, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = peak_mebibytes()
    system = SYSTEMS[name](shape, seconds, learns)
    optimizer = torch.optim.AdamW(system.learning(), lr=1e-4)
    spent = []
    for _ in range(steps + 1):  # the first one makes the optimizer's state
        started = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        system.loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        spent.append(time.process_time() - started)
    return {
        "name": name, "learns": learns, "seconds": seconds, "step_seconds": min(spent[1:]),
        "megabytes": peak_mebibytes() - before, "tokens": system.tokens,
        "learning": sum(p.numel() for p in system.learning()),
        "parameters": sum(p.numel() for p in system.model.parameters()),
    }  # fmt: skip


def _of(results: Iterable[dict[str, Any]], name: str, learns: str, seconds: float) -> dict[str, Any]:
    return next(r for r in results if (r["name"], r["learns"], r["seconds"]) == (name, learns, seconds))


def table(results: Sequence[dict[str, Any]], names: Sequence[str], base: str) -> str:
    """Markdown; ratios are against `base` at the same length and with the same parts learning."""
    lines = [
        "| learns | audio | model | audio tokens | parameters that learn | processor time a step | steps/s against "
        f"{base} | memory | memory against {base} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        if one["name"] not in names:
            continue
        other = _of(results, base, one["learns"], one["seconds"])
        lines.append(
            f"| {one['learns']} | {one['seconds']:.0f} s | {one['name']} | {one['tokens']} "
            f"| {one['learning'] / 1e6:.1f} M of {one['parameters'] / 1e6:.1f} M | {one['step_seconds']:.2f} s "
            f"| {other['step_seconds'] / one['step_seconds']:.2f} | {one['megabytes']:.0f} MB "
            f"| {one['megabytes'] / other['megabytes']:.2f} |"
        )
    return "\n".join(lines)


def verdict(results: Sequence[dict[str, Any]]) -> str:
    """Whether the aim is reached at 30 s: as each is trained, and with the same parts learning."""
    lines = []
    for learns, how in (("all", "theirs tuned in full"), ("light", "theirs with LoRA, as ours")):
        own = _of(results, "ours", "light", SECONDS[-1])
        for name in THEIRS:
            other = _of(results, name, learns, SECONDS[-1])
            faster = other["step_seconds"] / own["step_seconds"]
            smaller = own["megabytes"] / other["megabytes"]
            reached = "reached" if faster >= FASTER and smaller <= SMALLER else "not reached"
            lines.append(f"- {name}, {how}: {faster:.1f} times the steps, {smaller:.2f} of the memory: {reached}")
    return "\n".join(lines)


def shares(shape: Shape, seconds: float) -> tuple[float, float]:
    """Work of a decoder layer with audio as keys and values, as a part of that with audio in the stream.

    Counted in multiplications with weights, without attention scores: first as published (audio passes key and value
    projections alone), then as here (the stock attention module projects queries and outputs of all rows, too).
    """
    kv = 2 * shape.text_dim * max(1, shape.text_heads // 2) * (shape.text_dim // shape.text_heads)
    qo, ffn = 2 * shape.text_dim**2, 3 * shape.text_dim * shape.text_ffn
    text, audio = shape.asked + shape.answered, round(seconds * 25)
    prefix = (text + audio) * (kv + qo + ffn)
    return (text * (kv + qo + ffn) + audio * kv) / prefix, (text * (kv + qo + ffn) + audio * (kv + qo)) / prefix


def page(results: Sequence[dict[str, Any]], shape: Shape, command: str) -> str:
    """The whole text."""
    published, here = shares(shape, SECONDS[-1])
    learns = "\n".join(f"- {name}: {what}" for name, what in LEARNS.items())
    pair = [_of(results, n, "all", SECONDS[-1]) for n in EQUAL]
    faster = pair[0]["step_seconds"] / pair[1]["step_seconds"] - 1
    smaller = pair[1]["megabytes"] / pair[0]["megabytes"] - 1
    return f"""# A training step, beside transformers' audio models

```
{command}
```

A step is forward, backward and AdamW on {shape.batch} recordings with {shape.asked} words of text and an answer of
{shape.answered}, in float32 on one thread; time is the processor's (best of the steps after the first), memory what the
process took on top of its libraries. Every model has the same language model ({shape.text_layers} layers of
{shape.text_dim}, {shape.vocabulary} words) and the same encoder ({shape.ear_layers} Whisper layers of {shape.ear_dim}),
with random weights. Each ran in a process of its own. What learns:

{learns}

Ours is trained as `light`; Audio Flamingo 3's published scripts tune everything in their main stage, and for
Qwen2-Audio and Voxtral the same is taken. Since much of the difference is what learns, both were measured for all.

{table(results, ("ours", *THEIRS), "ours")}

Aim, with 30 s of audio: {FASTER:g} times the steps a second and {SMALLER:g} of the memory, ours as it is trained:

{verdict(results)}

Where it comes from: the three classes always hear 30 s, and give their decoder 250 to 750 positions where ours has 20
in each window of 10 s, from a quarter of the decoder's layers on. They also make logits of every position; ours of the
answer's alone. With `all`, ours loses part of its lead, for it then trains the encoder on all of the audio, too.

## Keys and values against prefix

Our model with 25 tokens a second that enter at the first layer, by a linear aligner. PAL reports 190 to 247 % more
throughput and 60 to 64 % less memory.

{table(results, EQUAL, "prefix")}

Here, with 30 s and everything learning: {100 * faster:+.0f} % throughput, {100 * smaller:+.0f} % memory. As published,
audio passes a layer's key and value projections alone: {100 * published:.0f} % of the multiplications with weights that
`prefix` needs in this shape. Ours calls the language model's own attention module, which projects queries and outputs
of all rows, so {100 * here:.0f} % is the least that can be had; the encoder costs both the same, and the attention
scores of the audio's queries are computed and thrown away. The gain grows with the feed-forward block's share.
"""


def main(
    steps: Annotated[int, typer.Option(min=1, help="Measured ones, besides the first.")] = 3,
    out: Annotated[Path, typer.Option(help="Page to write; its numbers lie beside it.")] = Path("docs/steps.md"),
) -> None:
    """Measure all of them."""
    shape, results = Shape(), []
    torch.set_num_threads(1)  # before the processes branch off, which then need not import everything again
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        for what in LEARNS:
            for length in SECONDS:
                for name in SYSTEMS:
                    results.append(pool.apply(measure, (name, what, length, steps, shape)))
                    sys.stderr.write(json.dumps(results[-1]) + "\n")
    out.write_text(page(results, shape, f"python -m bench.steps --steps={steps}"), encoding="utf-8")
    numbers = json.dumps({"shape": asdict(shape), "results": results}, indent=1)
    out.with_suffix(".json").write_text(numbers + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
