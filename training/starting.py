"""A run that goes on from an adapter instead of from nothing."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from alm.adapters import TRAINED_ON, load_adapter, read_about, read_trained_on
from alm.errors import ConfigError
from training import checkpoint
from training.atomic import whole_file, write_json, write_lines
from training.groups import learned_state
from training.run import LABELS, START, Run, is_run


def start_from(run: Run, adapter: Path, stage: str | None = None) -> None:
    """Let a folder without a run go on from an adapter with `stage` (the first one), as if those before were done.

    LoRA layers that the run's configuration has and the adapter has not start as the identity.

    Raises:
        ConfigError: the folder holds a run, or there is nothing to train on; nothing is written then.
        CheckpointError: the adapter is damaged, or of another model or other base weights.
    """
    if is_run(run.folder):
        raise ConfigError(f"{run.folder} holds a run; add --resume to go on, or give another --out")
    before = run.config.stages[: run.config.stages.index(run.config.stage(stage))] if stage else ()
    labels = read_about(adapter)["model"]["tag_labels"]
    run.labels = labels
    run.check(run.config.stages[len(before) : len(before) + 1] if stage else run.config.stages)
    run.folder.mkdir(parents=True, exist_ok=True)
    model = run.fresh()[0]
    known = load_adapter(model, adapter, further_lora=True)["training"]
    with whole_file(run.folder / "prepared.safetensors") as temporary:
        save_file({n: t.contiguous() for n, t in learned_state(model).items()}, temporary)
    write_json(run.folder / START, {k: v for k, v in known.items() if k != "config"})
    for one in before:
        figures = known.get("stages", {}).get(one.name, {})
        checkpoint.save_weights(run.folder, one.name, model, {}, {**figures, "from": "adapter"})
    write_lines(run.folder / TRAINED_ON, sorted(read_trained_on(adapter)))
    write_json(run.folder / LABELS, labels)  # last: it marks the folder as a run
