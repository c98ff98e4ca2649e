"""The 7B-class recipe on paper, and what the same reckoning says of small models that are really trained.

`python -m bench.recipe` measures steps of small random models, each in a process of its own, and writes the page
docs/recipe-7b.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.memory import peak_from_now_on, peak_mebibytes
from training import paper
from training.config import ExpectedConfig, LoraSettings, RunConfig, StageConfig, load_config

CONFIGS = Path("training/configs/published")
RECIPES = ("recipe-llama-3.1-8b", "recipe-qwen2.5-7b")
MACHINES = ("1xh100", "8xh100", "8xa100")
SHAPES = {"192 wide, 4 deep": (192, 512, 4), "256 wide, 8 deep": (256, 704, 8), "384 wide, 8 deep": (384, 1024, 8)}
"""Width, inner width, layers of decoders like the 7B ones."""
TEXT, AUDIO, ANSWER, ROWS, VOCABULARY = 80, 32, 30, 8, 8_000
STEPS, WARM_UP = 3, 1
LORA = LoraSettings(rank=8, alpha=16, dropout=0.0, targets=("q_proj", "v_proj"), from_start_layer=False)


def text_config(name: str) -> Any:
    """A decoder of the Llama shape."""
    width, inner, layers = SHAPES[name]
    return AutoConfig.for_model(
        "llama", hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=width // 64,
        num_key_value_heads=width // 64, vocab_size=VOCABULARY, tie_word_embeddings=False,
    )  # fmt: skip


def measure(name: str, rows: int) -> dict[str, float]:
    """Seconds of this process's CPU a step, and its largest memory, with frozen weights and LoRA that learns."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_config(text_config(name)).requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=LORA.rank, target_modules=list(LORA.targets)), model.model)
    learned = [p for n, p in model.named_parameters() if "lora_" in n]
    optimizer = torch.optim.AdamW(learned)
    before = peak_from_now_on() * 2**20
    states = torch.randn(rows, TEXT + AUDIO, model.config.hidden_size)
    truth = torch.randint(VOCABULARY, (rows * ANSWER,))
    taken = []
    for _ in range(WARM_UP + STEPS):
        started = time.process_time()
        hidden = model.model(inputs_embeds=states, use_cache=False).last_hidden_state[:, -ANSWER:]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden.flatten(0, 1)).float(), truth)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append(time.process_time() - started)
    return {"seconds": min(taken[WARM_UP:]), "more": peak_mebibytes() * 2**20 - before, "rate": _rate()}


def _rate() -> float:
    """Operations a second of plain products on this processor, one thread."""
    left, right = torch.randn(900, 576), torch.randn(576, 1536)
    taken = []
    for _ in range(20):
        started = time.process_time()
        left @ right
        taken.append(time.process_time() - started)
    return 2 * 900 * 576 * 1536 / sorted(taken)[10]


@dataclass(frozen=True)
class Check:
    """One small model: what was measured, and what the reckoning says."""

    name: str
    rows: int
    operations: float
    rate: float
    seconds: float
    more: float
    said: float


def check(name: str, rows: int) -> Check:
    """Measure in a process of its own and compare."""
    command = [sys.executable, "-m", "bench.recipe", "--one", name, "--rows", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    stage = StageConfig(
        name="check", kind="language", train=("lora",), steps=1, lr={"lora": 1e-3}, batch_size=rows,
        expected=ExpectedConfig(text_tokens=TEXT, answer_tokens=ANSWER, seconds=10.0),
    )  # fmt: skip
    own = paper.cost(*_on_paper(name, stage))
    learning = own.learned * paper.LEARNING_BYTES
    return Check(name, rows, own.operations, found["rate"], found["seconds"], found["more"], own.kept + learning)


def _on_paper(name: str, stage: StageConfig) -> tuple[paper.Sizes, StageConfig, RunConfig]:
    config = load_config(CONFIGS / "ltu.yaml")
    settings = text_config(name).to_dict()
    branch = {"encoders": ["ast"], "aligner": {"kind": "linear", "num_queries": AUDIO}, "fusion": {
        "scheme": "prefix", "start_layer": 0}}  # fmt: skip
    base = replace(config.base, text_config={"model_type": "llama", **settings})
    model = {**config.model, "branches": [branch]}
    data = replace(config.data, cache="features")
    changed = replace(config, base=base, model=model, data=data, lora=LORA, stages=(stage,), precision="fp32")
    sizes = paper.measure(changed)
    return replace(sizes, groups={**sizes.groups, "aligner": 0}), stage, changed


def page(checks: list[Check]) -> Iterator[str]:
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


def _checked(checks: list[Check]) -> Iterator[str]:
    yield from (
        "## Check against steps that were measured", "",
        "Random decoders of the same shape in float32, one thread, LoRA on queries and values, so many rows of "
        f"{TEXT} text and {AUDIO} audio tokens.", "",
        "Time is of the processor, so that other programs count little; the reached share is of the rate that plain "
        "products have in the same process.", "",
        "| decoder | rows | TFLOP a step | seconds | share of plain products | memory of a step | said | ratio |",
        "|---|---|---|---|---|---|---|---|",
    )  # fmt: skip
    for c in checks:
        yield (
            f"| {c.name} | {c.rows} | {c.operations / 1e12:.3f} | {c.seconds:.2f} | "
            f"{c.operations / c.seconds / c.rate:.0%} | {c.more / 2**20:.0f} MiB | {c.said / 2**20:.0f} MiB | "
            f"{c.said / c.more:.2f} |"
        )
    ends = [c.operations / c.seconds / c.rate for c in checks]
    yield from (
        "", f"Over {checks[-1].operations / checks[0].operations:.0f} times the operations the reached share is "
        f"{min(ends):.0%} to {max(ends):.0%}. What a GPU reaches is an assumption; where a card is at hand,",
        "`log.jsonl` of a run has the seconds of each step.", "",
        f"Memory: a measured step takes {min(c.more / c.said for c in checks):.1f} to "
        f"{max(c.more / c.said for c in checks):.1f} times what is reckoned, alike at all sizes. The reckoning counts "
        "what is kept for the backward pass, not what comes and goes in it. Leave room for it.",
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--one", choices=SHAPES, help=argparse.SUPPRESS)
    options.add_argument("--rows", type=int, default=ROWS, help="rows of a measured step")
    options.add_argument("--out", type=Path, default=Path("docs/recipe-7b.md"))
    chosen = options.parse_args()
    if chosen.one:
        sys.stdout.write(json.dumps(measure(chosen.one, chosen.rows)) + "\n")
        return
    checks = [check(name, chosen.rows) for name in SHAPES]
    chosen.out.write_text("\n".join(page(checks)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
