"""Safetensors whose tensors may be larger than the memory: written a piece at a time, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_KINDS = {torch.float64: "F64", torch.float32: "F32"}
_ROWS_AT_ONCE = 4096


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of float32 and float64, which may be views and may lie on the disk.

    Raises:
        OSError: the disk is full, or the place cannot be written to; no file is left then.
    """
    # Wide numbers come first, so that all of them stand in line; the header is filled up to eight bytes for the same.
    ordered = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in ordered.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for tensor in ordered.values():
                for first in range(0, len(tensor), _ROWS_AT_ONCE):
                    rows = tensor[first : first + _ROWS_AT_ONCE].numpy()
                    file.write(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
