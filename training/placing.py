"""Batches on the device that trains, and batches made ahead by other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


def moved(value: T, device: torch.device | str) -> T:
    """The same with every tensor in it on `device`; mappings, tuples, lists and frozen dataclasses are gone into."""
    return _moved(value, torch.device(device))  # type: ignore[no-any-return]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {k: _moved(v, device) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(v, device) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _moved(getattr(value, f.name), device) for f in fields(value)})
    return value


class _Steps(Dataset[Any]):
    """Batches by step."""

    def __init__(self, make: Callable[[int], Any], first: int, last: int) -> None:
        self.make, self.first, self.last = make, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> Any:
        return self.make(self.first + index)


def batches(make: Callable[[int], Any], first: int, last: int, workers: int) -> Iterator[Any]:
    """Batches of steps `first` to `last - 1` in order; `workers` processes make them ahead, 0 makes each when asked.

    A batch is a pure function of its step, so the order of work changes nothing.
    """
    if workers == 0:
        # Not ahead in a thread: its own team of OpenMP threads would make all of them sleep at every barrier.
        return (make(step) for step in range(first, last))
    return iter(DataLoader(_Steps(make, first, last), batch_size=None, num_workers=workers, prefetch_factor=4))
