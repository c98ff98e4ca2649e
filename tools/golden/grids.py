"""What the comparisons with the originals of the patch-grid encoders share."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OUT = Path(__file__).parents[2] / "tests" / "golden" / "encoders"


def import_file(path: Path, name: str = "") -> Any:
    """One file of a checkout as a module."""
    spec = importlib.util.spec_from_file_location(name or f"original_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def module_of(folder: Path, name: str) -> Any:
    """A module of a checkout, whose folder is searched first from now on."""
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def hidden_states(blocks: Iterable[nn.Module], run: Callable[[], object]) -> list[Tensor]:
    """What enters the first block and what leaves each, while `run` runs."""
    states: list[Tensor] = []
    listed = list(blocks)
    hooks = [listed[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].clone()))]
    hooks += [block.register_forward_hook(lambda _, __, out: states.append(out.clone())) for block in listed]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return states


def mean_over_rows(tokens: Tensor, rows: int) -> Tensor:
    """Tokens row by row `[batch, rows * steps, dim]` to `[batch, steps, dim]`."""
    return tokens.unflatten(1, (rows, -1)).mean(1)  # type: ignore[no-any-return]
