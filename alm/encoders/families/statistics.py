"""The baseline without learning by gradient: statistics of log-mel, and how near they are to clusters of a corpus.

What any encoder must beat. `fitted` takes the clusters from one's own clips by k-means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, config_from
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.htsat import HtsatFrontEnd
from alm.errors import ConfigError, WeightsError

_STATISTICS = 4
_SILENCE_DB = -100.0


@dataclass(frozen=True)
class StatisticsConfig:
    """How much is summed up at once, and to how many clusters it is compared."""

    mel_bins: int = 32
    frames_per_step: int = 20
    """Mel frames, 10 ms each, in one feature."""
    clusters: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"statistics: {name} is {value!r}; it must be a whole number above 0")


class StatisticsEncoder(AudioEncoder):
    """One layer: mean, deviation, maximum and mean change of each mel band in a step, then a share of each cluster.

    Statistics are normalised by those of the corpus; the shares are a softmax of squared distances and sum to one.
    """

    name: ClassVar[str] = "statistics"

    def __init__(self, config: StatisticsConfig) -> None:
        super().__init__()
        self.config, size = config, _STATISTICS * config.mel_bins
        self.front_end = front_end_of(config)
        self.frames_per_second = 100.0 / config.frames_per_step
        self.dim, self.num_layers = size + config.clusters, 0
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("clusters", torch.randn(config.clusters, size))
        self.centre: Tensor
        self.spread: Tensor
        self.clusters: Tensor

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / frames_per_step)`, of what there is of the last."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        statistics, valid = self.statistics(spectrogram, mask)
        normal = (statistics - self.centre) / self.spread
        apart = (normal[:, :, None] - self.clusters).square().mean(-1)
        features = torch.cat([normal, torch.softmax(-apart, -1)], dim=-1)
        features = features[:, None].expand(-1, len(wanted), -1, -1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def statistics(self, spectrogram: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, time, 4 * bins]` in dB as they are, and which steps are real."""
        steps = self.config.frames_per_step
        short = -mask.shape[1] % steps
        real = torch.nn.functional.pad(mask, (0, short)).unflatten(1, (-1, steps))
        cells = torch.nn.functional.pad(spectrogram, (0, 0, 0, short)).unflatten(1, (-1, steps))
        cells = cells.masked_fill(~real[..., None], 0.0)
        count = real.sum(2).clamp(min=1)[..., None]
        mean = cells.sum(2) / count
        apart = (cells - mean[:, :, None]).square().masked_fill(~real[..., None], 0.0)
        loudest = cells.masked_fill(~real[..., None], _SILENCE_DB).amax(2)
        change = (cells[:, :, 1:] - cells[:, :, :-1]).abs().masked_fill(~real[:, :, 1:, None], 0.0).sum(2)
        return torch.cat([mean, (apart.sum(2) / count).sqrt(), loudest, change / count], dim=-1), real.any(2)


def fitted(config: StatisticsConfig, clips: Sequence[Tensor], rounds: int = 20, seed: int = 0) -> StatisticsEncoder:
    """The baseline for a corpus of spectrograms `[frames, bins]`: its statistics, and clusters by k-means.

    Raises:
        ConfigError: the clips have fewer steps than there shall be clusters.
    """
    encoder = StatisticsEncoder(config)
    everything = [encoder.statistics(c[None], torch.ones(1, len(c), dtype=torch.bool))[0][0] for c in clips]
    points = torch.cat(everything)
    if len(points) < config.clusters:
        raise ConfigError(f"statistics: {len(points)} steps of sound for {config.clusters} clusters; give more clips")
    encoder.centre, encoder.spread = points.mean(0), points.std(0).clamp(min=1e-3)
    points = (points - encoder.centre) / encoder.spread
    chosen = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[: config.clusters]
    centres = points[chosen]
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=config.clusters)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    encoder.clusters = centres
    return encoder.eval()


def front_end_of(config: StatisticsConfig) -> FrontEnd:
    """Log-mel of 16 kHz every 10 ms."""
    return HtsatFrontEnd(config.mel_bins, 16_000, 60.0, 512, 160, 50.0, 8000.0)


def read(checkpoint: Checkpoint) -> Read:
    """There is no official container: only folders that this project wrote open."""
    raise WeightsError(
        f"{checkpoint.path}: the statistics baseline is fitted to one's own clips (`fitted`); open the folder that "
        "keeps it (config.json and model.safetensors)"
    )


def build(config: Mapping[str, Any]) -> StatisticsEncoder:
    """An encoder with random clusters (`StatisticsConfig` fields)."""
    return StatisticsEncoder(config_from(StatisticsConfig, config))


FAMILY = Family(
    name="statistics",
    build=build,
    front_end=lambda config: front_end_of(config_from(StatisticsConfig, config)),
    read=read,
    sizes=MappingProxyType({"usual": {}}),
    lora_targets=(),
    facts=Facts(
        title="Statistics and clusters",
        paper="none: a baseline",
        home="here",
        hub=(),
        licence_code="ours",
        licence_weights="none",
        good_at="being what a trained encoder must beat, at next to no cost",
        containers=(("our own folder (`alm encoders convert`)", "test_our_own_families_open_from_their_folders"),),
        proved_against="numpy's statistics of the same cells",
        notes="Nothing to tune: no parameters.",
    ),
)
