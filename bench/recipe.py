"""The 7B-class recipe on paper, and what the same reckoning says of small models that are really trained.

`python -m bench.recipe` measures steps of small random models, each in a process of its own, and writes the page
docs/recipe-7b.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.live_tensors import LiveTensors
from bench.timing import best_time
from training import paper
from training.config import ExpectedConfig, LoraSettings, RunConfig, StageConfig, load_config

CONFIGS = Path("training/configs/published")
RECIPES = ("recipe-llama-3.1-8b", "recipe-qwen2.5-7b")
MACHINES = ("1xh100", "8xh100", "8xa100")
SHAPES = {"192 wide, 4 deep": (192, 512, 4), "256 wide, 8 deep": (256, 704, 8), "384 wide, 8 deep": (384, 1024, 8)}
"""Width, inner width, layers of decoders like the 7B ones."""
TEXT, AUDIO, ANSWER, ROWS, VOCABULARY = 80, 32, 30, 8, 8_000
STEPS = 3
LORA = LoraSettings(rank=8, alpha=16, dropout=0.0, targets=("q_proj", "v_proj"), from_start_layer=False)


def text_config(name: str) -> Any:
    """A decoder of the Llama shape."""
    width, inner, layers = SHAPES[name]
    return AutoConfig.for_model(
        "llama", hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=width // 64,
        num_key_value_heads=width // 64, vocab_size=VOCABULARY, tie_word_embeddings=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How a small model is trained."""

    learns: str = "lora"
    """`lora` on frozen weights, or `llm`: all of them."""
    precision: str = "fp32"
    again: bool = False
    """Layers are computed again in the backward pass."""

    def __str__(self) -> str:
        words = ["all weights" if self.learns == "llm" else "LoRA", self.precision]
        return ", ".join([*words, "computed again"] if self.again else words)


WAYS = tuple(Way(learns, precision, again) for learns in ("lora", "llm") for precision in ("fp32", "bf16")
             for again in (False, True))  # fmt: skip
OF_WAYS = "256 wide, 8 deep"
"""The shape in which all ways are measured; the others are measured with LoRA in float32."""


def small_step(name: str, rows: int, way: Way) -> Callable[[], None]:
    """A random model of this shape, and a step of it."""
    from peft import LoraConfig, inject_adapter_in_model

    model = AutoModelForCausalLM.from_config(text_config(name)).requires_grad_(way.learns == "llm").train()
    half = way.precision == "bf16"
    if way.learns == "lora":
        for module in model.modules():
            if half and isinstance(module, torch.nn.Linear):
                module.weight.data = module.weight.data.to(torch.bfloat16)
        inject_adapter_in_model(LoraConfig(r=LORA.rank, target_modules=list(LORA.targets)), model.model)
    if way.again:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    states = torch.randn(rows, TEXT + AUDIO, model.config.hidden_size)
    truth = torch.randint(VOCABULARY, (rows * ANSWER,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            hidden = model.model(inputs_embeds=states, use_cache=False).last_hidden_state[:, -ANSWER:]
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden.flatten(0, 1)).float(), truth)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(name: str, rows: int) -> dict[str, float]:
    """Seconds of this process's CPU that a step takes, with frozen weights and LoRA that learns."""
    torch.set_num_threads(1)
    taken = best_time(small_step(name, rows, Way()), STEPS)
    return {"seconds": taken, "rate": _rate()}


def live_bytes(name: str, rows: int, way: Way) -> int:
    """Most bytes of tensors at once in a step, besides the weights; the second one, when AdamW has its averages."""
    step = small_step(name, rows, way)
    alive = LiveTensors()
    with alive:
        step()
        step()
    return alive.peak


def _rate() -> float:
    """Operations a second of plain products on this processor, one thread."""
    left, right = torch.randn(900, 576), torch.randn(576, 1536)

    def product() -> None:
        left @ right

    return 2 * 900 * 576 * 1536 / best_time(product, 20)


@dataclass(frozen=True)
class Check:
    """One small model: what was measured, and what the reckoning says."""

    name: str
    rows: int
    operations: float
    rate: float
    seconds: float


@dataclass(frozen=True)
class Memory:
    """The same of one way to train it, in bytes besides the weights."""

    name: str
    way: Way
    live: float
    said: float


