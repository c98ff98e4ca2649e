"""The mean of two adapters of one training, as in stochastic weight averaging (Izmailov et al. 2018).

LoRA factors are averaged as they are. That is the mean of the two updates only as far as both adapters lie close
together, as stages do that followed each other; measure what comes out.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from alm.adapters import ABOUT, HEARING, LORA, LORA_CONFIG, TRAINED_ON, read_about, read_trained_on, read_weights
from alm.configuration import AlmConfig
from alm.errors import CheckpointError, ConfigError
from training.atomic import write_json, write_lines

WEIGHTS_DEPEND_ON = (
    "encoders", "branches", "early_audio", "window_seconds", "overlap_seconds", "tag_labels", "tag_hidden",
)  # fmt: skip
"""Of a model's settings; the others bound recordings and word the evidence."""


def average(first: Path, second: Path, share: float, out: Path) -> None:
    """Write an adapter of `1 - share` of the first's weights and `share` of the second's; described as the second.

    Raises:
        ConfigError: `share` is not between 0 and 1, or `out` is there.
        CheckpointError: one is damaged, or they are not of one model and base.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share is {share}; it must lie between 0 and 1")
    if out.exists():
        raise ConfigError(f"{out} is there already; name a new folder")
    about, other = read_about(second), read_about(first)
    theirs = _weights_for(other)
    for key, mine in _weights_for(about).items():
        if mine != theirs[key]:
            raise CheckpointError(f"{first} and {second} differ in {key!r} of {ABOUT}; average stages of one training")
    digest = hashlib.sha256()
    names = (HEARING, LORA) if about["lora"] else (HEARING,)
    out.mkdir(parents=True)
    for name in names:
        _average_file(first / name, second / name, share, out / name)
        digest.update((first / name).read_bytes())
    if about["lora"]:
        shutil.copyfile(second / LORA_CONFIG, out / LORA_CONFIG)
    if heard := read_trained_on(first) | read_trained_on(second):
        write_lines(out / TRAINED_ON, sorted(heard))
    about["training"]["average"] = {"share": share, "sha256_of_the_first": digest.hexdigest()}
    write_json(out / ABOUT, about)  # last: it marks the folder as an adapter


def _weights_for(about: Mapping[str, Any]) -> dict[str, Any]:
    """What weights are made for; settings that a version before ours did not write down are at their defaults."""
    config = AlmConfig(**about["model"])
    model = {name: getattr(config, name) for name in WEIGHTS_DEPEND_ON}
    return {"model": model, "base": about["base"], "lora": about["lora"]}


def _average_file(first: Path, second: Path, share: float, out: Path) -> None:
    one, two = read_weights(first), read_weights(second)
    shapes: list[dict[str, Any]] = [{n: tuple(t.shape) for n, t in state.items()} for state in (one, two)]
    if shapes[0] != shapes[1]:
        raise CheckpointError(f"{first} and {second} hold other tensors; average stages of one training")
    mean = {n: (one[n].float() * (1 - share) + two[n].float() * share).to(two[n].dtype) for n in two}
    save_file(mean, out)
