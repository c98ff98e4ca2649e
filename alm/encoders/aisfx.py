"""aiSFX (Ma and Lerch, ISMIR 2022): a sound-effects CNN of the PANNs family, 44.1 kHz, 96 mel bands.

Four blocks of two 3x3 convolutions; the first three halve time and frequency. A feature frame covers 8 spectrogram
frames, 0.186 s. Nine classifier heads, one for each library it was trained on, are a module of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, config_from
from alm.errors import ConfigError

_FRAME_SAMPLES = 2048
_TOP_HZ = 22_050.0
_LARGEST_LOG = 9.457798957824707
"""Largest log10(1 + 10000 power) over the authors' training sets: they divide every spectrogram by it."""
_BLOCK_CHANNELS = (64, 128, 256, 512)
_STRIDE = 8
"""Spectrogram frames in one feature frame: three halvings."""


def _hz_to_mel(hz: float) -> float:
    return 1127.01048 * float(np.log1p(hz / 700.0))


@lru_cache(maxsize=4)
def _mel_filters(bins: int) -> NDArray[np.float64]:
    """HTK mel triangles `[fft bins, bins]` from 0 to 22050 Hz, straight on the mel axis, each summing to one."""
    edges = np.linspace(0.0, _hz_to_mel(_TOP_HZ), bins + 2)
    hz = np.linspace(0.0, AisfxFrontEnd.sample_rate / 2, _FRAME_SAMPLES // 2 + 1)
    mel = 1127.01048 * np.log1p(hz / 700.0)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles / triangles.sum(axis=0)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class AisfxFrontEnd(FrontEnd):
    """Log of mel power as Essentia's MelBands gives it: 46 ms Hann windows every 23 ms, no level normalisation.

    Digital silence is exactly zero, so padding with zeros is padding with silence.
    """

    name: ClassVar[str] = "aisfx"
    sample_rate: ClassVar[int] = 44_100
    max_seconds: ClassVar[float] = 60.0
    hop_samples: ClassVar[int] = 1024

    bins: int = 96

    def num_frames(self, num_samples: int) -> int:
        # The last frame is the first one whose centre lies at or beyond the end.
        return -(-num_samples // self.hop_samples) + 1

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = self.num_frames(samples.size)
        half = _FRAME_SAMPLES // 2  # frames are centred on multiples of the hop
        padded = np.zeros((frames - 1) * self.hop_samples + _FRAME_SAMPLES, np.float64)
        padded[half : half + samples.size] = samples
        windows = np.lib.stride_tricks.sliding_window_view(padded, _FRAME_SAMPLES)[:: self.hop_samples]
        spectrum = np.fft.rfft(windows * np.hanning(_FRAME_SAMPLES), axis=-1)
        power = spectrum.real**2 + spectrum.imag**2
        bands = power @ _mel_filters(self.bins)
        return (np.log10(1.0 + 10_000.0 * bands) / _LARGEST_LOG).astype(np.float32)


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
    weight_file: ClassVar[str] = "model.safetensors"
    weight_prefix: ClassVar[str] = ""

    def __init__(self, config: AisfxEncoderConfig) -> None:
        super().__init__()
        self.embedding_net = EmbeddingNet()
        self.front_end = AisfxFrontEnd(config.mel_bins)
        self.frames_per_second = AisfxFrontEnd.sample_rate / AisfxFrontEnd.hop_samples / _STRIDE
        self.dim = _BLOCK_CHANNELS[-1]
        self.num_layers = len(_BLOCK_CHANNELS) - 1

    @classmethod
    def checkpoint_config(cls, folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
        """`build`'s configuration for a converted folder with this config.json."""
        return {"mel_bins": config["mel_bins"]}

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
