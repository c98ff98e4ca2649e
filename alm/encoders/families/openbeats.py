"""OpenBEATs (Bharadwaj et al. 2025): BEATs trained anew in the open, base and large, on sound, music and animals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import config_from
from alm.encoders.families import beats
from alm.encoders.family import Checkpoint, Facts, Family, Read


@dataclass(frozen=True)
class OpenBeatsConfig(beats.BeatsConfig):
    """`BeatsConfig`; mean and deviation differ from file to file and are read from its settings."""

    family: ClassVar[str] = "openbeats"


class OpenBeatsAudioEncoder(beats.BeatsAudioEncoder):
    """See `BeatsAudioEncoder`. The authors repeat a clip below 0.2 s; here silence follows it, as after any clip."""

    name: ClassVar[str] = "openbeats"


def build(config: Mapping[str, Any]) -> OpenBeatsAudioEncoder:
    """A randomly initialised encoder with this architecture (`OpenBeatsConfig` fields)."""
    return OpenBeatsAudioEncoder(config_from(OpenBeatsConfig, config))


def read(checkpoint: Checkpoint) -> Read:
    """From `{"cfg", "model"}`, or from a run of ESPnet (weights with config.yaml beside them); see `Family.read`."""
    if "encoder.patch_embedding.weight" not in checkpoint.tensors:
        return beats.read_as("openbeats", checkpoint)
    inner = {n.removeprefix("encoder."): t for n, t in checkpoint.tensors.items() if n.startswith("encoder.")}
    outer = tuple(sorted(name for name in checkpoint.tensors if not name.startswith("encoder.")))
    found = beats.read_as("openbeats", replace(checkpoint, tensors=inner))
    return replace(found, unused=(*found.unused, *outer))


FAMILY = Family(
    name="openbeats",
    build=build,
    front_end=lambda config: beats.front_end(config_from(OpenBeatsConfig, config)),
    read=read,
    sizes=MappingProxyType(
        {
            "base": MappingProxyType({}),
            "large": MappingProxyType({"dim": 1024, "num_layers": 24, "num_heads": 16, "ffn_dim": 4096}),
        }
    ),
    lora_targets=("q_proj", "v_proj"),
    facts=Facts(
        title="OpenBEATs",
        paper="Bharadwaj et al. 2025, OpenBEATs: A Fully Open-Source General-Purpose Audio Encoder, arXiv:2507.14129",
        home="github.com/espnet/espnet, espnet2/beats; package openbeats",
        hub=tuple(f"shikhar7ssu/OpenBEATs-{size}-i{number}" for size in ("Base", "Large") for number in (1, 2, 3)),
        licence_code="Apache-2.0",
        licence_weights="CC-BY-4.0 (as the cards say)",
        good_at="animal sounds, environmental sounds and music at once; the authors report the best scores of its size",
        containers=(
            ("`.pt` with `cfg` and `model`", "test_openbeats_file_says_its_own_mean_and_deviation"),
            ("ESPnet's run: `.pt` with `config.yaml` deep in a folder", "test_an_official_openbeats_repository_opens"),
        ),
        proved_against="package openbeats 0.1.1, beats_encoder.py",
        notes=(
            "Mean and deviation of the spectrogram differ from file to file; they are taken from the file's cfg, or "
            "from config.yaml or config.json beside it, and a file without them is refused. With flash attention the "
            "authors' code drops attention out in evaluation, too; the comparison is with their plain attention."
        ),
    ),
)
