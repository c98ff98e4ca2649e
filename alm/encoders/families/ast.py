"""AST (Gong et al. 2021): a vision transformer over overlapping patches of a Kaldi spectrogram.

The layers are transformers' `ASTModel`. The model knows one length (1024 frames, 10.24 s): a shorter clip is followed
by the zeros that the authors pad with, and all patches are attended to, as in their own pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import ASTConfig
from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import ASTModel

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from
from alm.encoders.blocks.reading import block_count
from alm.encoders.blocks.steps import by_time, check_frequency, patch_times, real_steps
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends import KaldiFrontEnd
from alm.errors import ConfigError, WeightsError

_LEADING = 2
"""Class and distillation token."""


@dataclass(frozen=True)
class AstEncoderConfig:
    """Architecture and normalisation; the defaults are those of the AudioSet models with stride 10."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    mel_bins: int = 128
    max_frames: int = 1024
    patch_frames: int = 16
    """Patches are square: as many mel bands as frames."""
    frequency_stride: int = 10
    time_stride: int = 10
    layer_norm_epsilon: float = 1e-6
    """1e-12 in transformers' copies, 1e-6 in the authors' files."""
    mean: float = -4.2677393
    deviation: float = 4.5689974
    """Of log-mel cells in the training set; cells are divided by twice it."""
    subtract_mean: bool = True
    """Free the clip of its mean first: the authors do, transformers' extractor does not."""
    frequency: str = "mean"
    """`mean`: one feature a time step. `tokens`: every patch, those of a time step side by side."""

    def __post_init__(self) -> None:
        check_frequency("ast", self.frequency)
        if self.dim % self.num_heads:
            raise ConfigError(f"ast encoder: dim {self.dim} is no multiple of num_heads {self.num_heads}")
        if min(self.max_frames, self.mel_bins) < self.patch_frames:
            raise ConfigError(f"ast encoder: patches of {self.patch_frames} do not fit the spectrogram")

    @property
    def steps(self) -> int:
        return (self.max_frames - self.patch_frames) // self.time_stride + 1

    @property
    def rows(self) -> int:
        return (self.mel_bins - self.patch_frames) // self.frequency_stride + 1

    def front_end(self) -> KaldiFrontEnd:
        """Kaldi's filter bank, on clips that fill at most `max_frames`."""
        return KaldiFrontEnd(
            bins=self.mel_bins,
            max_seconds=self.max_frames / 100 + 0.015,
            mean=self.mean,
            divisor=2 * self.deviation,
            subtract_mean=self.subtract_mean,
        )

    def to_transformers(self) -> ASTConfig:
        return ASTConfig(
            hidden_size=self.dim,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.ffn_dim,
            layer_norm_eps=self.layer_norm_epsilon,
            patch_size=self.patch_frames,
            frequency_stride=self.frequency_stride,
            time_stride=self.time_stride,
            max_length=self.max_frames,
            num_mel_bins=self.mel_bins,
        )


class AstAudioEncoder(AudioEncoder):
    """Layer 0 is the patches with positions, layer i the i-th block, the last one with the final norm."""

    name: ClassVar[str] = "ast"

    def __init__(self, config: AstEncoderConfig) -> None:
        super().__init__()
        self.encoder = ASTModel(config.to_transformers())
        self.config = config
        self.front_end = config.front_end()
        self.rows = config.rows if config.frequency == "tokens" else 1
        self.frames_per_second = self.rows * 100 / config.time_stride
        self.dim = config.dim
        self.num_layers = config.num_layers

    def times(self, count: int) -> Tensor:
        return patch_times(count, self.rows, self.frames_per_second / self.rows)

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; one time step for each `time_stride` frames that have begun."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        hidden = self.encoder.embeddings(self._filled(spectrogram, mask))
        kept = {0: hidden}
        for index, layer in enumerate(self.encoder.layers[: max(wanted, default=0)], start=1):
            hidden = layer(hidden)
            kept[index] = self.encoder.layernorm(hidden) if index == self.num_layers else hidden
        valid = real_steps(mask.sum(1), self.config.time_stride, self.config.steps)
        valid = valid.repeat_interleave(self.rows, 1)
        longest = int(valid.sum(1).max())
        features = torch.stack([self._in_time(kept[i])[:, :longest] for i in wanted], dim=1)
        valid = valid[:, :longest]
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _filled(self, spectrogram: Tensor, mask: Tensor) -> Tensor:
        """`[batch, max_frames, bins]` with the authors' padding behind each clip."""
        short = self.config.max_frames - spectrogram.shape[1]
        if short < 0 and bool(mask[:, self.config.max_frames :].any()):
            raise ConfigError(
                f"{self.name}: {int(mask.sum(1).max())} frames; the limit is {self.config.max_frames} "
                f"({self.config.max_frames / 100:g} s). Cut into windows"
            )
        silence = (0.0 - self.config.mean) / (2 * self.config.deviation)
        heard = spectrogram.masked_fill(~mask[:, :, None], silence)
        return torch.nn.functional.pad(heard, (0, 0, 0, short), value=silence)

    def _in_time(self, hidden: Tensor) -> Tensor:
        """Patches lie row by row inside; features go step by step."""
        grid = hidden[:, _LEADING:].unflatten(1, (self.config.rows, self.config.steps)).transpose(1, 2)
        return by_time(grid, self.config.frequency)


