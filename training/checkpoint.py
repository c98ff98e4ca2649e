"""Checkpoints of a run: atomic folders of safetensors and JSON, from which a run goes on bit for bit.

No generator state is kept: every random number depends on (seed, stage, step), so the step is the state.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alm.errors import CheckpointError
from training.atomic import is_whole, remove_leftovers, whole_folder, write_json
from training.groups import group_of, learned_state, load_learned

KEPT = 2
SHARD_BYTES = 5 * 10**9
MODEL, OPTIMIZER = "model", "optimizer"


@dataclass
class Progress:
    """Where a run is."""

    stage: str
    step: int = 0
    best: float | None = None
    best_step: int = -1
    waited: int = 0
    """Validations since the best one."""

    @classmethod
    def read(cls, file: Path) -> Progress:
        """What a checkpoint says; fields of other versions of this program are passed over."""
        found = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{f.name: found[f.name] for f in fields(cls) if f.name in found})


def save(folder: Path, model: nn.Module, extra: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress,
         names: dict[str, nn.Parameter], keep: int = KEPT) -> Path:  # fmt: skip
    """Write `checkpoints/<stage>-<step>`; all but the last `keep` of the stage are deleted afterwards."""
    target = folder / "checkpoints" / f"{progress.stage}-{progress.step:07d}"
    with whole_folder(target) as temporary:
        write(model_state(model, names), temporary, MODEL)
        write(_optimizer_state(optimizer, extra, names), temporary, OPTIMIZER)
        (temporary / "progress.json").write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    for old in _of_stage(folder, progress.stage)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def model_state(model: nn.Module, names: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """What a checkpoint keeps of the model: what any stage learns, and whatever this one trains besides."""
    own = {n: p.detach() for n, p in names.items() if group_of(n) in ("llm", "encoder")}
    return {n: _copied(t) for n, t in {**learned_state(model), **own}.items()}


def _copied(value: Any) -> Tensor:
    """In this machine's memory, not the card's, which a copy of all weights could fill."""
    return torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()


def _named(extra: nn.Module, names: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    return {**names, **{f"extra.{n}": p for n, p in extra.named_parameters()}}


def _optimizer_state(
    optimizer: torch.optim.Optimizer, extra: nn.Module, names: dict[str, nn.Parameter]
) -> dict[str, Tensor]:
    tensors = {f"extra.{n}": _copied(p) for n, p in extra.named_parameters()}
    for name, parameter in _named(extra, names).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = _copied(value)
    return tensors


def latest(folder: Path, stage: str) -> Path | None:
    """The newest whole checkpoint of a stage."""
    checkpoints = _of_stage(folder, stage)
    return checkpoints[-1] if checkpoints else None


def steps(folder: Path, stage: str) -> list[int]:
    """Steps of a stage of which there are whole checkpoints."""
    return [_step(c) for c in _of_stage(folder, stage)]


def load_step(folder: Path, stage: str, step: int | None, model: nn.Module) -> dict[str, Any] | None:
    """Set the model to the checkpoint of a step, or to the newest one; None when there is none."""
    found = [c for c in _of_stage(folder, stage) if step in (None, _step(c))]
    if not found:
        return None
    load_learned(model, _fitting(read(found[-1], MODEL), model, found[-1]))
    return {"step": _step(found[-1])}


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _of_stage(folder: Path, stage: str) -> list[Path]:
    root = folder / "checkpoints"
    if root.is_dir():
        remove_leftovers(root)
    ending = re.compile(re.escape(stage) + r"-\d{7,}")
    return [c for c in sorted(root.glob("*-*")) if ending.fullmatch(c.name) and is_whole(c)]


def restore(checkpoint: Path, model: nn.Module, extra: nn.Module, optimizer: torch.optim.Optimizer,
            names: dict[str, nn.Parameter]) -> Progress:  # fmt: skip
    """Set model, optimizer and progress to a checkpoint.

    Raises:
        CheckpointError: damaged, or of another configuration.
    """
    tensors = read(checkpoint, OPTIMIZER)
    load_learned(model, _fitting(read(checkpoint, MODEL), model, checkpoint))
    known = _named(extra, names)
    with torch.no_grad():
        for name, parameter in extra.named_parameters():
            parameter.copy_(tensors.pop(f"extra.{name}"))
    for key, value in tensors.items():
        name, part = key.rsplit("|", 1)
        if name not in known:
            raise CheckpointError(f"{checkpoint}: optimizer state of {name!r}, which this stage does not train")
        optimizer.state[known[name]][part] = _placed(part, value, known[name])
    return Progress.read(checkpoint / "progress.json")


def _placed(part: str, value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A part of the optimizer's state where it belongs: with its weights, but the count of steps, which stays here."""
    return value if part == "step" else value.to(parameter.device)


def _fitting(state: dict[str, Tensor], model: nn.Module, source: Path) -> dict[str, Tensor]:
    own = dict(model.named_parameters())
    wrong = [n for n, t in state.items() if n not in own or own[n].shape != t.shape]
    missing = sorted(set(learned_state(model)) - set(state))
    if wrong or missing:
        raise CheckpointError(
            f"{source} is of another model: {len(wrong)} tensors do not fit ({', '.join(wrong[:3])}), "
            f"{len(missing)} are missing ({', '.join(missing[:3])})"
        )
    return state


def write(state: dict[str, Tensor], folder: Path, name: str) -> None:
    """Tensors as `name.safetensors`, or several of at most `SHARD_BYTES`: `name-00001-of-00003.safetensors`."""
    pattern = f"{name}{{suffix}}.safetensors"
    plan = split_torch_state_dict_into_shards(state, filename_pattern=pattern, max_shard_size=SHARD_BYTES)
    for file, names in plan.filename_to_tensors.items():
        save_file({n: state[n] for n in names}, folder / file)


def read(folder: Path, name: str) -> dict[str, Tensor]:
    """What [`write`] wrote; `CheckpointError` when it is damaged."""
    files = sorted(folder.glob(f"{name}-*-of-*.safetensors")) or [folder / f"{name}.safetensors"]
    count = int(files[0].stem.rpartition("-")[2]) if "-of-" in files[0].stem else 1
    if len(files) != count:
        raise CheckpointError(
            f"{folder} has {len(files)} of {count} files {name}-...; delete it to go on from an earlier one"
        )
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            found |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} cannot be read ({error}); delete its folder to go on from an earlier one"
            ) from error
    return found


def save_weights(
    folder: Path, name: str, model: nn.Module, names: dict[str, nn.Parameter], about: dict[str, Any]
) -> None:
    """Weights alone, under `stages/<name>`."""
    with whole_folder(folder / "stages" / name) as temporary:
        write(model_state(model, names), temporary, MODEL)
        write_json(temporary / "about.json", about)


def load_weights(folder: Path, name: str, model: nn.Module) -> dict[str, Any] | None:
    """Set the model to what [`save_weights`] wrote and give its facts; None when there is nothing whole."""
    source = folder / "stages" / name
    if not is_whole(source):
        return None
    load_learned(model, _fitting(read(source, MODEL), model, source))
    facts: dict[str, Any] = json.loads((source / "about.json").read_text(encoding="utf-8"))
    return facts
