"""Weights and inputs from a seed, and the file that a comparison is kept in. Needs numpy, torch and safetensors only.

A golden file holds `output.LAYER` tensors, and whatever could not be made from the seed as `weights.NAME` or
`input.spectrogram`. Its metadata is one JSON text under `golden`: family, shapes of the official state dict, settings
of the official container, seed, shape of the input, layers, source (repository and commit).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Golden:
    """What was compared."""

    family: str
    source: str
    """Repository and commit, or package and version, that gave the numbers."""
    shapes: Mapping[str, Sequence[int]]
    """Names and shapes of the state dict as the original names them."""
    input_shape: Sequence[int]
    """[batch, frames, bins]"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the official container says besides the weights."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of our configuration that the container does not say."""
    seed: int = 0
    tolerance: float = 1e-4


def seeded(name: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """A tensor that keeps signals at their level: scaled by its fan-in, around one for norms, positive variances."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.standard_normal(tuple(shape))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    if name.endswith("running_var"):
        values = 0.5 + np.abs(values)
    elif len(shape) >= 2:
        values = values / max(1.0, float(np.prod(shape[1:]))) ** 0.5
    elif name.endswith("weight"):
        values = 1.0 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(np.asarray(values, np.float32))


def seeded_state(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Tensor]:
    """A whole state dict."""
    return {name: seeded(name, shape, seed) for name, shape in shapes.items()}


def seeded_input(golden: Golden) -> Tensor:
    """The spectrogram `[batch, frames, bins]`, of standard deviation 1."""
    values = np.random.default_rng([golden.seed, 1]).standard_normal(tuple(golden.input_shape))
    return torch.from_numpy(values.astype(np.float32))


def write(
    golden: Golden, outputs: Mapping[int, Tensor], path: Path, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Keep `outputs` (layer number of ours to `[batch, time, dim]`) and the weights that no seed gives."""
    from safetensors.torch import save_file

    tensors = {f"output.{layer}": value.detach().float().contiguous() for layer, value in outputs.items()}
    tensors |= {f"weights.{name}": value.detach().contiguous().clone() for name, value in (weights or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"golden": json.dumps(asdict(golden))})


def read(path: Path) -> tuple[Golden, dict[str, Tensor], dict[int, Tensor]]:
    """The record, the official state dict and the outputs by layer."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        golden = Golden(**json.loads(file.metadata()["golden"]))
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = seeded_state(golden.shapes, golden.seed)
    state |= {k.removeprefix("weights."): v for k, v in kept.items() if k.startswith("weights.")}
    return golden, state, {int(k.removeprefix("output.")): v for k, v in kept.items() if k.startswith("output.")}
