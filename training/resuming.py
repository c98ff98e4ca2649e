"""What may change in the configuration of a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from training.atomic import is_whole
from training.config import RunConfig
from training.typed import build

CONFIG = "config.json"
FIXED = ("preset", "base", "model", "lora", "encoder_adapters", "quantise", "seed")
"""Of what was trained so far: other weights would be needed, or other random numbers."""
FREE = ("out", "threads", "workers", "device", "save_every_minutes", "save_every_steps", "keep_checkpoints", "curves")
"""These change how it is trained, not what."""


def told_changes(folder: Path, config: RunConfig) -> list[str]:
    """What differs from the configuration that the run in `folder` began with, in words; nothing for a new one.

    Raises:
        ConfigError: something differs that the weights of the run depend on.
    """
    file = folder / CONFIG
    if not file.is_file():
        return []
    try:
        before = build(RunConfig, json.loads(file.read_text(encoding="utf-8")), str(file)).to_dict()
    except ConfigError as error:
        return [f"{error}: written by another version, so changes since then are not told"]
    told = []
    for key, old, new in _differences(_by_stage(before), _by_stage(config.to_dict())):
        first, _, rest = key.partition(".")
        if first in FIXED:
            raise ConfigError(f"{folder} holds a run with {key} {old!r}, not {new!r}; undo that, or give another --out")
        if first not in FREE:
            done = first == "stages" and is_whole(folder / "stages" / rest.partition(".")[0])
            told.append(
                f"{key} is {new!r} now, not {old!r}" + ("; that stage is done and stays as it is" if done else "")
            )
    return told


def _by_stage(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "stages": {s["name"]: s for s in values["stages"]}}


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):  # tables within lists have no order
        yield key, old, new
