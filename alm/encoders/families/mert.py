"""MERT (Li et al. 2023): HuBERT's network on music at 24 kHz, taught by a codec's tokens and the constant-Q transform.

Its own class on the hub differs from HuBERT only in options that the two released v1 models do not use, or that leave
the numbers as they are (the 330M model's relaxed attention subtracts a maximum before the softmax).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import FrontEnd, config_from
from alm.encoders.blocks.waveform import WaveformEncoderConfig, read_waveform
from alm.encoders.families.hubert import HubertAudioEncoder
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.errors import WeightsError

_USUAL: Mapping[str, Any] = MappingProxyType({"sample_rate": 24_000, "normalise": True})


class MertAudioEncoder(HubertAudioEncoder):
    """As HuBERT, 75 features a second. Tasks in music need different layers: offer them all to a weighted sum."""

    name: ClassVar[str] = "mert"


def read(checkpoint: Checkpoint) -> Read:
    """From a transformers folder (`model_type` mert_model)."""
    settings = checkpoint.settings
    for option, reason in (
        ("feature_extractor_cqt", "it hears a constant-Q transform too, which is not supported; take a v1 model"),
        ("deepnorm", "its layers scale their residuals (DeepNorm), which is not supported"),
    ):
        if settings.get(option):
            raise WeightsError(f"{checkpoint.path}: {option} is set: {reason}")
    found = read_waveform(checkpoint, "mert_model.")
    extractor = settings.get("preprocessor", {})
    heard = {
        "sample_rate": extractor.get("sampling_rate", settings.get("sample_rate", _USUAL["sample_rate"])),
        "normalise": extractor.get("do_normalize", _USUAL["normalise"]),
    }
    return Read({**found.config, **heard}, found.tensors, found.unused)


def _config(config: Mapping[str, Any]) -> WaveformEncoderConfig:
    return config_from(WaveformEncoderConfig, {**_USUAL, **config})


def build(config: Mapping[str, Any]) -> MertAudioEncoder:
    """A randomly initialised encoder with this architecture (`WaveformEncoderConfig` fields; 24 kHz, normalised)."""
    return MertAudioEncoder(_config(config))


def _front_end(config: Mapping[str, Any]) -> FrontEnd:
    return _config(config).front_end()


FAMILY = Family(
    name="mert",
    build=build,
    front_end=_front_end,
    read=read,
    sizes=MappingProxyType(
        {
            "95m": {},
            "330m": {
                "dim": 1024,
                "num_layers": 24,
                "num_heads": 16,
                "ffn_dim": 4096,
                "group_norm": False,
                "pre_norm": True,
            },
        }
    ),
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="MERT",
        paper="Li et al., 2023: arXiv 2306.00107",
        home="https://github.com/yizhilll/MERT",
        hub=("m-a-p/MERT-v1-95M", "m-a-p/MERT-v1-330M"),
        licence_code="Apache-2.0",
        licence_weights="CC-BY-NC-4.0: not for commercial use",
        good_at="music: pitch, harmony, beat, genre, instruments, singers",
        containers=(("folder of the hub", "test_mert_opens_without_its_code_and_equals_huberts_network"),),
        proved_against="transformers 5.19 `HubertModel`: the authors' own class adds nothing to it for these models",
        notes="Trained on clips of 5 s. Read by its layout: no code of the hub's repository is run.",
    ),
)
