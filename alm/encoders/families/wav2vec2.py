"""wav2vec 2.0 (Baevski et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

from alm.encoders.base import config_from
from alm.encoders.blocks.waveform import WaveformAudioEncoder, WaveformEncoderConfig, read_waveform
from alm.encoders.family import Checkpoint, Facts, Family, Read


class Wav2Vec2AudioEncoder(WaveformAudioEncoder):
    """The parts of transformers' `Wav2Vec2Model`."""

    name: ClassVar[str] = "wav2vec2"

    def __init__(self, config: WaveformEncoderConfig) -> None:
        super().__init__(config, Wav2Vec2Model(Wav2Vec2Config(**config.to_transformers())))


def read(checkpoint: Checkpoint) -> Read:
    """A transformers folder or the authors' fairseq file."""
    return read_waveform(checkpoint, "wav2vec2.")


def build(config: Mapping[str, Any]) -> Wav2Vec2AudioEncoder:
    """A randomly initialised encoder with this architecture (`WaveformEncoderConfig` fields)."""
    return Wav2Vec2AudioEncoder(config_from(WaveformEncoderConfig, config))


_LARGE = {"dim": 1024, "num_layers": 24, "num_heads": 16, "ffn_dim": 4096, "group_norm": False, "pre_norm": True}
_OLD = {"group_norm": True, "pre_norm": False, "normalise": True}
"""The large model on LibriSpeech keeps the norms of the base one."""

FAMILY = Family(
    name="wav2vec2",
    build=build,
    front_end=lambda config: config_from(WaveformEncoderConfig, config).front_end(),
    read=read,
    sizes={
        "base": {"normalise": True},
        "large": {**_LARGE, **_OLD},
        "large-lv60": {**_LARGE, "conv_bias": True, "normalise": True},
    },
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="wav2vec 2.0",
        paper="Baevski et al. 2020, arXiv 2006.11477",
        home="github.com/facebookresearch/fairseq",
        hub=("facebook/wav2vec2-base", "facebook/wav2vec2-large", "facebook/wav2vec2-large-lv60"),
        licence_code="MIT",
        licence_weights="Apache-2.0 (the hub's copies), MIT (fairseq)",
        good_at="speech sounds",
        containers=(
            ("transformers folder", "test_a_transformers_folder_gives_the_same_numbers"),
            ("fairseq's `.pt`", "test_fairseqs_file_gives_the_same_numbers"),
        ),
        proved_against="transformers 5.19 `Wav2Vec2Model`, front end `Wav2Vec2FeatureExtractor`",
        notes="The group norm of base models runs over the real part of each clip; transformers lets padding into it.",
    ),
)
