"""What post-training with TRL has in common: a preset's adapter goes in, another one comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, Trainer, TrainerCallback

import alm
from alm.adapters import TRAINED_ON, read_about, read_trained_on, save_adapter
from alm.assistant import Assistant
from training.atomic import write_lines

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


def tell(trainer: Trainer, say: Say, figures: Mapping[str, str]) -> None:
    """Say the figures in words, in place of the lines that the trainer prints."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Told(say, figures))


def post_train(
    adapter: Path,
    out: Path,
    recordings: Iterable[str],
    run: Callable[[Assistant], dict[str, Any]],
    parts: Mapping[str, str | Path] | None = None,
) -> None:
    """Load the preset that an adapter belongs to, let `run` train it, and write `out/adapter`.

    Args:
        recordings: paths of what is heard; `trained_on.txt` lists them beside what the adapter had heard before.
        run: gives what is to be said of the training in the new adapter.
    """
    from training.export import HASH_DIGITS, file_sha256

    about = read_about(adapter)["training"]
    assistant = alm.load(about["config"]["preset"], adapter=adapter, parts=parts)
    save_adapter(assistant.model, out / "adapter", {**about, **run(assistant)})
    heard = {file_sha256(Path(a))[:HASH_DIGITS] for a in set(recordings)}
    write_lines(out / "adapter" / TRAINED_ON, sorted(read_trained_on(adapter) | heard))
