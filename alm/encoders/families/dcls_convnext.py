"""ConvNeXt on log-mel with learned spacings (Khalfaoui-Hassani et al. 2023): wide kernels of a few placed weights.

Each depthwise kernel is built from weights with learned places and widths (Gaussian interpolation, as in the package
dcls, which is not needed). Time is the pictures' second axis.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, config_from
from alm.encoders.blocks.cnn import on_grid
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.htsat import HtsatFrontEnd
from alm.errors import ConfigError, WeightsError

_MEAN_DB, _DEVIATION_DB = -18.2696, 30.5735
_SILENCE_DB = -100.0
_STEM = (2, 16)
"""Mel bands and frames in one cell of the stem."""
_NARROWEST = 0.27
_EPSILON = 1e-6


@dataclass(frozen=True)
class DclsConvnextConfig:
    """Architecture; the defaults are the published model's."""

    depths: Sequence[int] = (3, 3, 9, 3)
    first_channels: int = 96
    """Channels of the first stage; each next one has twice as many."""
    kernel_size: int = 23
    kernel_weights: int = 26
    """Placed weights in a kernel; 0: a usual kernel, full of weights."""
    mel_bins: int = 128
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1:
            raise ConfigError(f"dcls_convnext: depths are {self.depths!r}; each stage needs a block")
        if self.kernel_size % 2 == 0 or self.kernel_weights < 0:
            raise ConfigError(
                f"dcls_convnext: kernel_size is {self.kernel_size!r} and kernel_weights {self.kernel_weights!r}; the "
                "first must be odd, the other not below 0"
            )
        if self.mel_bins % self.bands_per_region:
            raise ConfigError(
                f"dcls_convnext: mel_bins is {self.mel_bins!r}; it must be a multiple of {self.bands_per_region}"
            )

    @property
    def bands_per_region(self) -> int:
        """Mel bands in one band of the last stage."""
        return _STEM[0] << (len(self.depths) - 1)

    @property
    def stride(self) -> int:
        """Frames in one feature."""
        return _STEM[1] << (len(self.depths) - 1)


