"""LAION-CLAP's audio tower (Wu et al. 2023): HTSAT, a Swin transformer over a folded spectrogram.

The layers are transformers' `ClapAudioModel`. The model knows one length (1001 frames, 10 s): a shorter clip is
repeated as often as it fits whole, and silence follows; here on the spectrogram, by the authors on the samples. The two
differ in the frames where one repetition meets the next or silence. A clip that is up to 10 ms longer than a whole
fraction of 10 s has one repetition more here, for frames do not tell it from that fraction.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import ClapAudioConfig
from transformers.models.clap.modeling_clap import ClapAudioModel

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends import HtsatFrontEnd
from alm.errors import ConfigError, WeightsError

_SILENCE_DB = -100.0
_PADDING = ("repeatpad", "repeat", "pad")
_FOLDS = 4
"""Quarters of the spectrogram that lie under each other in the square that the model sees."""


@dataclass(frozen=True)
class ClapEncoderConfig:
    """Architecture and front end; the defaults are those of the unfused model with HTSAT-tiny."""

    patch_dim: int = 96
    depths: Sequence[int] = (2, 2, 6, 2)
    num_heads: Sequence[int] = (4, 8, 16, 32)
    window_patches: int = 8
    spectrogram_side: int = 256
    """Side of the square; a quarter of it is the number of mel bands."""
    max_frames: int = 1001
    sample_rate: int = 48_000
    hop_samples: int = 480
    low_hz: float = 50.0
    high_hz: float = 14_000.0
    mel_scale: str = "slaney"
    """`htk` for the fused models."""
    padding: str = "repeatpad"
    """Of short clips, as transformers' extractor calls it: whole repetitions and silence, or `repeat` to the end, or
    `pad` with silence alone."""

    def __post_init__(self) -> None:
        if self.padding not in _PADDING:
            raise ConfigError(f"clap encoder: padding is {self.padding!r}; it must be one of {', '.join(_PADDING)}")
        if len(self.depths) != len(self.num_heads) or not self.depths:
            raise ConfigError(f"clap encoder: {len(self.depths)} depths but {len(self.num_heads)} numbers of heads")
        side = 4 * math.lcm(self.window_patches, _FOLDS) * 2 ** (len(self.depths) - 1)
        if self.spectrogram_side % side:
            raise ConfigError(f"clap encoder: spectrogram_side {self.spectrogram_side} is no multiple of {side}")

    @property
    def mel_bins(self) -> int:
        return self.spectrogram_side // _FOLDS

    @property
    def dim(self) -> int:
        return int(self.patch_dim * 2 ** (len(self.depths) - 1))

    @property
    def steps(self) -> int:
        """Columns of the last grid in all quarters."""
        return int(self.spectrogram_side // 2 ** (len(self.depths) + 1) * _FOLDS)

    def front_end(self) -> HtsatFrontEnd:
        return HtsatFrontEnd(
            bins=self.mel_bins,
            sample_rate=self.sample_rate,
            max_seconds=(self.max_frames - 1) * self.hop_samples / self.sample_rate,
            hop_samples=self.hop_samples,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
            mel_scale=self.mel_scale,
            sixteen_bits=True,
        )

    def to_transformers(self) -> ClapAudioConfig:
        return ClapAudioConfig(
            patch_embeds_hidden_size=self.patch_dim,
            hidden_size=self.dim,
            depths=list(self.depths),
            num_attention_heads=list(self.num_heads),
            num_hidden_layers=len(self.depths),
            window_size=self.window_patches,
            spec_size=self.spectrogram_side,
            num_mel_bins=self.mel_bins,
        )


class ClapAudioTower(AudioEncoder):
    """Every stage on the time grid of the last one.

    Layer 0 is the patches, layer i the end of the i-th stage, the last one with the final norm. Earlier stages are
    finer: the mean over the time of a step, and their frequency bands side by side, which keeps the width.
    """

    name: ClassVar[str] = "clap"

    def __init__(self, config: ClapEncoderConfig) -> None:
        super().__init__()
        self.audio_encoder = ClapAudioModel(config.to_transformers()).audio_encoder
        self.config = config
        self.front_end = config.front_end()
        self.frames_per_second = config.steps * config.sample_rate / config.hop_samples / config.max_frames
        self.dim = config.dim
        self.num_layers = len(config.depths)

    def train(self, mode: bool = True) -> ClapAudioTower:
        super().train(mode)
        self.audio_encoder.batch_norm.training = False  # always the trained statistics
        return self

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; a time step is 31.3 frames, 0.313 s."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        model, full = self.audio_encoder, self._filled(spectrogram, mask)
        normed = model.batch_norm(full[:, None].transpose(1, 3)).transpose(1, 3)
        hidden = model.patch_embed(model.reshape_mel2img(normed), None)
        kept = {0: hidden}
        for index, stage in enumerate(model.layers[: max(wanted, default=0)], start=1):
            hidden = stage(hidden, model.input_resolutions[index - 1], False, False)[0]
            kept[index] = model.norm(hidden) if index == self.num_layers else hidden
        per_step = self.config.max_frames / self.config.steps
        count = torch.ceil(mask.sum(1) / per_step).long().clamp(1, self.config.steps)
        longest = int(count.max())
        valid = torch.arange(longest, device=mask.device) < count[:, None]
        features = torch.stack([self._on_grid(kept[i])[:, :longest] for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _filled(self, spectrogram: Tensor, mask: Tensor) -> Tensor:
        """`[batch, max_frames, bins]`: each clip again and again, then silence where it is padded with it."""
        count, limit = mask.sum(1).clamp(min=1), self.config.max_frames
        if int(count.max()) > limit:
            raise ConfigError(
                f"{self.name}: {int(count.max())} frames; the limit is {limit} ({self.front_end.max_seconds:g} s). "
                "Cut into windows"
            )
        # Frames stand at the hops' ends: the last one of a repetition is the first one of the next.
        hops, frame = (count - 1).clamp(min=1)[:, None], torch.arange(limit, device=mask.device)
        often = {"pad": hops, "repeatpad": (limit - 1) // hops * hops}
        end = often.get(self.config.padding, torch.full_like(hops, limit - 1))
        place = torch.where((frame == end) & (end % hops == 0), count[:, None] - 1, frame % hops)
        found = spectrogram.gather(1, place[:, :, None].expand(-1, -1, spectrogram.shape[2]))
        return found.masked_fill((frame > end)[:, :, None], _SILENCE_DB)

    def _on_grid(self, hidden: Tensor) -> Tensor:
        """`[batch, patches, width]` of a square grid to `[batch, steps, dim]`."""
        side = round(hidden.shape[1] ** 0.5)
        columns, width = self.config.steps // _FOLDS, hidden.shape[2]
        regions = self.dim // width
        bands, finer = side // _FOLDS // regions, side // columns
        grid = hidden.unflatten(1, (_FOLDS, regions, bands, columns, finer))
        by_step: Tensor = grid.mean((3, 5)).transpose(2, 3)
        return by_step.reshape(len(hidden), self.config.steps, self.dim)


_LAION_RENAMES = (
    (r"^bn0\.", "batch_norm."),
    (r"\.attn\.relative_position", ".attention.self.relative_position"),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_NOT_OURS = re.compile(
    r"(spectrogram_extractor|logmel_extractor|tscam_conv|head|patch_embed\.(mel_conv2d|fusion_model))\.|.*\.attn_mask$"
)


def read(checkpoint: Checkpoint) -> Read:
    """LAION's own file (HTSAT towers), or a transformers folder; text tower and projections are left out.

    Of a fused model the path of clips up to 10 s is read, which its extra convolutions take no part in.
    """
    prefix = _prefix(checkpoint)
    found: dict[str, Tensor] = {}
    unused: list[str] = []
    fused = False
    for name, tensor in checkpoint.tensors.items():
        short = name.removeprefix(prefix)
        fused = fused or "mel_conv2d" in short
        if not name.startswith(prefix) or _NOT_OURS.match(short):
            unused.append(name)
            continue
        found.update(_renamed(short, tensor))
    config = {**_shapes(found, fused), **_extractor(checkpoint.settings.get("preprocessor", {}))}
    return Read(config, {f"audio_encoder.{k}": v for k, v in found.items()}, tuple(unused))


def _extractor(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Bands, rate and padding, where a transformers folder says them; LAION's own are the defaults."""
    ours = {"frequency_min": "low_hz", "frequency_max": "high_hz", "sampling_rate": "sample_rate", "padding": "padding"}
    return {ours[key]: value for key, value in settings.items() if key in ours}


