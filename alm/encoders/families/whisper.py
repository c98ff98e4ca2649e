"""Whisper's encoder (Radford et al. 2022) on clips of any length up to 30 s, without padding them to 30 s.

transformers' own encoder insists on 3000 frames. This module runs the same layers on as many frames as there are:
the sinusoidal positions are sliced, padding is zero wherever a lone clip would see a convolution's zero padding, and
attention does not look at padding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu
from transformers import WhisperConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.whisper import WhisperFrontEnd
from alm.errors import ConfigError, WeightsError


@dataclass(frozen=True)
class WhisperEncoderConfig:
    """Architecture of the encoder; the defaults are Whisper tiny's."""

    dim: int = 384
    num_layers: int = 4
    num_heads: int = 6
    ffn_dim: int = 1536
    mel_bins: int = 80
    max_positions: int = 1500
    """Positions after the second convolution, 20 ms each."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"whisper encoder: {name} is {value!r}; it must be a whole number above 0")
        if self.dim % self.num_heads:
            raise ConfigError(f"whisper encoder: dim {self.dim} is no multiple of num_heads {self.num_heads}")

    @classmethod
    def from_checkpoint(cls, config: Mapping[str, Any]) -> WhisperEncoderConfig:
        """From the config.json of a transformers Whisper folder."""
        return cls(
            config["d_model"],
            config["encoder_layers"],
            config["encoder_attention_heads"],
            config["encoder_ffn_dim"],
            config["num_mel_bins"],
            config["max_source_positions"],
        )

    def to_transformers(self) -> WhisperConfig:
        """The same as transformers says it; the decoder's fields stay at their defaults, for no decoder is made."""
        return WhisperConfig(
            d_model=self.dim,
            encoder_layers=self.num_layers,
            encoder_attention_heads=self.num_heads,
            encoder_ffn_dim=self.ffn_dim,
            num_mel_bins=self.mel_bins,
            max_source_positions=self.max_positions,
        )


class WhisperAudioEncoder(AudioEncoder):
    """transformers' `WhisperEncoder` under `encoder.`, run on as many frames as there are.

    Layer 0 is the convolutional stem with positions, layer i the i-th transformer layer, and the last one is
    normalised as the decoder would see it.
    """

    name: ClassVar[str] = "whisper"

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(config.to_transformers())
        self.front_end = WhisperFrontEnd(config.mel_bins)
        self.frames_per_second = 50.0
        self.dim = config.dim
        self.num_layers = config.num_layers

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / 2)`, 20 ms each."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        hidden, valid = self._stem(spectrogram, mask)
        kept = {0: hidden}
        attention = create_bidirectional_mask(config=self.encoder.config, inputs_embeds=hidden, attention_mask=valid)
        for index, layer in enumerate(self.encoder.layers[: max(wanted, default=0)], start=1):
            hidden = layer(hidden, attention)
            kept[index] = self.encoder.layer_norm(hidden) if index == self.num_layers else hidden
        features = torch.stack([kept[i] for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _stem(self, spectrogram: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Both convolutions and the positions: `[batch, time, dim]` and its mask."""
        limit = 2 * self.encoder.max_source_positions
        if spectrogram.shape[1] > limit:
            raise ConfigError(
                f"whisper: {spectrogram.shape[1]} frames; the limit is {limit} ({limit / 100:g} s). Cut into windows"
            )
        real = mask[:, None, :]
        # Zero in front of each convolution is what a lone clip sees beyond its end.
        mel = spectrogram.transpose(1, 2).masked_fill(~real, 0.0)
        first = gelu(self.encoder.conv1(mel)).masked_fill(~real, 0.0)
        hidden = gelu(self.encoder.conv2(first)).transpose(1, 2)
        return hidden + self.encoder.embed_positions.weight[: hidden.shape[1]], mask[:, ::2]


def build(config: Mapping[str, Any]) -> WhisperAudioEncoder:
    """A randomly initialised encoder with this architecture (`WhisperEncoderConfig` fields)."""
    return WhisperAudioEncoder(config_from(WhisperEncoderConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """OpenAI's own file (`dims`, `model_state_dict`) or a transformers folder; the decoder is left out."""
    if "dims" in checkpoint.settings:
        config = _of_openai(checkpoint.settings["dims"])
        names = {name: _renamed(name) for name in checkpoint.tensors}
    else:
        config = WhisperEncoderConfig.from_checkpoint(checkpoint.settings)
        names = {name: name.removeprefix("model.") for name in checkpoint.tensors}
    kept = {new: checkpoint.tensors[old] for old, new in names.items() if new.startswith("encoder.")}
    if not kept:
        raise WeightsError(f"{checkpoint.path}: no tensor under `encoder.`; this is no Whisper with an encoder")
    unused = tuple(old for old, new in names.items() if new not in kept)
    return Read(dict(vars(config)), kept, unused)


def _of_openai(dims: Mapping[str, Any]) -> WhisperEncoderConfig:
    return WhisperEncoderConfig(
        dims["n_audio_state"],
        dims["n_audio_layer"],
        dims["n_audio_head"],
        4 * dims["n_audio_state"],
        dims["n_mels"],
        dims["n_audio_ctx"],
    )


_RENAMES = (
    (r"\.blocks\.", ".layers."),
    (r"\.attn\.query\.", ".self_attn.q_proj."),
    (r"\.attn\.key\.", ".self_attn.k_proj."),
    (r"\.attn\.value\.", ".self_attn.v_proj."),
    (r"\.attn\.out\.", ".self_attn.out_proj."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"^encoder\.ln_post\.", "encoder.layer_norm."),
    (r"^encoder\.positional_embedding$", "encoder.embed_positions.weight"),
)
"""From OpenAI's names to transformers'."""


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _size(dim: int, layers: int, heads: int, bins: int = 80) -> dict[str, int]:
    return {"dim": dim, "num_layers": layers, "num_heads": heads, "ffn_dim": 4 * dim, "mel_bins": bins}


FAMILY = Family(
    name="whisper",
    build=build,
    front_end=lambda config: WhisperFrontEnd(config.get("mel_bins", 80)),
    read=read,
    sizes={
        "tiny": _size(384, 4, 6),
        "base": _size(512, 6, 8),
        "small": _size(768, 12, 12),
        "medium": _size(1024, 24, 16),
        "large-v2": _size(1280, 32, 20),
        "large-v3": _size(1280, 32, 20, 128),
        "large-v3-turbo": _size(1280, 32, 20, 128),
    },
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="Whisper",
        paper="Radford et al. 2022, arXiv 2212.04356",
        home="github.com/openai/whisper",
        hub=(
            "openai/whisper-tiny",
            "openai/whisper-base",
            "openai/whisper-small",
            "openai/whisper-medium",
            "openai/whisper-large-v2",
            "openai/whisper-large-v3",
            "openai/whisper-large-v3-turbo",
        ),
        licence_code="MIT",
        licence_weights="MIT (the hub's copies: Apache-2.0)",
        good_at="speech and its content in many languages; middle layers carry sound events, too",
        containers=(
            ("OpenAI's `.pt`", "test_openais_whisper_file"),
            ("transformers folder", "test_a_transformers_folder_of_whisper_opens"),
            ("CTranslate2's, by `alm weights`", "test_pretrained_encoders_hear_the_same_padded_and_alone"),
        ),
        proved_against="transformers 5.19 `WhisperEncoder`, front end `WhisperFeatureExtractor`",
        notes="The floor of the spectrogram lies 8 decades under the loudest cell of the clip. Shorter clips are not "
        "padded to 30 s: positions are sliced, so features differ from those of a clip that silence follows.",
    ),
)
