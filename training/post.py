"""What post-training with TRL has in common: a preset's adapter goes in, another one comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback

import alm
from alm.adapters import TRAINED_ON, read_about, read_trained_on, save_adapter
from alm.assistant import Assistant
from training.atomic import write_lines
from training.objective import rng_for

T = TypeVar("T")
Say = Callable[[str], None]


class Told(TrainerCallback):
    """A line of words for each line of TRL's log."""

    def __init__(self, say: Say, figures: Mapping[str, str]) -> None:
        self.say = say
        self.figures = figures
        """Names in TRL's log, and how to call them."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Steps and the figures that the line has."""
        line = logs or {}
        known = [f"{said} {float(line[name]):.3f}" for name, said in self.figures.items() if name in line]
        if known:
            self.say(f"step {state.global_step} of {state.max_steps}: {', '.join(known)}")


def trl_options(out: Path, steps: int, lr: float, seed: int) -> dict[str, Any]:
    """What all of TRL's configurations are told here; nothing is saved between the steps."""
    return {
        "output_dir": str(out), "max_steps": steps, "learning_rate": lr, "seed": seed,
        "use_cpu": not torch.cuda.is_available(), "gradient_checkpointing": False, "save_strategy": "no",
        "report_to": [], "logging_steps": 5, "disable_tqdm": True,
    }  # fmt: skip


def train(trainer: Trainer, model: nn.Module, say: Say, figures: Mapping[str, str]) -> list[dict[str, Any]]:
    """Train to the end, leave the model frozen, and give TRL's log.

    Args:
        figures: what of the log is said, and in which words, in place of the lines that the trainer prints.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Told(say, figures))
    trainer.train()
    model.eval().requires_grad_(False)
    return [dict(line) for line in trainer.state.log_history]


def drawn(items: Sequence[T], count: int, name: str, seed: int) -> list[T]:
    """So many of them in a random order, or all."""
    return [items[int(i)] for i in rng_for(name, seed).permutation(len(items))[:count]]


def post_train(
    adapter: Path,
    out: Path,
    recordings: Iterable[str],
    run: Callable[[Assistant], list[dict[str, Any]]],
    settings: Any,
    name: str,
    figure: str,
    parts: Mapping[str, str | Path] | None = None,
) -> dict[str, Any]:
    """Load the preset that an adapter belongs to, let `run` train it, and write `out/adapter`; gives the log's end.

    Args:
        recordings: paths of what is heard; `trained_on.txt` lists them beside what the adapter had heard before.
        run: trains, and gives TRL's log.
        settings: a dataclass; the new adapter holds it and the log as `name`.
        figure: what a line of the log must have to be kept.
    """
    from training.export import HASH_DIGITS, file_sha256

    about = read_about(adapter)["training"]
    assistant = alm.load(about["config"]["preset"], adapter=adapter, parts=parts)
    log = [line for line in run(assistant) if figure in line]
    save_adapter(assistant.model, out / "adapter", {**about, name: {**asdict(settings), "log": log}})
    heard = {file_sha256(Path(a))[:HASH_DIGITS] for a in set(recordings)}
    write_lines(out / "adapter" / TRAINED_ON, sorted(read_trained_on(adapter) | heard))
    return log[-1]
