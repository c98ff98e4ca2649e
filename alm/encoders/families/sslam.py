"""SSLAM (Alex et al., ICLR 2025): EAT trained further on mixtures of sounds; the same module and the same files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import config_from
from alm.encoders.families import eat
from alm.encoders.family import Checkpoint, Facts, Family, Read


@dataclass(frozen=True)
class SslamConfig(eat.EatConfig):
    """`EatConfig`."""

    family: ClassVar[str] = "sslam"


class SslamAudioEncoder(eat.EatAudioEncoder):
    """See `EatAudioEncoder`."""

    name: ClassVar[str] = "sslam"


def build(config: Mapping[str, Any]) -> SslamAudioEncoder:
    """A randomly initialised encoder with this architecture (`SslamConfig` fields)."""
    return SslamAudioEncoder(config_from(SslamConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """As for EAT; see `Family.read`."""
    return eat.read_as("sslam", checkpoint)


FAMILY = Family(
    name="sslam",
    build=build,
    front_end=lambda config: eat.front_end(config_from(SslamConfig, config)),
    read=read,
    sizes=MappingProxyType({"base": MappingProxyType({})}),
    lora_targets=("qkv",),
    facts=Facts(
        title="SSLAM",
        paper=(
            "Alex et al. 2025, SSLAM: Enhancing Self-Supervised Models with Audio Mixtures for Polyphonic Soundscapes, "
            "arXiv:2506.12222"
        ),
        home="github.com/ta012/SSLAM",
        hub=("ta012/SSLAM_pretrain", "ta012/SSLAM_AS2M_Finetuned"),
        licence_code="MIT",
        licence_weights="MIT (the licence of the repository that links them)",
        good_at="several sounds at once: AudioSet mAP 50.2, ESC-50 96.2; the sound encoder of PAL",
        containers=(("fairseq's `.pt`, pre-trained", "test_a_pretraining_file_of_fairseq_opens"),),
        proved_against=(
            "github.com/ta012/SSLAM at 0a3c0fff01d7c3024c0a3bc4f9d5900801152e45, "
            "SSLAM_Inference/models/EAT_pretraining.py"
        ),
        notes="A file does not say whether it is EAT's or SSLAM's: both names read both.",
    ),
)
