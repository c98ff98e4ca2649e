"""What a run shows while it goes on: progress on the terminal, curves and answers for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alm.errors import ConfigError

SHOWN = ("score", "top1", "four_way", "tags_top1")
"""Figures of a validation that fit into a line."""
EVERY_SECONDS = 15.0
"""A line of a stage comes at most so often."""


class Bar:
    """A bar for each stage with loss, rate and time left; validations and answers are printed above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(), transient=False,
        )  # fmt: skip
        self.bars: dict[str, Any] = {}

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(text, markup=False, highlight=False)

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        if stage not in self.bars:
            self.bars[stage] = self.progress.add_task(stage, total=steps, completed=done - 1, loss="")
        self.progress.update(self.bars[stage], completed=done, loss=f"loss {loss:.4f}")

    def line(self, row: Mapping[str, Any]) -> None:
        for text in _shown(row):
            self.say(text)


class Lines:
    """The same in lines, for a file or another program: how far a stage is, every so many seconds."""

    def __init__(self, say: Callable[[str], None], every_seconds: float = EVERY_SECONDS) -> None:
        self.say, self.every = say, every_seconds
        self.steps, self.last = 0, 0.0

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self.steps = steps

    def line(self, row: Mapping[str, Any]) -> None:
        for text in _shown(row):
            self.say(text)
        if "loss" in row and (time.monotonic() - self.last >= self.every or row["step"] == self.steps):
            self.last, left = time.monotonic(), (self.steps - row["step"]) * row["step_seconds"]
            self.say(
                f"{row['stage']}, step {row['step']} of {self.steps}: loss {row['loss']:.4f}, "
                f"{row['step_seconds']:.2f} s a step, {left / 60:.0f} min left"
            )


def _shown(row: Mapping[str, Any]) -> Iterator[str]:
    """What a reader sees of a line of the log: a validation, answers."""
    if row.get("validation"):
        figures = ", ".join(f"{k} {row[k]:.3f}" for k in SHOWN if k in row)
        yield f"{row['stage']}, step {row['step']}, validation: {figures or 'nothing to score'}"
    yield from map(_told, row.get("samples", ()))


def _told(answer: Mapping[str, Any]) -> str:
    return f"  {answer['asked']}\n    wanted: {answer['wanted']}\n    said:   {answer['said']}"


class Curves:
    """TensorBoard events in a folder. A run that goes on hides what came after the step it goes on from."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "curves is 'tensorboard' but the package tensorboard is not installed: pip install 'alm[track]', or "
                "write `curves: none`"
            ) from error
        self.folder, self.make = folder, SummaryWriter
        self.writers: dict[str, Any] = {}

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self._writer(stage, done).add_scalar("loss", loss, done)

    def line(self, row: Mapping[str, Any]) -> None:
        writer = self._writer(row["stage"], row["step"])
        kind = "validation" if row.get("validation") else "training"
        for name, value in row.items():
            if name not in ("stage", "step", "validation") and isinstance(value, int | float):
                writer.add_scalar(f"{kind}/{name}", value, row["step"])
        for number, answer in enumerate(row.get("samples", ())):
            writer.add_text(f"answers/{number}", _told(answer).replace("\n", "  \n"), row["step"])
        writer.flush()

    def _writer(self, stage: str, step: int) -> Any:
        if stage not in self.writers:
            self.writers[stage] = self.make(str(self.folder / stage), purge_step=step)
        return self.writers[stage]


def watchers(
    curves: str, folder: Path, shown: bool, say: Callable[[str], None]
) -> tuple[Bar | None, list[Bar | Lines | Curves]]:
    """The listeners of a run, and the bar among them if a terminal is there to show it; else `say` gets lines."""
    bar = Bar() if shown else None
    listeners: list[Bar | Lines | Curves] = [Lines(say) if bar is None else bar]
    if curves == "tensorboard":
        listeners.append(Curves(folder / "tensorboard"))
    return bar, listeners
