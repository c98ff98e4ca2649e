"""How weights report what they are doing, and how they hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

Progress = Callable[[str, float], None]
"""Called with a step's name and its fraction done, 0 to 1."""

_BLOCK_BYTES = 1 << 20


def silent(step: str, fraction: float) -> None:
    """Report nothing."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
