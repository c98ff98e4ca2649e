"""One process of several that train small stages: `python -m torch.distributed.run ... -m tests.training_processes`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from tests import training_helpers as small
from training import language, sharding
from training.config import LoraSettings, StageConfig
from training.features import FeatureCache
from training.groups import add_lora, group_of, set_trainable
from training.language import LanguageObjective
from training.loop import Log, Stage, Stop
from training.processes import ProcessError, Processes, join
from training.recomputing import ReplayCache, recompute
from training.rows import Collator, Knowledge, load_rows
from training.typed import build


def language_run(
    folder: Path, save_every_seconds: float = 1e9, steps: int = 8, recomputing: bool = False, **changes: Any
) -> tuple[Stage, Any]:
    """A language stage with noise and everything told, ready to run; without dropout, which each process draws anew."""
    names = [f"{i}.wav" for i in range(6)]
    known = (folder / "cache").is_dir()
    cache = FeatureCache(folder / "cache") if known else small.write_cache(folder / "cache", names)
    (folder / "rows.jsonl").write_text("\n".join(_row(i, names[i % 6]) for i in range(12)))
    rows, _ = load_rows([folder / "rows.jsonl"], cache)
    model = small.model(lora=False, **changes)
    add_lora(model, LoraSettings(rank=2, alpha=4, dropout=0.0))
    collator = Collator(small.processor(model.config), cache, Knowledge({}, {}, {}, tuple(small.LABELS)), "")
    values = {
        "name": "talk", "kind": "language", "train": ["aligner", "lora"], "lr": {"aligner": 0.01, "lora": 0.01},
        "steps": steps, "batch_size": 5, "warmup_steps": 1, "eval_every_steps": 4, "augment": {"noise": 0.1},
        "samples": 1, "gradient_checkpointing": recomputing,
    }  # fmt: skip
    objective = LanguageObjective(model, build(StageConfig, values, "test"), rows, collator, 1)
    learning = set_trainable(model, objective.stage.train)
    (folder / "run").mkdir(exist_ok=True)
    log = Log(folder / "run" / "log.jsonl")
    return Stage(model, learning, objective.stage, objective, folder / "run", log, 1, save_every_seconds), model


def _row(number: int, audio: str) -> str:
    answer = " ".join(["a", *[small.LABELS[number % 3]] * (1 + number % 4)])
    messages = [{"role": "user", "content": "<audio>what is it ?"}, {"role": "assistant", "content": answer}]
    split = "dev" if number > 9 else "train"
    return json.dumps({
        "id": str(number), "messages": messages, "audios": [audio], "source": "s", "task": "label", "split": split,
        "licence": "CC0", "duration": 0.3,
    })  # fmt: skip


MAKE: dict[str, Callable[..., tuple[Stage, Any]]] = {
    "align": small.align_run,
    "language": language_run,
    "keys_values, recomputing": partial(language_run, recomputing=True, fusion={"scheme": "keys_values"}),
    "without hooks": language_run,
}


class Killer:
    """Kills its own process after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        if done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def line(self, row: Any) -> None:
        pass


def divide(stage: Stage, processes: Processes) -> Stage:
    """The stage as one process of several."""
    stage.processes = stage.objective.processes = processes  # type: ignore[attr-defined]
    stage.log = Log(stage.log.path, writes=processes.main)
    return stage


def main(kind: str, folder: Path, killed_after: int) -> None:
    torch.set_num_threads(1)
    processes = join("cpu")
    print(f"process {processes.rank} of {processes.world}", flush=True)
    with processes.main_first():
        stage, model = MAKE[kind](folder, save_every_seconds=0.0)
    divide(stage, processes)
    recompute(model, stage.config.gradient_checkpointing, compared=processes.shards != "zero3")
    if processes.shards:
        language.ROWS_AT_ONCE = {"cpu": 2}  # unequal counts of groups, were they not evened
        sharding.shard(model, processes, "cpu")
    if kind == "without hooks":
        sharding.ShardedCache.update = ReplayCache.update  # type: ignore[method-assign]
    if killed_after and processes.rank == 1:
        stage.log.listeners = (Killer(killed_after),)
    try:
        stage.run(Stop())
    except ProcessError as error:
        print(f"error: {error}", flush=True)
        sys.exit(2)
    frozen = [p for n, p in model.named_parameters() if "language_model.layers" in n and group_of(n) == "llm"]
    print(f"frozen here: {sum(_held(p) for p in frozen)};")


def _held(weight: Any) -> int:
    """How many numbers of it this process holds."""
    if isinstance(weight, DTensor):
        return weight.to_local().numel()
    return int(weight.numel() + (weight.ds_tensor.numel() if hasattr(weight, "ds_tensor") else 0))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
