"""aiSFX (Ma and Lerch, ISMIR 2022): a sound-effects CNN of the PANNs family, 44.1 kHz, 96 mel bands.

Four blocks of two 3x3 convolutions; the first three halve time and frequency. A feature frame covers 8 spectrogram
frames, 0.186 s. Nine classifier heads, one for each library it was trained on, are a module of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput, config_from
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.aisfx import AisfxFrontEnd
from alm.errors import ConfigError, WeightsError

_BLOCK_CHANNELS = (64, 128, 256, 512)
_STRIDE = 8
"""Spectrogram frames in one feature frame: three halvings."""


class ConvBlock(nn.Module):
    """Two 3x3 convolutions without bias, each with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """`[batch, in, time, bins]` and what of it is real `[batch, 1, time, 1]` to `[batch, out, time, bins]`.

        Padding is zeroed after each convolution, for batch norm lifts it off the zero that a lone clip sees.
        """
        x = torch.relu(self.bn1(self.conv1(x))) * real
        return torch.relu(self.bn2(self.conv2(x))) * real


class EmbeddingNet(nn.Module):
    """The four blocks."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (1, *_BLOCK_CHANNELS)
        for index, channels in enumerate(_BLOCK_CHANNELS, start=1):
            self.add_module(f"conv_block{index}", ConvBlock(inputs[index - 1], channels))

    def forward(self, spectrogram: Tensor, mask: Tensor) -> list[Tensor]:
        """`[batch, frames, bins]` (frames a multiple of 8) to each block's `[batch, channels, time, bands]`."""
        x, real, blocks = spectrogram[:, None], mask[:, None, :, None].to(spectrogram.dtype), []
        x = x * real
        for index in range(1, len(_BLOCK_CHANNELS) + 1):
            x = self.get_submodule(f"conv_block{index}")(x, real)
            if index < len(_BLOCK_CHANNELS):
                x, real = nn.functional.max_pool2d(x, 2), real[:, :, ::2]
            blocks.append(x)
        return blocks


@dataclass(frozen=True)
class AisfxEncoderConfig:
    """The published network has one size; the field is there to say what it takes."""

    mel_bins: int = 96

    def __post_init__(self) -> None:
        if not isinstance(self.mel_bins, int) or self.mel_bins < _STRIDE or self.mel_bins % _STRIDE:
            raise ConfigError(
                f"aisfx encoder: mel_bins is {self.mel_bins!r}; it must be a positive multiple of {_STRIDE}"
            )


class AisfxAudioEncoder(AudioEncoder):
    """The embedding network with every block on one time grid.

    Layer i is block i+1, 512 wide: block 4 as the mean over frequency (what the authors' embedding is made of), the
    earlier ones as 8, 4 and 2 frequency regions side by side and the mean of the feature frame's time steps. Batch
    norm always uses the trained statistics, in training mode too.
    """

    name: ClassVar[str] = "aisfx"

    def __init__(self, config: AisfxEncoderConfig) -> None:
        super().__init__()
        self.embedding_net = EmbeddingNet()
        self.front_end = AisfxFrontEnd(config.mel_bins)
        self.frames_per_second = AisfxFrontEnd.sample_rate / AisfxFrontEnd.hop_samples / _STRIDE
        self.dim = _BLOCK_CHANNELS[-1]
        self.num_layers = len(_BLOCK_CHANNELS) - 1

    def train(self, mode: bool = True) -> AisfxAudioEncoder:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = ceil(frames / 8)`. Silence fills a last, started feature frame."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        short = -spectrogram.shape[1] % _STRIDE
        heard = spectrogram.masked_fill(~mask[:, :, None], 0.0)
        valid = nn.functional.pad(mask, (0, short)).unflatten(1, (-1, _STRIDE)).any(2)
        blocks = self.embedding_net(nn.functional.pad(heard, (0, 0, 0, short)), valid.repeat_interleave(_STRIDE, 1))
        features = torch.stack([_on_grid(blocks[i], valid.shape[1]) for i in wanted], dim=1)
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)


def _on_grid(block: Tensor, time: int) -> Tensor:
    """`[batch, channels, steps, bands]` to `[batch, time, 512]`: regions of frequency side by side."""
    regions = _BLOCK_CHANNELS[-1] // block.shape[1]
    pooled = nn.functional.adaptive_avg_pool2d(block, (time, regions))
    return pooled.permute(0, 2, 3, 1).flatten(2)


class AisfxHeads(nn.Module):
    """The nine classifiers, one for each sound-effects library of the training set: 512-256-128-classes.

    Keys are the published ones, `fc.<library>.{0,2,4}`.
    """

    def __init__(self, libraries: Mapping[str, int]) -> None:
        """`libraries`: name of each library to its number of classes, in the published order."""
        super().__init__()
        self.libraries = dict(libraries)
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, count))
            for count in self.libraries.values()
        )

    def forward(self, heard: EncoderOutput) -> dict[str, Tensor]:
        """Logits `[batch, classes]` of each library from the last layer's features, maximum over time."""
        # Features follow a ReLU: the zeros at padded places never win a maximum.
        embedding = heard.features[:, -1].amax(dim=1)
        return {name: head(embedding) for name, head in zip(self.libraries, self.fc, strict=True)}


def build(config: Mapping[str, Any]) -> AisfxAudioEncoder:
    """A randomly initialised encoder with this architecture (`AisfxEncoderConfig` fields)."""
    return AisfxAudioEncoder(config_from(AisfxEncoderConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """The folder that `alm weights` makes; the heads lie in a file of their own."""
    kept = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith("embedding_net.")}
    if not kept:
        raise WeightsError(f"{checkpoint.path}: no tensor under `embedding_net.`; this is no aiSFX network")
    unused = tuple(name for name in checkpoint.tensors if name not in kept)
    return Read({"mel_bins": checkpoint.settings["mel_bins"]}, kept, unused)


FAMILY = Family(
    name="aisfx",
    build=build,
    front_end=lambda config: AisfxFrontEnd(config.get("mel_bins", 96)),
    read=read,
    sizes={"published": {"mel_bins": 96}},
    lora_targets=("conv1", "conv2"),
    facts=Facts(
        title="aiSFX",
        paper="Ma and Lerch, ISMIR 2022",
        home="the package aisfx 0.1.2",
        hub=(),
        licence_code="CC BY 4.0",
        licence_weights="CC BY 4.0",
        good_at="sound effects: what made the sound, in the categories of sound libraries",
        containers=(
            ("folder that `alm weights` makes of the published pickle", "test_loading_fills_every_weight_and_freezes"),
        ),
        proved_against="the network of the package aisfx 0.1.2, front end Essentia 2.1",
        notes="All layers are on one time grid. There is no linear layer: LoRA and adapters sit on "
        "convolutions.",
    ),
)
