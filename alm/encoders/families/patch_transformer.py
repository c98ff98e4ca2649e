"""A small transformer over patches of a log-mel spectrogram, for pre-training on one's own audio.

A patch is 16 frames (0.16 s) by 16 of 80 mel bands: five patches a step of time, those of one step beside each other.
`python -m training.pretraining` trains it on masked patches, as SSAST and BEATs are trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.whisper import WhisperFrontEnd
from alm.errors import ConfigError, WeightsError

SIDE = 16
BINS = 80
BANDS = BINS // SIDE
PIXELS = SIDE * SIDE


@dataclass(frozen=True)
class PatchTransformerConfig:
    """Size of the encoder, and how its spectrograms are scaled; making one checks it."""

    dim: int = 128
    num_layers: int = 4
    num_heads: int = 4
    ffn_dim: int = 512
    mean: float = 0.0
    """Of the spectrograms that it learnt from."""
    spread: float = 1.0

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or self.dim % 2:
            raise ConfigError(
                f"patch_transformer: dim is {self.dim}; it must be even and a multiple of num_heads {self.num_heads}"
            )
        if self.spread <= 0:
            raise ConfigError(f"patch_transformer: spread is {self.spread}; it must be above 0")


class PatchTransformer(AudioEncoder):
    """Pre-norm transformer; positions are sinusoids of time, so any length goes, and a learned vector a band."""

    name: ClassVar[str] = "patch_transformer"

    def __init__(self, config: PatchTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = WhisperFrontEnd(BINS)
        self.frames_per_second = 100.0 / SIDE
        self.dim, self.num_layers = config.dim * BANDS, config.num_layers
        self.project = nn.Linear(PIXELS, config.dim)
        self.bands = nn.Parameter(torch.randn(BANDS, config.dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, config.ffn_dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)

    def patches(self, spectrogram: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, frames, bins]` to scaled patches `[batch, time * bands, pixels]` and which are real.

        A last, started step of time is filled up with the mean of all spectrograms.
        """
        scaled = (spectrogram - self.config.mean) / self.config.spread
        short = -scaled.shape[1] % SIDE
        scaled = nn.functional.pad(scaled.masked_fill(~mask[..., None], 0.0), (0, 0, 0, short))
        real = nn.functional.pad(mask, (0, short)).unflatten(1, (-1, SIDE)).any(2)
        cut = scaled.unflatten(1, (-1, SIDE)).unflatten(3, (BANDS, SIDE)).permute(0, 1, 3, 2, 4)
        return cut.flatten(3).flatten(1, 2), real.repeat_interleave(BANDS, 1)

    def positions(self, steps: int) -> Tensor:
        """`[steps * bands, dim]`"""
        rates = torch.exp(torch.linspace(0.0, -6.0, self.config.dim // 2, device=self.bands.device))
        angle = torch.arange(steps, device=self.bands.device)[:, None] * rates
        clock = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return (clock[:, None] + self.bands).flatten(0, 1)

    def embed(self, patches: Tensor) -> Tensor:
        """Patches with their positions: `[batch, time * bands, dim]`."""
        return self.project(patches) + self.positions(patches.shape[1] // BANDS)  # type: ignore[no-any-return]

    def run(self, hidden: Tensor, real: Tensor, kept: dict[int, Tensor] | None = None) -> Tensor:
        """All layers over embedded patches, attending to real ones alone; `kept` collects every layer's output."""
        for index, layer in enumerate(self.layers, start=1):
            hidden = layer(hidden, src_key_padding_mask=~real)
            if kept is not None:
                kept[index] = hidden
        return self.norm(hidden)  # type: ignore[no-any-return]

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / 16)`, the bands of a step side by side."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        patches, real = self.patches(spectrogram, mask)
        kept = {0: self.embed(patches)}
        kept[self.num_layers] = self.run(kept[0], real, kept)
        valid = real[:, ::BANDS]
        features = torch.stack([kept[i].unflatten(1, (-1, BANDS)).flatten(2) for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)


def read(checkpoint: Checkpoint) -> Read:
    """There is no official container: only folders that this project wrote open."""
    raise WeightsError(
        f"{checkpoint.path}: no weights of this encoder are published; pre-train one on your own audio "
        "(`python -m training.pretraining`), and open the folder that keeps it (config.json and model.safetensors)"
    )


def build(config: Mapping[str, Any]) -> PatchTransformer:
    """A randomly initialised encoder with this architecture (`PatchTransformerConfig` fields)."""
    return PatchTransformer(config_from(PatchTransformerConfig, config))


FAMILY = Family(
    name="patch_transformer",
    build=build,
    front_end=lambda config: WhisperFrontEnd(BINS),
    read=read,
    sizes=MappingProxyType({"small": {}, "base": {"dim": 256, "num_layers": 8, "num_heads": 8, "ffn_dim": 1024}}),
    lora_targets=("linear1", "linear2"),
    facts=Facts(
        title="Patch transformer for one's own audio",
        paper="objectives: SSAST, arXiv 2110.09784; BEATs, arXiv 2212.09058; OpenBEATs, arXiv 2507.14129",
        home="here",
        hub=(),
        licence_code="ours",
        licence_weights="no weights are published; one's own",
        good_at="sounds of a corpus without labels, after pre-training on it",
        containers=(
            ("our own folder (`python -m training.pretraining`)", "test_our_own_families_open_from_their_folders"),
        ),
        proved_against="no reference exists; docs/own-encoder.md measures what it adds",
        notes="Sizes are ours. Five bands of a step stand side by side: a feature is five times as wide as a layer.",
    ),
)
