"""A tiny transformer over mel frames, as Elliott, Otero, Wyatt and Martino (2021) use for sounds at the edge.

Nobody publishes weights: it is there to be trained on one's own sounds, from some thousand parameters up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, config_from
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.htsat import HtsatFrontEnd
from alm.errors import ConfigError, WeightsError

_MEAN_DB, _DEVIATION_DB = -40.0, 25.0


@dataclass(frozen=True)
class TinyTransformerConfig:
    """Architecture; the defaults have 8 thousand parameters besides the positions."""

    dim: int = 16
    num_layers: int = 2
    num_heads: int = 2
    ffn_dim: int = 64
    mel_bins: int = 64
    frames_per_step: int = 2
    """Mel frames, 10 ms each, that are projected to one step."""
    max_steps: int = 512

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"tiny_transformer: {name} is {value!r}; it must be a whole number above 0")
        if self.dim % self.num_heads:
            raise ConfigError(f"tiny_transformer: dim {self.dim} is no multiple of num_heads {self.num_heads}")


class TinyTransformerEncoder(AudioEncoder):
    """Layer 0 is the projected frames with positions, layer i the i-th layer; the last one is normalised.

    A started step at the end is filled with silence.
    """

    name: ClassVar[str] = "tiny_transformer"

    def __init__(self, config: TinyTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = front_end_of(config)
        self.frames_per_second = 100.0 / config.frames_per_step
        self.dim, self.num_layers = config.dim, config.num_layers
        self.project = nn.Linear(config.mel_bins * config.frames_per_step, config.dim)
        self.positions = nn.Parameter(torch.randn(config.max_steps, config.dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, config.ffn_dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / frames_per_step)`."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        steps = self.config.frames_per_step
        levels = ((spectrogram - _MEAN_DB) / _DEVIATION_DB).masked_fill(~mask[:, :, None], 0.0)
        short = -mask.shape[1] % steps
        valid = nn.functional.pad(mask, (0, short)).unflatten(1, (-1, steps)).any(2)
        x = self.project(nn.functional.pad(levels, (0, 0, 0, short)).unflatten(1, (-1, steps)).flatten(2))
        if x.shape[1] > self.config.max_steps:
            raise ConfigError(
                f"tiny_transformer: {x.shape[1]} steps; the limit is {self.config.max_steps}. Cut into windows"
            )
        x = x + self.positions[: x.shape[1]]
        kept = {0: x}
        for index, layer in enumerate(self.layers[: max(wanted, default=0)], start=1):
            x = layer(x, src_key_padding_mask=~valid)
            kept[index] = self.norm(x) if index == self.num_layers else x
        features = torch.stack([kept[i] for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)


def front_end_of(config: TinyTransformerConfig) -> FrontEnd:
    """Log-mel of 16 kHz every 10 ms, as long as there are positions for it."""
    seconds = (config.max_steps * config.frames_per_step - 1) / 100
    return HtsatFrontEnd(config.mel_bins, 16_000, seconds, 512, 160, 50.0, 8000.0)


def read(checkpoint: Checkpoint) -> Read:
    """There is no official container: only folders that this project wrote open."""
    raise WeightsError(
        f"{checkpoint.path}: no weights of tiny transformers are published; train one, and open the folder that "
        "keeps it (config.json and model.safetensors)"
    )


def build(config: Mapping[str, Any]) -> TinyTransformerEncoder:
    """A randomly initialised encoder with this architecture (`TinyTransformerConfig` fields)."""
    return TinyTransformerEncoder(config_from(TinyTransformerConfig, config))


FAMILY = Family(
    name="tiny_transformer",
    build=build,
    front_end=lambda config: front_end_of(config_from(TinyTransformerConfig, config)),
    read=read,
    sizes=MappingProxyType({"8k": {}, "100k": {"dim": 64, "num_heads": 4, "ffn_dim": 128}}),
    lora_targets=("linear1", "linear2"),
    facts=Facts(
        title="Tiny transformer for the edge",
        paper="Elliott, Otero, Wyatt and Martino, 2021: arXiv 2103.12157",
        home="none kept",
        hub=(),
        licence_code="ours",
        licence_weights="no weights are published",
        good_at="a few classes of sounds on small devices, after training on them",
        containers=(("our own folder (`alm encoders convert`)", "test_our_own_families_open_from_their_folders"),),
        proved_against="no reference exists: the architecture follows the paper's description, sizes are ours",
        notes="The sizes are examples; the paper's exact layer sizes are not kept here.",
    ),
)
