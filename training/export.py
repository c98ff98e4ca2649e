"""From a run to the adapter folder that ships."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alm.adapters import ABOUT, TRAINED_ON, merged, read_trained_on, save_adapter
from alm.errors import CheckpointError
from data_prep.shards import ShardStream, read_index
from training import checkpoint
from training.atomic import is_whole, write_json, write_lines
from training.config import DataConfig, RunConfig
from training.run import START, Run, recordings
from training.stretches import file_of

HASH_DIGITS = 16
MERGED = "alm_training.json"
"""What the training of a merged checkpoint was."""
PACKAGES = ("torch", "transformers", "peft", "safetensors")


NOT_IN_ADAPTERS = ("llm", "encoder", "encoder_adapter")
"""Groups that an adapter folder has no place for; `encoder` is in it where an encoder's `tune` says how it learns."""


def write_adapter(
    config: RunConfig, folder: Path, adapter: Path, stage: str | None = None, at: str | None = None
) -> int:
    """Export the weights after a stage (the last finished one), or of a stage that is not finished; gives its bytes.

    Args:
        at: of the stage that goes on: `best` for those that validated best, `latest` or a step for a checkpoint.

    Raises:
        CheckpointError: the run has no such stage or weights, or it trained what an adapter does not hold.
    """
    run, done = _trained(config, folder, stage, at)
    held = {"encoder"} if any(e.tune != "frozen" for e in run.parts[0].config.encoder_configs.values()) else set()
    for name in done:
        if lost := [g for g in config.stage(name).train if g in NOT_IN_ADAPTERS and g not in held]:
            raise CheckpointError(f"stage {name} trained {lost[0]}, which no adapter holds; export with --merge")
    write_trained_on(config.data, adapter, folder)
    return save_adapter(run.parts[0], adapter, summary(config, folder, done))


def write_merged(
    config: RunConfig, folder: Path, out: Path, stage: str | None = None, at: str | None = None
) -> int:
    """Export one plain checkpoint with everything merged, for `from_pretrained` and vLLM; gives its size in bytes.

    Raises:
        CheckpointError: the run has no such stage or weights, or `out` holds files already.
    """
    if out.is_dir() and any(out.iterdir()):
        raise CheckpointError(f"{out} holds files; give a new or empty folder")
    run, done = _trained(config, folder, stage, at)
    model, processor = run.parts
    merged(model).save_pretrained(out)
    processor.save_pretrained(out)
    write_trained_on(config.data, out, folder)
    write_json(out / MERGED, {"training": summary(config, folder, done)})
    return sum(p.stat().st_size for p in out.iterdir())


def _trained(config: RunConfig, folder: Path, stage: str | None, at: str | None) -> tuple[Run, dict[str, Any]]:
    """A run whose model is as it was then, and the stages up to that one with what is known of each.

    What was trained on quantised weights is put on the plain ones: adapters fit both, and those alone can be merged.
    """
    run = Run(replace(config, quantise="none"), folder, lambda text: None)
    names = [s.name for s in config.stages]
    whole = [n for n in names if is_whole(folder / "stages" / n)]
    going = next((n for n in names if n not in whole), "")
    chosen = stage or (going if at else whole[-1] if whole else "")
    if chosen not in (names if at else whole):
        raise CheckpointError(
            f"{folder}: stage {chosen!r} is not finished; finished are: {', '.join(whole) or 'none'}. One that goes on "
            "is exported with --checkpoint best or latest"
        )
    done: dict[str, Any] = {}
    for name in names[: names.index(chosen) + (0 if at else 1)]:
        # Each keeps the weights of `llm` and `encoder` only if it trained them.
        done[name] = checkpoint.load_weights(folder, name, run.parts[0])
    if at:
        done[chosen] = _going_on(run, folder, chosen, at)
    return run, done


def _going_on(run: Run, folder: Path, stage: str, at: str) -> dict[str, Any]:
    """Load weights of a stage that is not finished; gives what is known of them."""
    if at == "best":
        found = checkpoint.load_weights(folder, f"{stage}-best", run.parts[0])
        there = "no validation yet"
    else:
        found = checkpoint.load_step(folder, stage, None if at == "latest" else int(at), run.parts[0])
        there = ", ".join(map(str, checkpoint.steps(folder, stage))) or "none"
    if found is None:
        raise CheckpointError(f"{folder}: stage {stage!r} has no weights {at!r}; there are: {there}")
    return {**found, "unfinished": at}


def write_trained_on(data: DataConfig, adapter: Path, folder: Path) -> int:
    """List the recordings trained on by the first 16 hex digits of their files' SHA-256; gives their number.

    Those of the adapter that the run in `folder` went on from are among them. An evaluation tells by it which of its
    recordings the model has seen. Those of shards are hashed as the shards hold them, which is the file as it was where
    they were built with `audio: stored`.
    """
    named = {file_of(one) for group in recordings(data, ("train",)) for one in group}
    digests = {file_sha256(p)[:HASH_DIGITS] for p in named if p.is_file()} | _of_shards(data.shards)
    found = sorted(read_trained_on(folder) | digests)
    write_lines(adapter / TRAINED_ON, found)
    return len(found)


def _of_shards(folders: Sequence[str]) -> set[str]:
    trained = [Path(f) for f in folders if "train" in read_index(Path(f)).splits]
    items = (item for folder in trained for item in ShardStream(folder, "train"))
    return {hashlib.sha256(member).hexdigest()[:HASH_DIGITS] for item in items for member in item.audios}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def summary(config: RunConfig, folder: Path, stages: Mapping[str, Any]) -> dict[str, Any]:
    """What the training was, with the figures of its stages, and that of the adapter it went on from; without paths of
    this machine.
    """
    values = config.to_dict()
    values["data"] = {
        k: v for k, v in values["data"].items() if k in ("max_windows", "min_class_clips", "classes_without_tag")
    }
    values.pop("out")
    found = {"config": values, "stages": dict(stages), "packages": {p: version(p) for p in PACKAGES}}
    if (folder / START).is_file():
        found["start"] = json.loads((folder / START).read_text(encoding="utf-8"))
    return found


def read_stages(exported: Path) -> dict[str, Any]:
    """The stages that an exported folder is made of, with their figures."""
    file = exported / (MERGED if (exported / MERGED).is_file() else ABOUT)
    stages: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["training"]["stages"]
    return stages
