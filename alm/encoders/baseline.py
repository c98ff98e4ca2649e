"""The baseline of statistics and clusters for recordings of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from alm.audio import load_audio
from alm.encoders.families.statistics import StatisticsConfig, fitted, front_end_of
from alm.encoders.opening import check_new, save
from alm.errors import AudioError, ConfigError

SECONDS = 30.0
"""Of each recording; more of one would outweigh the others."""


def fit_statistics(clips: Sequence[Path], folder: Path, clusters: int, seed: int) -> tuple[int, list[str]]:
    """Fit and save the encoder; gives how many recordings it knows, and why others were refused.

    Raises:
        ConfigError: nothing can be heard, or there is too little of it for so many clusters.
        WeightsError: the folder is not empty.
    """
    check_new(folder)
    config = StatisticsConfig(clusters=clusters)
    front_end = front_end_of(config)
    heard: list[Tensor] = []
    refused: list[str] = []
    for path in _files(clips):
        try:
            samples = load_audio(path).resampled(front_end.sample_rate)[: int(SECONDS * front_end.sample_rate)]
            heard.append(torch.from_numpy(front_end(samples)))
        except AudioError as error:
            refused.append(f"{path}: {error}")
    if not heard:
        first = f"; the first: {refused[0]}" if refused else ""
        raise ConfigError(f"none of {len(refused)} files can be heard{first}")
    save(fitted(config, heard, seed=seed), asdict(config), folder, {"recordings": len(heard)})
    return len(heard), refused


def _files(clips: Sequence[Path]) -> Iterator[Path]:
    for path in clips:
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
