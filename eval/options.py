"""What the command line of evaluation says; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    preset: str = "tiny"
    adapter: Path | None = None
    corpus: Path | None = None
    limit: int | None = None
    """Only about so many questions, for a quick look."""
    out: Path = Path("docs/results")
    seed: int = 0
    split: str = "test"
    """Split of the corpus that is judged; figures are of `test`."""
    cache: Path | None = None
    """Folder for features of frozen encoders; None means the weights' home."""
    device: str = "cpu"
