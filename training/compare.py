"""The same curriculum once for each fusion scheme and depth: same data, same seed, only the door differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from alm.adapters import ABOUT
from alm.errors import ConfigError
from training.config import RunConfig
from training.export import write_adapter
from training.run import Run
from training.study import arms
from training.study.arms import Arm

ADAPTER = "adapter"


VARIANTS = arms.chosen(("prefix", "delayed-4", "delayed-8", "delayed-16", "keys-values-8", "hybrid-8"))
"""The study's arms that are compared: ways to let the audio in."""


def chosen(names: Sequence[str]) -> list[Arm]:
    """Variants by name, all without names.

    Raises:
        ConfigError: there is none of that name.
    """
    known = {v.name: v for v in VARIANTS}
    if unknown := [n for n in names if n not in known]:
        raise ConfigError(f"no variant {unknown[0]!r}; variants are {', '.join(known)}")
    return [known[n] for n in names] or list(VARIANTS)


def with_fusion(config: RunConfig, variant: Arm) -> RunConfig:
    """The run's configuration with another door in every branch."""
    return arms.configured(config, variant, config.seed)


def compare(config: RunConfig, folder: Path, variants: Sequence[Arm], say: Callable[[str], None] = print) -> bool:
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
