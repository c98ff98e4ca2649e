"""Running the authors' code: stand-ins for packages that it imports but that its numbers do not need, and records."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn


class _StandIn(ModuleType):
    """A module that has every name; modules below it are stand-ins, too."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=f"{self.__name__}.{name}")


class _Finder(MetaPathFinder, Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] in self.names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def stand_in(*names: str) -> None:
    """From now on these packages, whatever is asked of them, import as stand-ins."""
    sys.meta_path.insert(0, _Finder(names))


def give(stand_in_name: str, **members: Any) -> None:
    """Put real things under names of a stand-in, where a stand-in will not do."""
    import_module(stand_in_name).__dict__.update(members)


def installed(name: str) -> Any:
    """A module of a package in the original's environment, which is no dependency of this project."""
    return import_module(name)


def allow_shared_defaults() -> None:
    """Dataclasses of originals written before Python 3.11 share instances as defaults, which must be hashable now."""
    real = dataclasses.dataclass

    def tolerant(kind: Any = None, /, **options: Any) -> Any:
        if kind is None:
            return partial(tolerant, **options)
        return real(kind, **({} if "__hash__" in vars(kind) else {"unsafe_hash": True}), **options)

    dataclasses.dataclass = tolerant


def recorded(blocks: Sequence[nn.Module], run: Callable[[], Any]) -> list[Tensor]:
    """What enters the first block, and what leaves each, while `run` runs."""
    seen: list[Tensor] = []
    hooks = [blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    hooks += [block.register_forward_hook(lambda _, __, out: seen.append(_first(out))) for block in blocks]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return seen


def _first(value: Any) -> Tensor:
    first: Tensor = value[0] if isinstance(value, tuple) else value
    return first


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict, tensors only."""
    return {name: tuple(t.shape) for name, t in module.state_dict().items() if isinstance(t, Tensor)}
