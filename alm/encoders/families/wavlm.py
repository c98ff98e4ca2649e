"""WavLM (Chen et al. 2022): HuBERT's layers with gated relative positions, trained on mixtures of voices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import WavLMConfig
from transformers.models.wavlm.modeling_wavlm import WavLMModel

from alm.encoders.base import config_from
from alm.encoders.blocks.waveform import WaveformAudioEncoder, WaveformEncoderConfig, read_waveform
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.errors import WeightsError


@dataclass(frozen=True)
class WavLMEncoderConfig(WaveformEncoderConfig):
    """Architecture of the encoder, with the buckets of its relative positions."""

    num_buckets: int = 320
    max_distance: int = 800
    """In features; further ones share a bucket."""

    def to_transformers(self) -> dict[str, Any]:
        buckets = {"num_buckets": self.num_buckets, "max_bucket_distance": self.max_distance}
        return {**super().to_transformers(), **buckets}


class WavLMAudioEncoder(WaveformAudioEncoder):
    """The parts of transformers' `WavLMModel`."""

    name: ClassVar[str] = "wavlm"

    def __init__(self, config: WavLMEncoderConfig) -> None:
        super().__init__(config, WavLMModel(WavLMConfig(**config.to_transformers())))

    def _runner(self, hidden: Tensor, valid: Tensor) -> Callable[[nn.Module, Tensor], Tensor]:
        """The first layer makes the positions that the others gate."""
        positions: list[Tensor | None] = [None]
        padding = None if bool(valid.all()) else valid

        def run(layer: nn.Module, state: Tensor) -> Tensor:
            state, positions[0] = layer(state, attention_mask=padding, position_bias=positions[0])
            return state

        return run


def read(checkpoint: Checkpoint) -> Read:
    """A transformers folder or the authors' file (`cfg`, `model`)."""
    found = read_waveform(checkpoint, "wavlm.")
    embedded = found.tensors.get("encoder.layers.0.attention.rel_attn_embed.weight")
    if embedded is None:
        raise WeightsError(f"{checkpoint.path}: no relative positions in its first layer; this is no WavLM")
    flat = checkpoint.settings.get("cfg") or {}
    distance = checkpoint.settings.get("max_bucket_distance") or flat.get("max_distance", 800)
    config = {**found.config, "num_buckets": embedded.shape[0], "max_distance": distance}
    return Read(config, found.tensors, found.unused)


def build(config: Mapping[str, Any]) -> WavLMAudioEncoder:
    """A randomly initialised encoder with this architecture (`WavLMEncoderConfig` fields)."""
    return WavLMAudioEncoder(config_from(WavLMEncoderConfig, config))


_LARGE = {"dim": 1024, "num_layers": 24, "num_heads": 16, "ffn_dim": 4096, "group_norm": False, "pre_norm": True}

FAMILY = Family(
    name="wavlm",
    build=build,
    front_end=lambda config: config_from(WavLMEncoderConfig, config).front_end(),
    read=read,
    sizes={"base": {}, "base-plus": {}, "large": {**_LARGE, "normalise": True}},
    lora_targets=("intermediate_dense", "output_dense"),
    facts=Facts(
        title="WavLM",
        paper="Chen et al. 2022, arXiv 2110.13900",
        home="github.com/microsoft/unilm, folder wavlm",
        hub=("microsoft/wavlm-base", "microsoft/wavlm-base-plus", "microsoft/wavlm-large"),
        licence_code="MIT",
        licence_weights="the licence of microsoft/UniSpeech (CC BY-SA 3.0), see the hub's cards",
        good_at="speech, also where several talk at once or there is noise",
        containers=(
            ("transformers folder", "test_a_transformers_folder_gives_the_same_numbers"),
            ("the authors' `.pt` with `cfg` and `model`", "test_fairseqs_file_gives_the_same_numbers"),
        ),
        proved_against="transformers 5.19 `WavLMModel`, front end `Wav2Vec2FeatureExtractor`",
        notes="The group norm of base models runs over the real part of each clip; transformers lets padding into it.",
    ),
)