def read(checkpoint: Checkpoint) -> Read:
    """The authors' `.pth`, or a transformers folder under either generation of names."""
    names = [name.removeprefix("module.") for name in checkpoint.tensors]
    if any("p_input_fdim" in name or "predlayer" in name for name in names):
        raise WeightsError(f"{checkpoint.path} is a self-supervised SSAST checkpoint; open it as family ssast")
    original = any(name.startswith("v.pos_embed") for name in names)
    found = _of_authors(checkpoint) if original else _of_transformers(checkpoint)
    kept = {name: tensor for name, tensor in found.items() if name.startswith("encoder.")}
    if not kept:
        raise WeightsError(f"{checkpoint.path}: no tensor of an AST in it")
    extractor = _extractor(checkpoint.settings)
    config = {**_shapes(kept), **extractor} if original else _settings(checkpoint.settings, extractor)
    return Read(config, kept, tuple(name for name in found if name not in kept))


_BLOCK_RENAMES = (
    (r"norm1\.", "layernorm_before."),
    (r"norm2\.", "layernorm_after."),
    (r"attn\.proj\.", "attention.o_proj."),
)
_AUTHORS = {
    "v.cls_token": "encoder.embeddings.cls_token",
    "v.dist_token": "encoder.embeddings.distillation_token",
    "v.pos_embed": "encoder.embeddings.position_embeddings",
    "v.patch_embed.proj.weight": "encoder.embeddings.patch_embeddings.projection.weight",
    "v.patch_embed.proj.bias": "encoder.embeddings.patch_embeddings.projection.bias",
    "v.norm.weight": "encoder.layernorm.weight",
    "v.norm.bias": "encoder.layernorm.bias",
}


def _of_authors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        name = name.removeprefix("module.")
        if match := re.fullmatch(r"v\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)", name):
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                found[f"encoder.layers.{match[1]}.attention.{part}_proj.{match[2]}"] = piece
            continue
        new = re.sub(r"^v\.blocks\.", "encoder.layers.", _AUTHORS.get(name, name))
        for pattern, replacement in _BLOCK_RENAMES:
            new = re.sub(pattern, replacement, new) if new.startswith("encoder.layers.") else new
        found[new] = tensor
    return found


