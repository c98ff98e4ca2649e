"""Whisper's encoder (Radford et al. 2022) on clips of any length up to 30 s, without padding them to 30 s.

transformers' own encoder insists on 3000 frames. This module runs the same layers on as many frames as there are:
the sinusoidal positions are sliced, padding is zero wherever a lone clip would see a convolution's zero padding, and
attention does not look at padding.
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
from torch import Tensor
from torch.nn.functional import gelu
from transformers import WhisperConfig
from transformers.audio_utils import mel_filter_bank
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd
from alm.errors import ConfigError

_FFT_SAMPLES = 400


@lru_cache(maxsize=4)
def _mel_filters(bins: int) -> NDArray[np.float64]:
    """Slaney mel triangles `[fft bins, bins]` from 0 to 8 kHz."""
    filters: NDArray[np.float64] = mel_filter_bank(
        num_frequency_bins=_FFT_SAMPLES // 2 + 1,
        num_mel_filters=bins,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=WhisperFrontEnd.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return filters


@dataclass(frozen=True)
class WhisperFrontEnd(FrontEnd):
    """Whisper's log-mel: 25 ms Hann windows every 10 ms, floor 8 decades under the clip's loudest cell.

    A clip is followed by silence, as in Whisper's own 30 s input, so the frames equal the first frames of that input;
    a started hop counts as a frame.
    """

    name: ClassVar[str] = "whisper"
    sample_rate: ClassVar[int] = 16_000
    max_seconds: ClassVar[float] = 30.0
    hop_samples: ClassVar[int] = 160

    bins: int = 80
    """80, or 128 for large-v3 and turbo."""

    def num_frames(self, num_samples: int) -> int:
        return max(1, -(-num_samples // self.hop_samples))

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        frames, whole = self.num_frames(samples.size), int(self.max_seconds * self.sample_rate)
        # Two windows of silence: no frame that is kept, or that the floor depends on, sees the mirrored end.
        extended = np.zeros(min(whole, frames * self.hop_samples + 2 * _FFT_SAMPLES), np.float64)
        extended[: samples.size] = samples
        log_mel = self._log_mel(extended)
        log_mel = np.maximum(log_mel, log_mel.max() - 8.0)
        scaled: NDArray[np.float32] = ((log_mel[:frames] + 4.0) / 4.0).astype(np.float32)
        return scaled

    def _log_mel(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """log10 of mel power `[frames, bins]` of a signal that is mirrored at both ends."""
        padded = np.pad(samples, _FFT_SAMPLES // 2, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[:: self.hop_samples]
        hann = np.hanning(_FFT_SAMPLES + 1)[:-1]  # periodic: the symmetric window one longer, less its last
        spectrum = np.fft.rfft(windows[: samples.size // self.hop_samples] * hann, axis=-1)
        power = spectrum.real**2 + spectrum.imag**2
        return np.log10(np.maximum(power @ _mel_filters(self.bins), 1e-10))


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
    weight_file: ClassVar[str] = "model.safetensors"
    weight_prefix: ClassVar[str] = "model."

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(config.to_transformers())
        self.front_end = WhisperFrontEnd(config.mel_bins)
        self.frames_per_second = 50.0
        self.dim = config.dim
        self.num_layers = config.num_layers

    @classmethod
    def checkpoint_config(cls, folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
        """`build`'s configuration for a converted folder with this config.json."""
        return dict(vars(WhisperEncoderConfig.from_checkpoint(config)))

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
    from alm.encoders.base import config_from

    return WhisperAudioEncoder(config_from(WhisperEncoderConfig, config))
