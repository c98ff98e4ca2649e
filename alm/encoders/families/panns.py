"""PANNs (Kong et al., TASLP 2020): CNNs on log-mel that were trained to tag AudioSet; with Wavegram, on samples too.

Each block halves time and frequency; batches are padded so that a clip's features are those it has alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alm.encoders.base import EncoderOutput, FrontEnd, config_from
from alm.encoders.blocks.cnn import ConvBlock, StillEncoder, on_grid, whole_cells
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.htsat import HtsatFrontEnd
from alm.encoders.front_ends.spectra import mel_filters
from alm.encoders.front_ends.wavegram import WavegramFrontEnd
from alm.errors import ConfigError, WeightsError

_SILENCE_DB = -100.0
_WAVE_STRIDE = 5 * 4 * 4 * 4
"""Samples in one step of the learned front end: the first convolution's stride and three poolings."""
_WAVE_CHANNELS = 4
_MOST_POOLINGS = 5
_INPUTS = ("logmel", "wavegram", "both")


@dataclass(frozen=True)
class PannsConfig:
    """One network of the paper; the defaults are CNN14's at 32 kHz."""

    inputs: str = "logmel"
    """`logmel`, `wavegram` (a learned front end on samples), or `both`."""
    num_blocks: int = 6
    kernel_size: int = 3
    """3: two convolutions a block; 5: one (CNN6)."""
    first_channels: int = 64
    """Channels of the first block; each next one has twice as many."""
    mel_bins: int = 64
    sample_rate_hz: int = 32_000
    window_samples: int = 1024
    hop_samples: int = 320
    low_hz: float = 50.0
    high_hz: float = 14_000.0
    max_seconds: float = 60.0
    """Longest clip that is heard at once."""

    def __post_init__(self) -> None:
        if self.inputs not in _INPUTS:
            raise ConfigError(f"panns: inputs is {self.inputs!r}; it must be one of {', '.join(_INPUTS)}")
        if self.kernel_size not in (3, 5):
            raise ConfigError(f"panns: kernel_size is {self.kernel_size!r}; it must be 3 or 5")
        if not isinstance(self.num_blocks, int) or self.num_blocks < 1:
            raise ConfigError(f"panns: num_blocks is {self.num_blocks!r}; it must be a whole number above 0")
        if self.mel_bins < 1 << self.num_poolings:
            raise ConfigError(
                f"panns: mel_bins is {self.mel_bins!r}; {self.num_poolings} halvings want at least "
                f"{1 << self.num_poolings}"
            )
        if self.inputs != "logmel" and (self.hop_samples, self.mel_bins) != (_WAVE_STRIDE, self.first_channels):
            raise ConfigError(
                f"panns: a wavegram needs hop_samples {_WAVE_STRIDE} and as many mel_bins as first_channels; they are "
                f"{self.hop_samples!r}, {self.mel_bins!r} and {self.first_channels!r}"
            )

    @property
    def num_poolings(self) -> int:
        """Blocks, from the first, that halve time and frequency."""
        return min(self.num_blocks, _MOST_POOLINGS)


class WaveBlock(nn.Module):
    """Two convolutions over samples, the second dilated; the maximum of each four steps."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.conv2 = nn.Conv1d(out_channels, out_channels, 3, padding=2, dilation=2, bias=False)
        self.bn2 = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, in, time]` and what is real `[batch, 1, time]` to the same at a quarter of the rate."""
        x = torch.relu(self.bn1(self.conv1(x))) * real
        x = torch.relu(self.bn2(self.conv2(x))) * real
        x, real = nn.functional.max_pool1d(x, 4), whole_cells(real, 4)
        return x * real, real


