"""A run that goes on from an adapter instead of from nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import save_file

from alm.adapters import TRAINED_ON, load_adapter, read_about
from alm.errors import ConfigError
from training import checkpoint
from training.atomic import whole_file, write_json
from training.groups import learned_state
from training.run import Run


def start_from(run: Run, adapter: Path, stage: str) -> None:
    """Let the weights of an adapter stand for the stages before `stage`, in a folder without a run.

    LoRA layers that the run's configuration has and the adapter has not start as the identity.

    Raises:
        ConfigError: the folder holds a run, or `stage` is the first one.
        CheckpointError: the adapter is damaged, or of another model or other base weights.
    """
    before = run.config.stages[: run.config.stages.index(run.config.stage(stage))]
    if not before:
        raise ConfigError(f"stage {stage} is the first one; an adapter can stand only for stages before another")
    if (run.folder / "labels.json").is_file():
        raise ConfigError(f"{run.folder} holds a run; give another --out")
    labels = read_about(adapter)["model"]["tag_labels"]
    run.folder.mkdir(parents=True, exist_ok=True)
    run.labels = labels
    model = run.fresh()[0]
    about = load_adapter(model, adapter, further_lora=True)
    with whole_file(run.folder / "prepared.safetensors") as temporary:
        save_file({n: t.contiguous() for n, t in learned_state(model).items()}, temporary)
    known = about["training"].get("stages", {})
    for one in before:
        checkpoint.save_weights(run.folder, one.name, model, {}, {**known.get(one.name, {}), "from": "adapter"})
    if (adapter / TRAINED_ON).is_file():
        shutil.copyfile(adapter / TRAINED_ON, run.folder / TRAINED_ON)
    write_json(run.folder / "labels.json", labels)  # last: it marks the folder as a run