class PlacedConv(nn.Module):
    """A depthwise convolution whose weights have learned places; keys as in dcls."""

    def __init__(self, channels: int, kernel_size: int, count: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.randn(channels, 1, count) * 0.02)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.P = nn.Parameter(torch.randn(2, channels, 1, count) * 0.5)
        self.SIG = nn.Parameter(torch.full((2, channels, 1, count), 0.23))

    def kernel(self) -> Tensor:
        """`[channels, 1, bands, steps]`; the first coordinate of a place counts steps, the second bands."""
        size = self.kernel_size
        line = torch.arange(size, device=self.weight.device, dtype=self.weight.dtype)
        apart = line - (self.P[..., None] + size // 2)
        near = torch.exp(-0.5 * (apart / (self.SIG.abs() + _NARROWEST)[..., None]).square())
        spread = near[1][..., :, None] * near[0][..., None, :]  # [channels, 1, count, bands, steps]
        spread = spread / (spread.sum((-2, -1), keepdim=True) + 1e-7)
        return (spread * self.weight[..., None, None]).sum(2)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.kernel(), self.bias, padding=self.kernel_size // 2, groups=len(self.bias))


class ChannelNorm(nn.LayerNorm):
    """A norm over the channels of `[batch, channels, bands, steps]`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, 3)).movedim(3, 1)


class Block(nn.Module):
    """Depthwise convolution, norm, two pointwise layers; what is not real is zeroed before the kernel sees it."""

    def __init__(self, channels: int, config: DclsConvnextConfig) -> None:
        super().__init__()
        size = config.kernel_size
        self.dwconv: nn.Module
        if config.kernel_weights:
            self.dwconv = PlacedConv(channels, size, config.kernel_weights)
        else:
            self.dwconv = nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPSILON)
        self.pwconv1, self.pwconv2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """`[batch, channels, bands, steps]` and what is real `[batch, 1, 1, steps]`."""
        mixed = self.norm(self.dwconv(x * real).movedim(1, 3))
        return x + (self.gamma * self.pwconv2(gelu(self.pwconv1(mixed)))).movedim(3, 1)  # type: ignore[no-any-return]


class DclsConvnextEncoder(AudioEncoder):
    """Layer 0 is the stem, layer i the i-th stage, the last one as the mean over frequency with the final norm.

    Earlier layers are put on the time grid of the last: means over the steps of a feature, frequency regions side by
    side. The authors fill or cut every clip to 10 s; here it is heard as it is, and silence is added only up to one
    feature (1.28 s). A started feature at the end is dropped.
    """

    name: ClassVar[str] = "dcls_convnext"

    def __init__(self, config: DclsConvnextConfig) -> None:
        super().__init__()
        self.config, first = config, config.first_channels
        self.front_end = front_end_of(config)
        widths = [first << i for i in range(len(config.depths))]
        stem = nn.Sequential(nn.Conv2d(1, first, _STEM, stride=_STEM), ChannelNorm(first, eps=_EPSILON))
        self.downsample_layers = nn.ModuleList([stem])
        for before, after in pairwise(widths):
            halving = nn.Conv2d(before, after, 2, stride=2)
            self.downsample_layers.append(nn.Sequential(ChannelNorm(before, eps=_EPSILON), halving))
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(width, config) for _ in range(depth))
            for width, depth in zip(widths, config.depths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=_EPSILON)
        self.dim, self.num_layers = widths[-1], len(config.depths)
        self.frames_per_second = self.front_end.sample_rate / self.front_end.hop_samples / config.stride

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = floor(frames / 128)`, at least one."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        x, real = self._picture(spectrogram, mask)
        kept: dict[int, Tensor] = {}
        stages = zip(self.downsample_layers, self.stages, strict=True)
        for index, (halve, blocks) in enumerate(stages, start=1):
            x, step = halve(x), _STEM[1] if index == 1 else 2
            real = real[..., step - 1 :: step]
            if index == 1:
                kept[0] = x
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, real)
            kept[index] = x
        features = torch.stack([self._on_grid(kept[i], i) for i in wanted], dim=1)
        valid = real[:, 0, 0].bool()
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _picture(self, spectrogram: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, 1, bands, frames]` with silence for padding, and what counts as real `[batch, 1, 1, frames]`."""
        short = (0, max(0, self.config.stride - mask.shape[1]))
        mask = nn.functional.pad(mask, short)
        heard = nn.functional.pad(spectrogram, (0, 0, *short)).masked_fill(~mask[:, :, None], _SILENCE_DB)
        mask = mask | (torch.arange(mask.shape[1], device=mask.device) < self.config.stride)
        levels = (heard - _MEAN_DB) / _DEVIATION_DB
        return levels.transpose(1, 2)[:, None], mask[:, None, None].to(levels.dtype)

    def _on_grid(self, x: Tensor, layer: int) -> Tensor:
        if layer == self.num_layers:
            return self.norm(x.mean(2).transpose(1, 2))  # type: ignore[no-any-return]
        return on_grid(x.transpose(2, 3), 1 << (self.num_layers - max(layer, 1)), self.dim)


def front_end_of(config: DclsConvnextConfig) -> FrontEnd:
    """Log-mel of 32 kHz, HTK's bands without norm; the encoder normalises it."""
    return HtsatFrontEnd(config.mel_bins, 32_000, config.max_seconds, 1024, 320, 50.0, 14_000.0, "htk")


def read(checkpoint: Checkpoint) -> Read:
    """From a published `.pth` (`{"model": ...}`)."""
    unused = tuple(name for name in checkpoint.tensors if name.startswith("head."))
    tensors = {k: t for k, t in checkpoint.tensors.items() if k not in unused}
    stem, kernel = tensors.get("downsample_layers.0.0.weight"), tensors.get("stages.0.0.dwconv.weight")
    if stem is None or kernel is None:
        raise WeightsError(f"{checkpoint.path} is no ConvNeXt; the project's ConvFormer and FastViT are not supported")
    if stem.shape[1:] != (1, *_STEM):
        raise WeightsError(
            f"{checkpoint.path}: its stem takes {tuple(stem.shape[1:])}, not (1, 2, 16): it is a model for pictures"
        )
    placed = "stages.0.0.dwconv.P" in tensors
    if placed and "stages.0.0.dwconv.SIG" not in tensors:
        raise WeightsError(f"{checkpoint.path}: places without widths (bilinear dcls) are not supported, only Gaussian")
    found = [m for name in tensors if (m := re.fullmatch(r"stages\.(\d+)\.(\d+)\.gamma", name))]
    depths = Counter(int(m[1]) for m in found)
    config = {
        "depths": [depths[i] for i in range(len(depths))],
        "first_channels": stem.shape[0],
        "kernel_weights": kernel.shape[2] if placed else 0,
        **({} if placed else {"kernel_size": kernel.shape[-1]}),
    }
    return Read(config, tensors, unused)


def build(config: Mapping[str, Any]) -> DclsConvnextEncoder:
    """A randomly initialised encoder with this architecture (`DclsConvnextConfig` fields)."""
    return DclsConvnextEncoder(config_from(DclsConvnextConfig, config))


FAMILY = Family(
    name="dcls_convnext",
    build=build,
    front_end=lambda config: front_end_of(config_from(DclsConvnextConfig, config)),
    read=read,
    sizes=MappingProxyType({"tiny": {}, "tiny-plain": {"kernel_size": 7, "kernel_weights": 0}}),
    lora_targets=("pwconv1", "pwconv2"),
    facts=Facts(
        title="ConvNeXt with learned spacings (DCLS)",
        paper="Khalfaoui-Hassani, Masquelier and Pellegrini, 2023: arXiv 2309.13972",
        home="https://github.com/K-H-Ismail/DCLS-Audio",
        hub=(),
        licence_code="MIT",
        licence_weights="as its Zenodo record 8370979 says",
        good_at="sound events: AudioSet mAP 0.4552 (Gaussian spacings), 0.4483 (plain)",
        containers=(("`.pth` with `model`", "test_convnext_files_open_and_others_are_refused"),),
        proved_against="K-H-Ismail/DCLS-Audio e139018 with dcls 0.1.1",
        notes="One feature for 1.28 s. The size of the kernel is not in the file: 23 unless it is given. The authors' "
        "page links the same file for the plain model and the one with spacings.",
    ),
)