class PannsAudioEncoder(StillEncoder):
    """The blocks before the pooling over time, keys as published.

    Layer i is what the (i+1)-th block gives, on the time grid of the last: as the mean over frequency in the last
    block (what the authors pool over time), earlier ones as frequency regions side by side and the mean of the
    feature's steps. Features are started only by whole cells, as in the original; a clip shorter than one feature is
    followed by silence up to it.
    """

    name: ClassVar[str] = "panns"

    def __init__(self, config: PannsConfig) -> None:
        super().__init__()
        self.config, first = config, config.first_channels
        self.front_end = front_end_of(config)
        if config.inputs != "wavegram":
            self.bn0 = nn.BatchNorm2d(config.mel_bins)
            self.conv_block1 = ConvBlock(1, first, config.kernel_size)
        if config.inputs != "logmel":
            self._add_wavegram(first)
        for index in range(2, config.num_blocks + 1):
            inputs = first << (index - 2 + (index == 2 and config.inputs == "both"))
            self.add_module(f"conv_block{index}", ConvBlock(inputs, first << (index - 1), config.kernel_size))
        self.stride = 1 << config.num_poolings
        self.frames_per_second = config.sample_rate_hz / config.hop_samples / self.stride
        self.dim = first << (config.num_blocks - 1)
        self.num_layers = config.num_blocks - 1

    def _add_wavegram(self, first: int) -> None:
        self.pre_conv0 = nn.Conv1d(1, first, 11, stride=5, padding=5, bias=False)
        self.pre_bn0 = nn.BatchNorm1d(first)
        self.pre_block1 = WaveBlock(first, first)
        self.pre_block2 = WaveBlock(first, 2 * first)
        self.pre_block3 = WaveBlock(2 * first, 2 * first)
        self.pre_block4 = ConvBlock(_WAVE_CHANNELS, first)

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """See `AudioEncoder.forward`; `time = floor(frames / stride)`, at least one."""
        wanted = self._checked_layers(spectrogram, mask, layers)
        x, real = self._first_block(*self._at_least_one_feature(spectrogram, mask))
        halvings, blocks = self.config.num_poolings, [x]
        for index in range(2, self.config.num_blocks + 1):
            pool = (2, 2) if index <= halvings else (1, 1)
            x, real = self.get_submodule(f"conv_block{index}")(x, real, pool)
            blocks.append(x)
        steps = [1 << max(0, halvings - 1 - i) for i in range(len(blocks))]
        features = torch.stack([on_grid(blocks[i], steps[i], self.dim) for i in wanted], dim=1)
        valid = real[:, 0, :, 0].bool()
        return EncoderOutput(features.masked_fill(~valid[:, None, :, None], 0.0), valid)

    def _at_least_one_feature(self, spectrogram: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Silence instead of padding, and as much of it counted as real as one feature needs."""
        fewest = self.stride + (self.config.inputs != "logmel")
        short = (0, max(0, fewest - mask.shape[1]))
        mask = nn.functional.pad(mask, short)
        silence = spectrogram.new_zeros(self.front_end.bins)
        silence[: self.config.mel_bins] = _SILENCE_DB
        heard = torch.where(mask[:, :, None], nn.functional.pad(spectrogram, (0, 0, *short)), silence)
        return heard, mask | (torch.arange(mask.shape[1], device=mask.device) < fewest)

    def _first_block(self, spectrogram: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, channels, steps, bands]` that enter the second block, and what of it is real."""
        bins, inputs = self.config.mel_bins, self.config.inputs
        if inputs == "wavegram":
            return self._wavegram(spectrogram[:, :, bins:], mask)
        real = mask[:, None, :, None].to(spectrogram.dtype)
        levels = self.bn0(spectrogram[:, :, :bins].transpose(1, 2)[..., None])  # [batch, bins, time, 1]
        x, halved = self.conv_block1(levels.transpose(1, 3) * real, real, (2, 2))
        if inputs == "logmel":
            return x, halved
        learned, real = self._wavegram(spectrogram[:, :, bins:], mask)
        return torch.cat([x[:, :, : real.shape[2]], learned], dim=1) * real, real

    def _wavegram(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Samples in rows `[batch, frames, hop]` to `[batch, channels, frames // 2, bands]`."""
        samples = rows[:, :-1].flatten(1)[:, None]
        real = mask[:, None, 1:].repeat_interleave(rows.shape[2], 2).to(rows.dtype)
        x, real = torch.relu(self.pre_bn0(self.pre_conv0(samples * real))), real[:, :, ::5]
        x = x * real
        for block in (self.pre_block1, self.pre_block2, self.pre_block3):
            x, real = block(x, real)
        grid = x.unflatten(1, (_WAVE_CHANNELS, -1)).transpose(2, 3)
        learned: tuple[Tensor, Tensor] = self.pre_block4(grid, real[..., None], (2, 1))
        return learned


def front_end_of(config: PannsConfig) -> FrontEnd:
    """The front end that such a network hears."""
    shared = {
        "sample_rate": config.sample_rate_hz,
        "max_seconds": config.max_seconds,
        "window_samples": config.window_samples,
        "hop_samples": config.hop_samples,
        "low_hz": config.low_hz,
        "high_hz": config.high_hz,
    }
    if config.inputs == "logmel":
        return config_from(HtsatFrontEnd, {"bins": config.mel_bins, **shared})
    return config_from(WavegramFrontEnd, {"bins": config.mel_bins + config.hop_samples, **shared})


_BY_WINDOW: Mapping[int, Mapping[str, Any]] = MappingProxyType(
    {
        1024: {},
        512: {"sample_rate_hz": 16_000, "window_samples": 512, "hop_samples": 160, "high_hz": 8000.0},
        256: {"sample_rate_hz": 8000, "window_samples": 256, "hop_samples": 80, "high_hz": 4000.0},
    }
)
"""What the published networks' windows say of the rest of their front end."""
_FRONT_END_KEYS = ("spectrogram_extractor.", "logmel_extractor.")
_HEAD_KEYS = ("fc1.", "fc_audioset.", "fc_transfer.", "att_block.")
_MEL_KEY, _STFT_KEY = "logmel_extractor.melW", "spectrogram_extractor.stft.conv_real.weight"


def read(checkpoint: Checkpoint, front_end: Mapping[str, Any] = MappingProxyType({})) -> Read:
    """From a published `.pth` (`{"model": ...}`); `front_end` replaces what its window says."""
    config = config_of(checkpoint.tensors, checkpoint.path, front_end)
    skipped: tuple[str, ...] = (*_FRONT_END_KEYS, *_HEAD_KEYS)
    if config["inputs"] == "wavegram":
        skipped += ("bn0.", "conv_block1.")  # in the file, but the authors' forward pass goes round them
    unused = tuple(key for key in checkpoint.tensors if key.startswith(skipped))
    return Read(config, {k: t for k, t in checkpoint.tensors.items() if k not in unused}, unused)


def config_of(tensors: Mapping[str, Tensor], path: str, front_end: Mapping[str, Any]) -> dict[str, Any]:
    """`PannsConfig`'s fields from the shapes in a file; `front_end` replaces what its window says.

    Raises:
        WeightsError: another network, or mel bands that none of the published front ends has.
    """
    first = tensors.get("conv_block1.conv1.weight")
    if first is None or "bn0.weight" not in tensors:
        raise WeightsError(
            f"{path} is none of PANNs' CNN6, CNN10, CNN14 or Wavegram networks: it has no conv_block1 and bn0. "
            "Their ResNet, MobileNet, LeeNet and DaiNet are not supported; choose one of these four"
        )
    num_blocks = 1
    while f"conv_block{num_blocks + 1}.conv1.weight" in tensors:
        num_blocks += 1
    stft = tensors.get(_STFT_KEY)
    config: dict[str, Any] = {
        "inputs": _inputs(tensors),
        "num_blocks": num_blocks,
        "kernel_size": first.shape[-1],
        "first_channels": first.shape[0],
        "mel_bins": tensors["bn0.weight"].shape[0],
        **_BY_WINDOW.get(1024 if stft is None else stft.shape[-1], {}),
        **front_end,
    }
    _check_mel(tensors.get(_MEL_KEY), config_from(PannsConfig, config), path)
    return config


def _inputs(tensors: Mapping[str, Tensor]) -> str:
    if "pre_conv0.weight" not in tensors:
        return "logmel"
    second = tensors["conv_block2.conv1.weight"].shape  # [out, in, ...]: both inputs side by side fill all of out
    return "both" if second[0] == second[1] else "wavegram"


def _check_mel(filters: Tensor | None, config: PannsConfig, path: str) -> None:
    """The file carries its mel bands: they must be those that the front end will use."""
    if filters is None:
        return
    shape = (1 + config.window_samples // 2, config.mel_bins)
    if filters.shape != shape or not np.allclose(filters.double().numpy(), _filters(config), rtol=0.0, atol=1e-6):
        raise WeightsError(
            f"{path}: its mel bands {tuple(filters.shape)} are not those of {config.sample_rate_hz} Hz, "
            f"{config.window_samples} samples, {config.low_hz:g} to {config.high_hz:g} Hz. Only the published front "
            "ends are known; convert the file with the one that it was trained with"
        )


def _filters(config: PannsConfig) -> NDArray[np.float64]:
    """Mel bands `[frequencies, bins]` that the front end uses."""
    return mel_filters(
        config.sample_rate_hz, config.window_samples, config.mel_bins, config.low_hz, config.high_hz, "slaney"
    )


def build(config: Mapping[str, Any]) -> PannsAudioEncoder:
    """A randomly initialised encoder with this architecture (`PannsConfig` fields)."""
    return PannsAudioEncoder(config_from(PannsConfig, config))


FAMILY = Family(
    name="panns",
    build=build,
    front_end=lambda config: front_end_of(config_from(PannsConfig, config)),
    read=read,
    sizes=MappingProxyType(
        {
            "cnn6": {"num_blocks": 4, "kernel_size": 5},
            "cnn10": {"num_blocks": 4},
            "cnn14": {},
            "cnn14-16k": _BY_WINDOW[512],
            "cnn14-8k": _BY_WINDOW[256],
            "wavegram-cnn14": {"inputs": "wavegram"},
            "wavegram-logmel-cnn14": {"inputs": "both"},
        }
    ),
    lora_targets=("conv1", "conv2|conv1"),
    facts=Facts(
        title="PANNs",
        paper="Kong, Cao, Iqbal, Wang, Wang and Plumbley, 2020: arXiv 1912.10211",
        home="https://github.com/qiuqiangkong/audioset_tagging_cnn",
        hub=(),
        licence_code="MIT",
        licence_weights="as its Zenodo record 3987831 says",
        good_at="sound events at little cost: AudioSet mAP 0.431 (CNN14), 0.438 (CNN14 16 kHz), 0.439 "
        "(Wavegram-Logmel-CNN14)",
        containers=(("`.pth` with `model`", "test_a_published_file_opens_with_the_front_end_that_its_window_says"),),
        proved_against="qiuqiangkong/audioset_tagging_cnn d2f4b8c: its CNN6, CNN10, CNN14, Wavegram-CNN14 and "
        "Wavegram-Logmel-CNN14",
        notes="LoRA and adapters sit on convolutions here; CNN6 has one in each block. CNN14 has one feature for "
        "0.32 s; a started one at the end of a clip is dropped, as in the original. The original's Wavegram networks "
        "take only an even number of hops; here silence fills the last.",
    ),
)