def _prefix(checkpoint: Checkpoint) -> str:
    for name in checkpoint.tensors:
        if name.endswith("patch_embed.proj.weight") and "audio" in name:
            return name.removesuffix("patch_embed.proj.weight")
    raise WeightsError(f"{checkpoint.path}: no audio tower of the HTSAT kind in it (LAION's PANNs towers are another)")


def _renamed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    if match := re.fullmatch(r"(layers\.\d+\.blocks\.\d+)\.attn\.qkv\.(weight|bias)", name):
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
        return {f"{match[1]}.attention.self.{part}.{match[2]}": piece for part, piece in parts}
    for pattern, replacement in _LAION_RENAMES:
        name = re.sub(pattern, replacement, name)
    return {name: tensor}


def _shapes(found: Mapping[str, Tensor], fused: bool) -> dict[str, Any]:
    blocks = [m for name in found if (m := re.fullmatch(r"layers\.(\d+)\.blocks\.(\d+)\.layernorm_before\.bias", name))]
    depths = Counter(int(match[1]) for match in blocks)
    stages = len(depths)
    tables = [found[f"layers.{i}.blocks.0.attention.self.relative_position_bias_table"] for i in range(stages)]
    return {
        "patch_dim": found["patch_embed.proj.weight"].shape[0],
        "depths": [depths[i] for i in range(stages)],
        "num_heads": [table.shape[1] for table in tables],
        "window_patches": (round(tables[0].shape[0] ** 0.5) + 1) // 2,
        "spectrogram_side": _FOLDS * found["batch_norm.weight"].shape[0],
        "mel_scale": "htk" if fused else "slaney",
    }