_HUB_RENAMES = (
    (r"^audio_spectrogram_transformer\.", ""),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.attention\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
"""From the names of transformers 4 to those of 5; those of 5 pass unchanged."""


def _of_transformers(checkpoint: Checkpoint) -> dict[str, Tensor]:
    found = {}
    for name, tensor in checkpoint.tensors.items():
        for pattern, replacement in _HUB_RENAMES:
            name = re.sub(pattern, replacement, name)
        found[name if name.startswith("classifier.") else f"encoder.{name}"] = tensor
    return found


def _extractor(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and deviation that preprocessor_config.json says; empty where there is none."""
    said = settings.get("preprocessor", {})
    if not said.get("do_normalize", True):
        said = {"mean": 0.0, "std": 0.5}
    return {ours: said[key] for ours, key in (("mean", "mean"), ("deviation", "std")) if key in said}


def _settings(settings: Mapping[str, Any], extractor: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dim": settings["hidden_size"],
        "num_layers": settings["num_hidden_layers"],
        "num_heads": settings["num_attention_heads"],
        "ffn_dim": settings["intermediate_size"],
        "mel_bins": settings.get("num_mel_bins", 128),
        "max_frames": settings.get("max_length", 1024),
        "patch_frames": settings.get("patch_size", 16),
        "frequency_stride": settings.get("frequency_stride", 10),
        "time_stride": settings.get("time_stride", 10),
        "layer_norm_epsilon": settings.get("layer_norm_eps", 1e-12),
        "mean": AstEncoderConfig.mean,
        "deviation": AstEncoderConfig.deviation,
        "subtract_mean": False,
        **extractor,
    }


def _shapes(kept: Mapping[str, Tensor]) -> dict[str, Any]:
    """The authors' file says nothing but shapes: heads are 64 wide, and the number of positions tells the stride.

    It tells the training set, too, of which mean and deviation are: None where several are possible.
    """
    projection = kept["encoder.embeddings.patch_embeddings.projection.weight"]
    dim, patch = projection.shape[0], projection.shape[-1]
    if projection.shape[1] != 1 or projection.shape[2] != patch:
        raise WeightsError(f"AST patches are square with one channel, these are {tuple(projection.shape[1:])}")
    positions = kept["encoder.embeddings.position_embeddings"].shape[1] - _LEADING
    stride, frames = _grid(positions, patch)
    return {
        "dim": dim,
        "num_layers": block_count(kept, "encoder.layers."),
        "num_heads": max(1, dim // 64),
        "ffn_dim": kept["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "max_frames": frames,
        "patch_frames": patch,
        "frequency_stride": stride,
        "time_stride": stride,
        **_STATISTICS.get(frames, {"mean": None, "deviation": None}),
    }


_SPEECH_COMMANDS = {"mean": -6.845978, "deviation": 5.5654526}
_STATISTICS: Mapping[int, Mapping[str, float]] = {1024: {}, 128: _SPEECH_COMMANDS}
"""By frames: those of AudioSet are the defaults; files of 512 frames are of ESC-50 and of people's own sets."""


def _grid(positions: int, patch: int) -> tuple[int, int]:
    """Stride and frames: 128 bands, one of the authors' strides and one of their lengths."""
    for stride in (10, 12, 14, 16):
        rows = (128 - patch) // stride + 1
        for frames in (1024, 512, 128):
            if positions == rows * ((frames - patch) // stride + 1):
                return stride, frames
    raise WeightsError(
        f"{positions} positions fit none of AST's strides (10, 12, 14, 16) with 1024, 512 or 128 frames of 128 bands"
    )


def build(config: Mapping[str, Any]) -> AstAudioEncoder:
    """A randomly initialised encoder with this architecture (`AstEncoderConfig` fields)."""
    return AstAudioEncoder(_config(config))


def _config(values: Mapping[str, Any]) -> AstEncoderConfig:
    if values.get("mean", 0.0) is None or values.get("deviation", 0.0) is None:
        raise ConfigError(
            f"ast encoder: a file of {values.get('max_frames')} frames does not say mean and deviation of its training "
            'set. Name a size that has them (--size esc-50), or put preprocessor_config.json, {"mean": ..., "std": '
            "...}, beside the file"
        )
    return config_from(AstEncoderConfig, values)


FAMILY = Family(
    name="ast",
    build=build,
    front_end=lambda config: _config(config).front_end(),
    read=read,
    sizes={
        "base": {},
        "speech-commands": {"max_frames": 128, **_SPEECH_COMMANDS},
        "esc-50": {"max_frames": 512, "mean": -6.6268077, "deviation": 5.358466},
    },
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="AST",
        paper="Gong, Chung and Glass 2021, arXiv 2104.01778",
        home="github.com/YuanGongND/ast",
        hub=("MIT/ast-finetuned-audioset-10-10-0.4593", "MIT/ast-finetuned-speech-commands-v2"),
        licence_code="BSD-3-Clause",
        licence_weights="BSD-3-Clause",
        good_at="sound events of AudioSet",
        containers=(
            ("the authors' `.pth` (names led by `module.`)", "test_the_authors_file_gives_the_same_weights"),
            ("transformers folder", "test_a_transformers_folder_gives_the_same_numbers"),
        ),
        proved_against="transformers 5.19 `ASTModel`, front end `ASTFeatureExtractor`",
        notes="Patches lie row by row in the model, features here step by step. Transformers' copies use another "
        "norm epsilon and do not free the clip of its mean; both are read from the checkpoint's kind. The authors' "
        "files say no mean and deviation: those of 1024 frames have AudioSet's, those of 128 Speech Commands', and one "
        "of 512 needs its size or a preprocessor_config.json beside it.",
    ),
)
