"""A transformer over patches of a log-mel spectrogram, with the interface of the other encoders.

A patch is 16 frames (0.16 s) by 16 of 80 mel bands: five patches a step of time, those of one step beside each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from, load_exactly
from alm.encoders.front_ends.whisper import WhisperFrontEnd
from alm.errors import ConfigError
from training.atomic import whole_file, write_json

SIDE = 16
BINS = 80
BANDS = BINS // SIDE
PIXELS = SIDE * SIDE


@dataclass(frozen=True)
class PatchConfig:
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
                f"patch encoder: dim is {self.dim}; it must be even and a multiple of num_heads {self.num_heads}"
            )
        if self.spread <= 0:
            raise ConfigError(f"patch encoder: spread is {self.spread}; it must be above 0")


class PatchEncoder(AudioEncoder):
    """Pre-norm transformer; positions are sinusoids of time, so any length goes, and a learned vector a band."""

    name: ClassVar[str] = "patches"

    def __init__(self, config: PatchConfig) -> None:
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


def save_encoder(encoder: PatchEncoder, folder: Path, about: dict[str, Any]) -> None:
    """`model.safetensors` and `config.json`, each whole or absent."""
    with whole_file(folder / "model.safetensors") as temporary:
        save_file({n: t.contiguous() for n, t in encoder.state_dict().items()}, temporary)
    write_json(folder / "config.json", {"family": PatchEncoder.name, "config": asdict(encoder.config), **about})


def load_encoder(folder: Path) -> PatchEncoder:
    """Inverse of [`save_encoder`], in evaluation mode, without gradients.

    Raises:
        WeightsError: the tensors do not fit the configuration.
    """
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
    encoder = PatchEncoder(config_from(PatchConfig, values))
    load_exactly(encoder, load_file(folder / "model.safetensors"), str(folder / "model.safetensors"))
    return encoder.eval().requires_grad_(False)
