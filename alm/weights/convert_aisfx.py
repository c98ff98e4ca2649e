"""aiSFX's checkpoint, a pickled pair, to safetensors: read once with an allow-list that runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors.torch import save_file
from torch import Tensor

from alm import encoders
from alm.encoders.base import load_exactly
from alm.errors import WeightsError
from alm.weights.progress import Progress

_ALLOWED: list[Any] = [(multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype, type(np.dtype(np.int64))]
"""Besides tensors: the whole numbers in the table of libraries, which numpy pickled as its own scalars."""


def convert(files: Mapping[str, Path], folder: Path, progress: Progress) -> None:
    """`checkpoint.pth` to model.safetensors (embedding network), heads.safetensors and config.json.

    Raises:
        WeightsError: the checkpoint holds anything but the expected tensors and table.
    """
    progress("convert aisfx", 0.0)
    tensors, libraries = _read(files["checkpoint.pth"])
    bodies = {key: value for key, value in tensors.items() if not key.startswith("fc.")}
    heads = {key: value for key, value in tensors.items() if key.startswith("fc.")}
    name = files["checkpoint.pth"].name
    load_exactly(encoders.build("aisfx"), bodies, name)
    load_exactly(encoders.AisfxHeads(libraries), heads, name)
    progress("convert aisfx", 0.5)
    save_file(bodies, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(heads, folder / "heads.safetensors", metadata={"format": "pt"})
    config = {"family": "aisfx", "mel_bins": 96, "libraries": libraries}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    progress("convert aisfx", 1.0)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Tensors, and classes of each library in the order of the heads."""
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True)
        tensors, table = content
        return dict(tensors), _libraries(table)
    except Exception as error:  # the unpickler's own error types are private to it
        raise WeightsError(f"{path} is not the aiSFX checkpoint that was pinned: {error}") from error


def _libraries(table: Mapping[str, tuple[Any, Any]]) -> dict[str, int]:
    ordered = sorted(table.items(), key=lambda item: int(item[1][0]))
    if [int(index) for _, (index, _) in ordered] != list(range(len(ordered))):
        raise ValueError(f"its libraries are not numbered 0..{len(ordered) - 1}")
    return {name: int(classes) for name, (_, classes) in ordered}
