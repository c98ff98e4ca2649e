"""From a run to the adapter folder that ships."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alm.adapters import save_adapter
from alm.errors import CheckpointError
from training import checkpoint
from training.atomic import is_whole
from training.config import RunConfig
from training.run import Run

LARGEST_BYTES = 40 * 2**20
PACKAGES = ("torch", "transformers", "peft", "safetensors")


def write_adapter(config: RunConfig, folder: Path, adapter: Path, stage: str | None = None) -> int:
    """Export the weights after a stage (the last finished one); gives the adapter's size in bytes.

    Raises:
        CheckpointError: the run has no such finished stage, or the adapter is larger than 40 MiB.
    """
    run = Run(config, folder, lambda text: None)
    done = [s.name for s in config.stages if is_whole(folder / "stages" / s.name)]
    chosen = stage or (done[-1] if done else "")
    if chosen not in done:
        named = ", ".join(done) or "none"
        raise CheckpointError(f"{folder}: stage {chosen!r} is not finished; finished are: {named}")
    model = run.parts[0]
    checkpoint.load_weights(folder, chosen, model)
    size = save_adapter(model, adapter, summary(config, folder, done[: done.index(chosen) + 1]))
    if size > LARGEST_BYTES:
        raise CheckpointError(
            f"{adapter} is {size / 2**20:.1f} MiB; the limit is 40. Use a smaller lora.rank or aligner"
        )
    return size


def summary(config: RunConfig, folder: Path, stages: list[str]) -> dict[str, Any]:
    """What the training was, without paths of this machine."""
    values = config.to_dict()
    values["data"] = {
        k: v for k, v in values["data"].items() if k in ("max_windows", "min_class_clips", "classes_without_tag")
    }
    values.pop("out")
    figures = {s: json.loads((folder / "stages" / s / "about.json").read_text(encoding="utf-8")) for s in stages}
    return {"config": values, "stages": figures, "packages": {p: version(p) for p in PACKAGES}}
