"""Modules of the authors' checkouts: they are no dependencies, and are there only where golden tensors are made."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def original(name: str) -> Any:
    """A module of a checkout whose folder is on the path, or of what that code needs."""
    return import_module(name)
