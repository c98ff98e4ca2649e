"""The audio branch of ONE-PEACE (Wang et al. 2023): samples through convolutions and 40 layers of a shared trunk.

Written for its layout: the audio adapter and each layer's audio feed-forward network are read from the 4 B checkpoint,
what belongs to text and images is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from
from alm.encoders.blocks.waves import ConvLayer, at_least, convolved, lengths_after
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.raw import RawFrontEnd
from alm.errors import ConfigError, WeightsError

_KERNELS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
"""Kernel and stride of each convolution over the samples."""
_MOST_POSITIONS = 1024


@dataclass(frozen=True)
class OnePeaceConfig:
    """Architecture; the defaults are those of the released model."""

    dim: int = 1536
    num_layers: int = 40
    num_heads: int = 24
    ffn_dim: int = 6144
    conv_dim: int = 512
    position_layers: int = 5
    position_kernel: int = 19
    position_groups: int = 16
    bucket_size: int = 512
    """Distances in each direction, in steps, that have a bias of their own or share one with some neighbours."""
    own_biases: bool = False
    """A table of position biases in each layer (fine-tuned models) rather than one for all."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "own_biases" and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"one_peace: {name} is {value!r}; it must be a whole number above 0")
        if self.dim % self.num_heads or self.dim % self.position_groups:
            raise ConfigError(
                f"one_peace: dim {self.dim} is no multiple of num_heads {self.num_heads} and position_groups "
                f"{self.position_groups}"
            )
        if not 2 <= self.bucket_size < _MOST_POSITIONS:
            raise ConfigError(f"one_peace: bucket_size is {self.bucket_size}; it must be 2..{_MOST_POSITIONS - 1}")


