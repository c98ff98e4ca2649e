"""The same curriculum once for each fusion scheme and depth: same data, same seed, only the door differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alm.adapters import ABOUT
from alm.errors import ConfigError
from alm.presets import load_preset
from training.config import RunConfig
from training.export import write_adapter
from training.run import Run

ADAPTER = "adapter"


@dataclass(frozen=True)
class Variant:
    """One way to let the audio in."""

    name: str
    fusion: Mapping[str, Any]
    """Fields of `FusionConfig`, for every branch of the preset."""


VARIANTS = (
    Variant("prefix", {"scheme": "prefix", "start_layer": 0}),
    Variant("delayed-4", {"scheme": "delayed", "start_layer": 4}),
    Variant("delayed-8", {"scheme": "delayed", "start_layer": 8}),
    Variant("delayed-16", {"scheme": "delayed", "start_layer": 16}),
    Variant("keys-values-8", {"scheme": "keys_values", "start_layer": 8}),
    Variant("hybrid-8", {"scheme": "hybrid", "start_layer": 8}),
)


def chosen(names: Sequence[str]) -> list[Variant]:
    """Variants by name, all without names.

    Raises:
        ConfigError: there is none of that name.
    """
    known = {v.name: v for v in VARIANTS}
    if unknown := [n for n in names if n not in known]:
        raise ConfigError(f"no variant {unknown[0]!r}; variants are {', '.join(known)}")
    return [known[n] for n in names] or list(VARIANTS)


def with_fusion(config: RunConfig, variant: Variant) -> RunConfig:
    """The run's configuration with another door in every branch."""
    model = {**load_preset(config.preset).model, **config.model}
    branches = [{**branch, "fusion": dict(variant.fusion)} for branch in model["branches"]]
    return replace(config, model={**config.model, "branches": branches})


def compare(config: RunConfig, folder: Path, variants: Sequence[Variant], say: Callable[[str], None] = print) -> bool:
    """Train and export every variant into `folder/NAME`, going on where an earlier call stopped.

    Gives False when it was asked to stop.
    """
    for variant in variants:
        own, adapter = folder / variant.name, folder / variant.name / ADAPTER
        if (adapter / ABOUT).is_file():
            say(f"{variant.name}: there already")
            continue
        settings = with_fusion(config, variant)
        say(f"{variant.name}: {dict(variant.fusion)}")
        if not Run(settings, own, say).go():
            return False
        write_adapter(settings, own, adapter)
    return True
