"""HuBERT (Hsu et al. 2021), and HuBERTopic's extra token in front of the clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import HubertConfig
from transformers.models.hubert.modeling_hubert import HubertModel

from alm.encoders.base import config_from
from alm.encoders.blocks.waveform import WaveformAudioEncoder, WaveformEncoderConfig, read_waveform
from alm.encoders.family import Checkpoint, Facts, Family, Read


class HubertAudioEncoder(WaveformAudioEncoder):
    """The parts of transformers' `HubertModel`."""

    name: ClassVar[str] = "hubert"

    def __init__(self, config: WaveformEncoderConfig) -> None:
        found = HubertConfig(**config.to_transformers(), feat_proj_layer_norm=config.projection_norm)
        super().__init__(config, HubertModel(found))


def read(checkpoint: Checkpoint) -> Read:
    """A transformers folder or the authors' fairseq file."""
    return read_waveform(checkpoint, "hubert.")


def build(config: Mapping[str, Any]) -> HubertAudioEncoder:
    """A randomly initialised encoder with this architecture (`WaveformEncoderConfig` fields)."""
    return HubertAudioEncoder(config_from(WaveformEncoderConfig, config))


_LARGE = {"dim": 1024, "num_layers": 24, "num_heads": 16, "ffn_dim": 4096, "group_norm": False, "pre_norm": True}
_XLARGE = {"dim": 1280, "num_layers": 48, "ffn_dim": 5120, "normalise": True}

FAMILY = Family(
    name="hubert",
    build=build,
    front_end=lambda config: config_from(WaveformEncoderConfig, config).front_end(),
    read=read,
    sizes={"base": {}, "large": {**_LARGE, "normalise": True}, "xlarge": {**_LARGE, **_XLARGE}},
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="HuBERT",
        paper="Hsu et al. 2021, arXiv 2106.07447; HuBERTopic: arXiv 2310.03975",
        home="github.com/facebookresearch/fairseq",
        hub=("facebook/hubert-base-ls960", "facebook/hubert-large-ll60k", "facebook/hubert-xlarge-ll60k"),
        licence_code="MIT",
        licence_weights="Apache-2.0 (the hub's copies), MIT (fairseq)",
        good_at="speech sounds, speakers and prosody",
        containers=(
            ("transformers folder", "test_a_transformers_folder_gives_the_same_numbers"),
            ("fairseq's `.pt`", "test_fairseqs_file_gives_the_same_numbers"),
        ),
        proved_against="transformers 5.19 `HubertModel`, front end `Wav2Vec2FeatureExtractor`",
        notes="The group norm of base models runs over the real part of each clip; transformers lets padding into it. "
        "HuBERTopic's weights are not public: its token is `topic_token`, placed in front of the projected clip, "
        "before the positional convolution; where its authors place it is not known here.",
    ),
)
