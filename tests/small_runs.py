"""Whole runs of the small random model: every stage as `Run` does it, without weights or corpus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from alm.modeling import AlmForConditionalGeneration
from alm.processing import AlmProcessor
from tests import training_helpers as small
from training.config import RunConfig
from training.features import FeatureCache
from training.groups import add_lora
from training.run import Run
from training.typed import build

NAMES = tuple(f"{i}.wav" for i in range(6))


class SmallRun(Run):
    """A run whose model is the small one, and whose features are made up."""

    said: list[str]
    """What it said so far."""

    @cached_property
    def base(self) -> Any:
        return SimpleNamespace(system="")

    @cached_property
    def settings(self) -> Any:
        return small.config(**self.config.model)

    @cached_property
    def labels(self) -> list[str]:
        return list(small.LABELS)

    @cached_property
    def cache(self) -> FeatureCache:
        return FeatureCache(Path(self.config.data.cache))

    def fresh(self) -> tuple[AlmForConditionalGeneration, AlmProcessor]:
        made = small.model(self.config.seed, lora=False, **self.config.model)
        torch.manual_seed(self.config.seed)
        add_lora(made, self.config.lora)
        return made, small.processor(made.config)


def corpus(folder: Path, dev: bool = True, tasks: Sequence[str] = ("label", "kind"), count: int = 12) -> None:
    """`rows.jsonl`: questions about six recordings, a quarter of them to validate, and the recordings' features."""
    if not (folder / "features").is_dir():
        small.write_cache(folder / "features", list(NAMES))
    (folder / "rows.jsonl").write_text("".join(_row(i, dev and i % 4 == 3, tasks) + "\n" for i in range(count)))


def _row(number: int, dev: bool, tasks: Sequence[str]) -> str:
    messages = [
        {"role": "user", "content": "<audio>what is it ?"},
        {"role": "assistant", "content": f"a {small.LABELS[number % 3]}"},
    ]
    return json.dumps({
        "id": str(number), "messages": messages, "audios": [NAMES[number % 6]], "source": "s",
        "task": tasks[number % len(tasks)], "split": "dev" if dev else "train", "licence": "CC0", "duration": 0.3,
    })  # fmt: skip


def config(folder: Path, *stages: Mapping[str, Any], **changes: Any) -> RunConfig:
    """A run of language stages on `corpus(folder)`; each stage is given by what differs."""
    common: dict[str, Any] = {
        "kind": "language", "train": ["aligner", "lora"], "steps": 4, "batch_size": 4, "warmup_steps": 1,
        "eval_every_steps": 2, "samples": 0, "evidence": {"tags": 0.0, "transcript": 0.0},
    }  # fmt: skip
    full = []
    for number, stage in enumerate(stages):
        values = {"name": f"stage{number}", **common, **stage}
        full.append({**values, "lr": dict.fromkeys(values["train"], 0.01)})
    values = {
        "preset": "tiny", "out": str(folder / "run"), "threads": 1, "stages": full,
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]},
        "data": {"records": [str(folder / "rows.jsonl")], "cache": str(folder / "features")},
    }  # fmt: skip
    return build(RunConfig, {**values, **changes}, "test")


def run(settings: RunConfig, **parts: Any) -> SmallRun:
    """A run that keeps what it says in `said`."""
    said: list[str] = []
    made = SmallRun(settings, Path(settings.out), said.append, **parts)
    made.said = said
    return made
