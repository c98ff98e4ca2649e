"""From a run to the adapter folder that ships."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alm.adapters import TRAINED_ON, save_adapter
from alm.errors import CheckpointError
from training import checkpoint
from training.atomic import is_whole, whole_file
from training.config import DataConfig, RunConfig
from training.run import Run, recordings
from training.stretches import file_of

LARGEST_BYTES = 40 * 2**20
HASH_DIGITS = 16
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
    write_trained_on(config.data, adapter)
    size = save_adapter(model, adapter, summary(config, folder, done[: done.index(chosen) + 1]))
    if size > LARGEST_BYTES:
        raise CheckpointError(
            f"{adapter} is {size / 2**20:.1f} MiB; the limit is 40. Use a smaller lora.rank or aligner"
        )
    return size


def write_trained_on(data: DataConfig, adapter: Path) -> int:
    """List the recordings trained on by the first 16 hex digits of their files' SHA-256; gives their number.

    An evaluation tells by it which of its recordings the model has seen.
    """
    named = {file_of(one) for group in recordings(data, ("train",)) for one in group}
    paths = [path for path in named if path.is_file()]
    found = sorted({_sha256(p)[:HASH_DIGITS] for p in paths})
    with whole_file(adapter / TRAINED_ON) as place:
        place.write_text("".join(f"{digest}\n" for digest in found), encoding="utf-8")
    return len(found)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def summary(config: RunConfig, folder: Path, stages: list[str]) -> dict[str, Any]:
    """What the training was, without paths of this machine."""
    values = config.to_dict()
    values["data"] = {
        k: v for k, v in values["data"].items() if k in ("max_windows", "min_class_clips", "classes_without_tag")
    }
    values.pop("out")
    figures = {s: json.loads((folder / "stages" / s / "about.json").read_text(encoding="utf-8")) for s in stages}
    return {"config": values, "stages": figures, "packages": {p: version(p) for p in PACKAGES}}
