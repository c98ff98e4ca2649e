"""What there is to know of a family without its weights: facts, front end and the figures of each published size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from alm.encoders.base import FrontEnd
from alm.encoders.families import MODULES, family


@dataclass(frozen=True)
class Size:
    """One published size."""

    name: str
    front_end: FrontEnd
    features_per_second: float
    dim: int
    layers: int
    """Number of the deepest layer."""
    parameters: int


def sizes(name: str) -> list[Size]:
    """The published sizes of a family, measured on modules that take no memory.

    Raises:
        ConfigError: there is no such family.
    """
    return [_measured(name, size, dict(config)) for size, config in family(name).sizes.items()]


def _measured(name: str, size: str, config: dict[str, Any]) -> Size:
    with torch.device("meta"):
        encoder = family(name).build(config)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    rate = encoder.frames_per_second
    return Size(size, encoder.front_end, rate, encoder.dim, encoder.num_layers, count)


def described(name: str) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    known = family(name)
    measured = [{**asdict(s), "front_end": _front_end(s.front_end)} for s in sizes(name)]
    return {"family": name, **asdict(known.facts), "lora_targets": list(known.lora_targets), "sizes": measured}


def _front_end(front_end: FrontEnd) -> dict[str, Any]:
    """The fields, and the rate where it is the same for every front end of the kind."""
    rate = {"sample_rate": front_end.sample_rate, "hop_samples": front_end.hop_samples}
    return {**front_end.to_dict(), **rate, "max_seconds": front_end.max_seconds}


def all_described() -> list[dict[str, Any]]:
    """All families in the order of their names."""
    return [described(name) for name in sorted(MODULES)]
