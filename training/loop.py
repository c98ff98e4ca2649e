"""The loop of one stage: schedule, steps, log, validation, checkpoints, a clean end on SIGTERM."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from alm.errors import AlmError
from training import checkpoint
from training.accumulating import pieces
from training.checkpoint import Progress
from training.config import StageConfig
from training.groups import optimizer_groups
from training.objective import Objective, seed_for
from training.placing import batches, moved
from training.processes import Processes

LOG_EVERY = 10
SUMS = ("tokens",)
"""Parts of a step's figures that add up over the pieces of a batch."""


class TrainingError(AlmError):
    """Training cannot go on: the loss is no number."""


@dataclass
class Stop:
    """Set by SIGTERM or SIGINT: save and end. A second one ends at once, and what was not saved is lost."""

    number: int = 0
    """The signal that asked."""

    @property
    def asked(self) -> bool:
        return self.number > 0

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        def ask(number: int, _frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.number = number
            os.write(2, b"stops after this step; a second signal ends at once, without saving\n")

        old = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


class Listener(Protocol):
    """Watches a run: progress on a terminal, curves."""

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        """After every step."""

    def line(self, row: Mapping[str, Any]) -> None:
        """Every line of the log."""


@dataclass
class Log:
    """JSON lines of a run; lines after the step from which a run goes on are dropped."""

    path: Path
    began: float = field(default_factory=time.monotonic)
    listeners: tuple[Listener, ...] = ()
    """Are told every line, and of every step."""
    writes: bool = True
    """Whether this process keeps the log: the first of several."""

    def rewind(self, stage: str, step: int) -> None:
        if not (self.writes and self.path.is_file()):
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            if row.get("stage") != stage or row.get("step", 0) <= step:
                kept.append(line + "\n")
        self.path.write_text("".join(kept), encoding="utf-8")

    def write(self, **row: Any) -> None:
        if not self.writes:
            return
        for listener in self.listeners:
            listener.line(row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({k: _short(v) for k, v in row.items()}, ensure_ascii=False) + "\n")

    def step(self, stage: StageConfig, done: int, loss: float) -> None:
        """Tell the listeners how far a stage is."""
        for listener in self.listeners:
            listener.step(stage.name, done, stage.steps, loss)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def rate(step: int, stage: StageConfig) -> float:
    """Part of the peak learning rate at a step: linear warm-up, then the stage's schedule down to `final_lr`."""
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    done = min(1.0, (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps))
    falls = {"cosine": 0.5 * (1.0 + math.cos(math.pi * done)), "linear": 1.0 - done, "constant": 1.0}
    return stage.final_lr + (1.0 - stage.final_lr) * falls[stage.schedule]


@dataclass
class Stage:
    """One stage in progress."""

    model: nn.Module
    names: dict[str, nn.Parameter]
    """What learns."""
    config: StageConfig
    objective: Objective
    folder: Path
    log: Log
    seed: int
    save_every_seconds: float
    autocast: bool = False
    device: str = "cpu"
    workers: int = 0
    """Processes that make batches ahead."""
    processes: Processes = Processes()  # noqa: RUF009 - frozen
    """Those that train."""
    save_every_steps: int = 0
    keep: int = checkpoint.KEPT
    """Checkpoints."""

    def run(self, stop: Stop) -> bool:
        """Train to the end; False when it was asked to stop before."""
        self._prepare()
        return self._steps(stop)

    def _prepare(self) -> None:
        extra = self.objective.extra
        groups: list[Any] = list(optimizer_groups(self.names, self.config))
        if own := list(extra.parameters()):
            groups.append({"params": own, "lr": 1e-3, "peak": 1e-3, "weight_decay": 0.0, "name": "extra"})
        self.optimizer = torch.optim.AdamW(groups, betas=(self.config.betas[0], self.config.betas[1]))
        self.progress = Progress(self.config.name)
        if (found := checkpoint.latest(self.folder, self.config.name)) is not None:
            self.progress = checkpoint.restore(found, self.model, extra, self.optimizer, self.names)
        self.log.rewind(self.config.name, self.progress.step)
        self.saved = time.monotonic()

    def _steps(self, stop: Stop) -> bool:
        window: dict[str, float] = {}
        began, paused, first = time.monotonic(), 0.0, self.progress.step
        coming = batches(self.objective.batch, first, self.config.steps, self.workers)
        for step, batch in enumerate(coming, start=first):
            parts = self._step(step, moved(batch, self.device))
            self.progress.step = step + 1
            self.log.step(self.config, self.progress.step, parts["loss"])
            for key, value in parts.items():
                window[key] = window.get(key, 0.0) + value
            if self.progress.step % LOG_EVERY == 0 or self.progress.step == self.config.steps:
                count = self.progress.step - first
                self.log.write(
                    stage=self.config.name,
                    step=self.progress.step,
                    step_seconds=(time.monotonic() - began - paused) / count,
                    **self._rates(),
                    **{k: v / count for k, v in window.items()},
                )
                window, began, paused, first = {}, time.monotonic(), 0.0, self.progress.step
            if self.progress.step % self.config.eval_every_steps == 0 or self.progress.step == self.config.steps:
                stands = time.monotonic()
                self._validate()
                paused += time.monotonic() - stands
                if 0 < self.config.patience <= self.progress.waited:
                    break
            ended, due = self._asked(stop)
            if ended or due:
                self._save()
            if ended:
                return False
        return True

    def _rates(self) -> dict[str, float]:
        """The learning rate of each group in the last step."""
        return {f"lr_{g['name']}": float(g["lr"]) for g in self.optimizer.param_groups}

    def _step(self, step: int, batch: Any) -> dict[str, float]:
        torch.manual_seed(seed_for(self.seed, self.config.name, step))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate(step, self.config)
        parts: dict[str, float] = {}
        for piece, share in pieces(self.objective, batch, self.config.accumulate):
            for name, value in self._backward(step, piece, share).items():
                parts[name] = parts.get(name, 0.0) + (value if name in SUMS else share * value)
        every = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.processes.add_gradients(every)
        norm = float(torch.nn.utils.clip_grad_norm_(every, self.config.grad_clip or math.inf))
        if not math.isfinite(norm):
            raise TrainingError(
                f"stage {self.config.name}, step {step}: the loss is {parts['loss']:g}, but its gradient is {norm}; "
                "try `attention: eager` or `precision: fp32`"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss": parts.pop("loss"), "norm": norm, **parts}

    def _backward(self, step: int, batch: Any, share: float) -> dict[str, float]:
        """Add the gradient of a batch that is so much of the step's; gives the loss and its parts."""
        with self._precision():
            loss, parts = self.objective.loss(batch)
        value, parts = self._added_up(loss, parts)
        if not math.isfinite(value):
            raise TrainingError(f"stage {self.config.name}, step {step}: the loss is {value}; lower lr or grad_clip")
        (loss * share).backward()
        return {"loss": value, **parts}

    def _added_up(self, loss: Tensor, parts: dict[str, float]) -> tuple[float, dict[str, float]]:
        """The loss of all processes together, and the mean (of tokens the sum) of what it is made of."""
        if self.processes.world == 1:
            return float(loss.detach()), parts
        own = torch.tensor([float(loss.detach()), *parts.values()], dtype=torch.float64, device=loss.device)
        value, *sums = self.processes.add(own).tolist()
        return value, {k: s if k in SUMS else s / self.processes.world for k, s in zip(parts, sums, strict=True)}

    def _asked(self, stop: Stop) -> tuple[bool, bool]:
        """Whether any process was asked to stop, and whether a checkpoint is due: all of them must do the same."""
        due = time.monotonic() - self.saved > self.save_every_seconds
        due |= self.save_every_steps > 0 and self.progress.step % self.save_every_steps == 0
        if self.processes.world == 1:
            return stop.asked, due
        asked = torch.tensor([float(stop.asked), float(due)], device=self.device)
        ended, due = (bool(x) for x in self.processes.add(asked).tolist())
        return ended, due

    def _precision(self) -> torch.autocast:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.autocast)

    def _validate(self) -> None:
        began = time.monotonic()
        with self._precision():
            figures = self.processes.agreed(self.objective.validate())
            rows = self.objective.samples(self.config.samples)
        now = self.progress
        score = figures.get("score")
        better = score is not None and (now.best is None or score > now.best)
        now.waited = 0 if better else now.waited + 1
        if better:
            now.best, now.best_step = score, now.step
            with self.processes.main_first():
                if self.processes.main:
                    checkpoint.save_weights(
                        self.folder, f"{self.config.name}-best", self.model, self.names, {"step": now.step, **figures}
                    )
        self.log.write(
            stage=self.config.name, step=now.step, validation=True, seconds=time.monotonic() - began, **figures
        )
        if rows:
            self.log.write(stage=self.config.name, step=now.step, samples=rows)

    def _save(self) -> None:
        with self.processes.main_first():
            if self.processes.main:
                checkpoint.save(
                    self.folder, self.model, self.objective.extra, self.optimizer, self.progress, self.names, self.keep
                )
        self.saved = time.monotonic()