class Attention(nn.Module):
    """Attention with a bias by relative position; its result is normalised before the last projection."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.ln = nn.LayerNorm(dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`[batch, time, dim]`, with a bias `[batch, heads, time, time]` that is -inf for padding."""
        parts = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        query, key, value = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out_proj(self.ln(mixed.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class GatedFeedForward(nn.Module):
    """GELU-gated, with a norm before the way back."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.wi_0, self.wi_1 = nn.Linear(dim, ffn_dim, bias=False), nn.Linear(dim, ffn_dim, bias=False)
        self.norm, self.wo = nn.LayerNorm(ffn_dim), nn.Linear(ffn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(self.norm(gelu(self.wi_0(x)) * self.wi_1(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm layer with learned scales of both branches."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = Attention(dim, num_heads), nn.LayerNorm(dim)
        self.ffn, self.final_layer_norm = GatedFeedForward(dim, ffn_dim), nn.LayerNorm(dim)
        self.gamma_1, self.gamma_2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.gamma_1 * self.self_attn(self.self_attn_layer_norm(x), bias)
        return x + self.gamma_2 * self.ffn(self.final_layer_norm(x))  # type: ignore[no-any-return]


def distance_buckets(size: int, steps: int) -> Tensor:
    """Row of the bias table for each pair of steps `[steps, steps]`: exact up to size / 2, then ever coarser.

    Step 0 is the leading token, whose biases to, from and with itself are the table's last three rows.
    """
    place = torch.arange(steps)
    apart = place[:, None] - place
    middle, far = size // 2, apart.abs().clamp(min=1)
    coarse = torch.log(far / middle) / math.log((_MOST_POSITIONS - 1) / middle) * (middle - 1)
    stretched = (middle + torch.ceil(coarse).long()) * apart.sign()
    rows = torch.where(far <= middle, apart, stretched) + size - 1
    last = 2 * size - 1
    rows[0, :], rows[:, 0] = last, last + 1
    rows[0, 0] = last + 2
    return rows


class OnePeaceAudioEncoder(AudioEncoder):
    """Layer 0 enters the trunk (features with positions), layer i leaves its i-th layer, the last one normalised.

    The leading token is used inside and dropped. The authors repeat clips below one second up to it; here they are
    heard as they are, and followed by silence up to the 25 ms that one feature needs.
    """

    name: ClassVar[str] = "one_peace"

    def __init__(self, config: OnePeaceConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = RawFrontEnd(sample_rate=16_000, max_seconds=15.0, normalise=True, epsilon=1e-5)
        self.frames_per_second = 50.0
        self.dim, self.num_layers = config.dim, config.num_layers
        inputs = (1, *[config.conv_dim] * (len(_KERNELS) - 1))
        self.convs = nn.ModuleList(
            ConvLayer(i, config.conv_dim, kernel, stride) for i, (kernel, stride) in zip(inputs, _KERNELS, strict=True)
        )
        self.norm, self.project = nn.LayerNorm(config.conv_dim), nn.Linear(config.conv_dim, config.dim)
        half = config.position_kernel // 2
        self.positions = nn.ModuleList(
            nn.Conv1d(config.dim, config.dim, config.position_kernel, padding=half, groups=config.position_groups)
            for _ in range(config.position_layers)
        )
        self.cls_embedding = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.cls_pos_embed = nn.Parameter(torch.zeros(1, 1, config.dim))
        tables = config.num_layers if config.own_biases else 1
        self.biases = nn.ModuleList(nn.Embedding(2 * config.bucket_size + 2, config.num_heads) for _ in range(tables))
        self.layers = nn.ModuleList(
            Layer(config.dim, config.num_heads, config.ffn_dim) for _ in range(config.num_layers)
        )
        self.layer_norm = nn.LayerNorm(config.dim)

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; one feature for each 320 samples whose 400 samples are there."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        x, valid = self._embedded(*at_least(400, spectrogram, mask))
        seen = nn.functional.pad(valid, (1, 0), value=True)
        rows, kept = distance_buckets(self.config.bucket_size, x.shape[1]).to(x.device), {0: x}
        bias = self._bias(0, rows, seen)
        for index, layer in enumerate(self.layers[: max(wanted, default=0)], start=1):
            if self.config.own_biases and index > 1:
                bias = self._bias(index - 1, rows, seen)
            x = layer(x, bias)
            kept[index] = self.layer_norm(x) if index == self.num_layers else x
        features = torch.stack([kept[i][:, 1:] for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _embedded(self, samples: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Leading token and features `[batch, 1 + time, dim]`, and which features are real `[batch, time]`."""
        heard = convolved(self.convs, samples)
        steps = torch.arange(heard.shape[1], device=mask.device)
        valid = steps < lengths_after(_KERNELS, mask.sum(1))[:, None]
        x = self.project(self.norm(heard))
        if x.shape[1] >= _MOST_POSITIONS:
            raise ConfigError(f"one_peace: {x.shape[1]} features; the limit is {_MOST_POSITIONS - 1}. Cut into windows")
        first = self.cls_embedding + self.cls_pos_embed
        x = torch.cat([first.expand(len(x), -1, -1), x + self._placed(x, valid[:, None])], dim=1)
        return x * nn.functional.pad(valid, (1, 0), value=True)[:, :, None], valid

    def _placed(self, x: Tensor, real: Tensor) -> Tensor:
        """Positions by convolutions over the features; padding is zero before each, as beyond a lone clip's end."""
        placed = x.transpose(1, 2)
        for conv in self.positions:
            placed = conv(placed * real).transpose(1, 2)
            placed = gelu(layer_norm(placed, placed.shape[2:])).transpose(1, 2)
        return placed.transpose(1, 2)

    def _bias(self, table: int, rows: Tensor, seen: Tensor) -> Tensor:
        """`[batch, heads, time, time]`, -inf where padding would be looked at."""
        bias = self.biases[table](rows).permute(2, 0, 1)
        return bias.masked_fill(~seen[:, None, None], float("-inf"))  # type: ignore[no-any-return]


_RENAMED = (
    (r"audio_adapter\.embed_audios\.0\.conv_layers\.(\d+)\.0\.", r"convs.\1.conv."),
    (r"audio_adapter\.embed_audios\.0\.conv_layers\.(\d+)\.2\.1\.", r"convs.\1.norm."),
    (r"audio_adapter\.embed_audios\.2\.", "norm."),
    (r"audio_adapter\.embed_audios\.3\.", "project."),
    (r"audio_adapter\.rel_pos_table_list\.", "biases."),
    (r"audio_adapter\.rel_pos_table\.", "biases.0."),
    (r"audio_adapter\.cls_", "cls_"),
    (r"fusion_model\.audio_layer_norm\.", "layer_norm."),
    (r"fusion_model\.(layers\.\d+\.)audio_ffn\.0\.", r"\1ffn."),
    (r"fusion_model\.(layers\.\d+\.)audio_ffn\.2\.", r"\1ffn.norm."),
    (r"fusion_model\.(layers\.\d+\.)audio_ffn\.3\.", r"\1ffn.wo."),
    (r"fusion_model\.", ""),
)
_OTHER_PARTS = re.compile(
    r"(?!encoder_wrapper\.)"
    r"|encoder_wrapper\.(text_|image_)"
    r"|encoder_wrapper\.fusion_model\.(text_|image_|version|layers\.\d+\.(text|image)_)"
    r"|encoder_wrapper\.audio_adapter\.(mask_embedding|rp_bucket)"
)


def _renamed(name: str) -> str:
    name = name.removeprefix("encoder_wrapper.")
    if found := re.match(r"audio_adapter\.embed_positions\.(\d+)\.0\.(.*)", name):
        return f"positions.{int(found[1]) - 1}.{found[2]}"  # the first of the original's sequence has no weights
    for pattern, ours in _RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, ours, name, count=1)
    return name


def read(checkpoint: Checkpoint) -> Read:
    """From a published `.pt` of fairseq, whose weights lie under `model`."""
    unused = tuple(name for name in checkpoint.tensors if _OTHER_PARTS.match(name))
    tensors = {_renamed(name): t for name, t in checkpoint.tensors.items() if name not in unused}
    if "convs.0.conv.weight" not in tensors:
        raise WeightsError(
            f"{checkpoint.path}: no audio adapter (encoder_wrapper.audio_adapter.*) in it, so it is no ONE-PEACE, or a "
            "model for pictures; take the pretrained one or one that was tuned on sound"
        )
    position = tensors["positions.0.weight"]
    rows, heads = tensors["biases.0.weight"].shape
    config = {
        "dim": position.shape[0],
        "num_layers": _count(tensors, r"layers\.(\d+)\."),
        "num_heads": heads,
        "ffn_dim": tensors["layers.0.ffn.wo.weight"].shape[1],
        "conv_dim": tensors["norm.weight"].shape[0],
        "position_layers": _count(tensors, r"positions\.(\d+)\."),
        "position_kernel": position.shape[2],
        "position_groups": position.shape[0] // position.shape[1],
        "bucket_size": (rows - 2) // 2,
        "own_biases": "biases.1.weight" in tensors,
    }
    return Read(config, tensors, unused)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})


def build(config: Mapping[str, Any]) -> OnePeaceAudioEncoder:
    """A randomly initialised encoder with this architecture (`OnePeaceConfig` fields)."""
    return OnePeaceAudioEncoder(config_from(OnePeaceConfig, config))


FAMILY = Family(
    name="one_peace",
    build=build,
    front_end=lambda config: RawFrontEnd(sample_rate=16_000, max_seconds=15.0, normalise=True, epsilon=1e-5),
    read=read,
    sizes=MappingProxyType({"4b": {}}),
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="ONE-PEACE, audio branch",
        paper="Wang et al., 2023: arXiv 2305.11172",
        home="https://github.com/OFA-Sys/ONE-PEACE",
        hub=(),
        licence_code="Apache-2.0",
        licence_weights="Apache-2.0",
        good_at="sounds and their descriptions (ESC-50 zero-shot 91.8, FSD50K 69.7), at a high price",
        containers=(("fairseq's `.pt` with `model`", "test_one_peaces_file_opens"),),
        proved_against="OFA-Sys/ONE-PEACE 71cfadf: its audio adapter and trunk",
        notes="The audio branch alone has 1.5 billion parameters. The authors repeat clips below 1 s up to it; here "
        "they are heard as they are.",
    ),
)
