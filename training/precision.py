"""Which precision is faster on this machine: a property of the processor, so it is measured."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from torch import nn

ROWS, WIDTH, INNER = 2000, 576, 1536
"""Matrices of the embedded default: `[2000, 576] x [576, 1536]`."""
WARM_UP, TIMES = 5, 50
WORTH = 1.2
"""bfloat16 must be so much faster: it is less exact, and only a part of a step are products of matrices."""


def gigaflops(dtype: torch.dtype) -> float:
    """Billions of operations a second in products of the embedded default's matrices."""
    left, right = torch.randn(ROWS, WIDTH).to(dtype), torch.randn(WIDTH, INNER).to(dtype)
    for _ in range(WARM_UP):
        left @ right
    started = time.perf_counter()
    for _ in range(TIMES):
        left @ right
    return TIMES * 2 * ROWS * WIDTH * INNER / (time.perf_counter() - started) / 1e9


def faster(single: float, half: float) -> str:
    """`bf16` or `fp32`, whichever a run should have where they reach so many operations a second."""
    return "bf16" if half > WORTH * single else "fp32"


def fastest() -> str:
    """`bf16` or `fp32`, by what this machine reaches."""
    return faster(gigaflops(torch.float32), gigaflops(torch.bfloat16))


def settled(folder: Path) -> str:
    """What `auto` means for the run in `folder`: what it began with, or what is faster here if it has not begun."""
    file = folder / "config.json"
    begun = json.loads(file.read_text(encoding="utf-8"))["precision"] if file.is_file() else "auto"
    return begun if begun != "auto" else fastest()


def as_kept(model: nn.Module) -> torch.autocast:
    """Autocast where frozen matrices are kept in bfloat16 (`training.groups.narrow_frozen`), and nothing elsewhere."""
    narrow = any(p.dtype == torch.bfloat16 for p in model.parameters())
    return torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=narrow)