def check(name: str, rows: int) -> Check:
    """Measure in a process of its own and compare."""
    command = [sys.executable, "-m", "bench.recipe", "--one", name, "--rows", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    own = paper.cost(*_on_paper(name, rows, Way()))
    return Check(name, rows, own.operations, found["rate"], found["seconds"])


def check_memory(name: str, rows: int, way: Way) -> Memory:
    """Measure and compare."""
    own = paper.cost(*_on_paper(name, rows, way))
    said = own.kept + own.copies + own.learned * paper.LEARNING_BYTES
    return Memory(name, way, live_bytes(name, rows, way), said)


def _on_paper(name: str, rows: int, way: Way) -> tuple[paper.Sizes, StageConfig, RunConfig]:
    stage = StageConfig(
        name="check", kind="language", train=(way.learns,), steps=1, lr={way.learns: 1e-3}, batch_size=rows,
        gradient_checkpointing=way.again,
        expected=ExpectedConfig(text_tokens=TEXT, answer_tokens=ANSWER, seconds=10.0),
    )  # fmt: skip
    config = load_config(CONFIGS / "ltu.yaml")
    settings = text_config(name).to_dict()
    branch = {"encoders": ["ast"], "aligner": {"kind": "linear", "num_queries": AUDIO}, "fusion": {
        "scheme": "prefix", "start_layer": 0}}  # fmt: skip
    base = replace(config.base, text_config={"model_type": "llama", **settings})
    model = {**config.model, "branches": [branch]}
    data = replace(config.data, cache="features")
    changed = replace(config, base=base, model=model, data=data, lora=LORA, stages=(stage,), precision=way.precision)
    sizes = paper.measure(changed)
    return replace(sizes, groups={**sizes.groups, "aligner": 0}), stage, changed


def page(checks: list[Check], memories: list[Memory]) -> Iterator[str]:
    """Lines of docs/recipe-7b.md."""
    yield from (
        "# A 7B-class assistant on paper", "",
        "Written by `python -m bench.recipe`. Nothing on this page was trained at this size: parameters are counted on",
        "modules without memory, what a layer keeps for the backward pass on tensors without data, time from",
        f"operations at {paper.REACHED:.0%} of a card's peak. The check at the end says how far the same reckoning is",
        "off for small models.",
        "", "The same for your own file: `alm train FILE --dry-run --gpu 8xh100`.", "",
    )  # fmt: skip
    for name in RECIPES:
        config = load_config(CONFIGS / f"{name}.yaml")
        yield from (f"## {name.removeprefix('recipe-')}, Whisper-large-v3 and BEATs", "")
        for machine in MACHINES:
            yield from (f"`alm train {CONFIGS / name}.yaml --dry-run --gpu {machine}`", "")
            yield from (f"    {line}" for line in paper.report(config, machine))
            yield ""
    yield from _checked(checks)
    yield from _remembered(memories)


def _checked(checks: list[Check]) -> Iterator[str]:
    yield from (
        "## Check against steps that were measured", "",
        f"Random decoders of the same shape, {checks[0].rows} rows of {TEXT} text and {AUDIO} audio tokens.", "",
        "Time, in float32 with LoRA on queries and values: of the processor with one thread, so that other programs "
        "count little; the reached share is of the rate that plain products have in the same process.", "",
        "| decoder | TFLOP a step | seconds | share of plain products |",
        "|---|---|---|---|",
    )  # fmt: skip
    for c in checks:
        share = c.operations / c.seconds / c.rate
        yield f"| {c.name} | {c.operations / 1e12:.3f} | {c.seconds:.2f} | {share:.0%} |"
    ends = [c.operations / c.seconds / c.rate for c in checks]
    yield from (
        "", f"Over {checks[-1].operations / checks[0].operations:.0f} times the operations the reached share is "
        f"{min(ends):.0%} to {max(ends):.0%}. What a GPU reaches is an assumption; where a card is at hand,",
        "`log.jsonl` of a run has the seconds of each step.", "",
    )  # fmt: skip


def _remembered(memories: list[Memory]) -> Iterator[str]:
    yield from (
        "Memory besides the weights: bytes of all tensors that are alive at the worst moment of a step.", "",
        "| decoder | learns | measured | said | said / measured |",
        "|---|---|---|---|---|",
    )  # fmt: skip
    for m in memories:
        yield (
            f"| {m.name} | {m.way} | {m.live / 2**20:.0f} MiB | {m.said / 2**20:.0f} MiB | {m.said / m.live:.2f} |"
        )
    ratios = [m.said / m.live for m in memories]
    yield from (
        "", f"What is said is {min(ratios):.2f} to {max(ratios):.2f} times what was measured. It is too much where "
        "little is kept: gradients of weights", "and what the backward pass has kept are taken to be there at once. "
        f"A card's allocator has more than the tensors; {1 - paper.USABLE:.0%} of a", "card is left for that.",
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--one", choices=SHAPES, help=argparse.SUPPRESS)
    options.add_argument("--rows", type=int, default=ROWS, help="rows of a measured step")
    options.add_argument("--out", type=Path, default=Path("docs/recipe-7b.md"))
    chosen = options.parse_args()
    if chosen.one:
        sys.stdout.write(json.dumps(seconds(chosen.one, chosen.rows)) + "\n")
        return
    checks = [check(name, chosen.rows) for name in SHAPES]
    ways = [(name, way) for name in SHAPES for way in (WAYS if name == OF_WAYS else WAYS[:1])]
    memories = [check_memory(name, chosen.rows, way) for name, way in ways]
    chosen.out.write_text("\n".join(page(checks, memories)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