def build(config: Mapping[str, Any]) -> ClapAudioTower:
    """A randomly initialised encoder with this architecture (`ClapEncoderConfig` fields)."""
    return ClapAudioTower(config_from(ClapEncoderConfig, config))


FAMILY = Family(
    name="clap",
    build=build,
    front_end=lambda config: config_from(ClapEncoderConfig, config).front_end(),
    read=read,
    sizes={"tiny": {}, "base": {"patch_dim": 128, "depths": (2, 2, 12, 2)}, "tiny-fused": {"mel_scale": "htk"}},
    lora_targets=("query", "value"),
    facts=Facts(
        title="LAION-CLAP",
        paper="Wu et al. 2023, arXiv 2211.06687; HTSAT: Chen et al. 2022, arXiv 2202.00874",
        home="github.com/LAION-AI/CLAP",
        hub=("laion/clap-htsat-unfused", "laion/clap-htsat-fused", "laion/larger_clap_general"),
        licence_code="CC0-1.0",
        licence_weights="CC0-1.0 (the hub's copies: Apache-2.0)",
        good_at="what a recording is about, in the terms of captions",
        containers=(
            ("LAION's `.pt` with `state_dict`", "test_laions_file_gives_the_same_weights"),
            ("transformers folder", "test_a_transformers_folder_gives_the_same_numbers"),
        ),
        proved_against="transformers 5.19 `ClapAudioModel`, front end `ClapFeatureExtractor`",
        notes="Batches of the fused extractor mark one random short clip as long; that is not done here. Short clips "
        "are repeated on the spectrogram, not on the samples, as often as they fit whole; silence follows.",
    ),
)
