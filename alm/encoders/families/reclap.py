"""ReCLAP (Ghosh et al. 2024): LAION-CLAP's audio tower, trained on captions that describe what sounds are like."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import config_from
from alm.encoders.families import clap
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.errors import WeightsError


class ReclapAudioTower(clap.ClapAudioTower):
    """See `ClapAudioTower`."""

    name: ClassVar[str] = "reclap"


def read(checkpoint: Checkpoint) -> Read:
    """From a file of its training code (`{"state_dict": ...}`, names led by `module.`), HTSAT towers only."""
    if any(".grep_linear." in name or "post_extract_proj" in name for name in checkpoint.tensors):
        raise WeightsError(f"{checkpoint.path}: its audio tower is BEATs, an option of ReCLAP's code; open it as beats")
    return clap.read(checkpoint)


def build(config: Mapping[str, Any]) -> ReclapAudioTower:
    """A randomly initialised encoder with this architecture (`ClapEncoderConfig` fields)."""
    return ReclapAudioTower(config_from(clap.ClapEncoderConfig, config))


FAMILY = Family(
    name="reclap",
    build=build,
    front_end=clap.FAMILY.front_end,
    read=read,
    sizes=MappingProxyType({"tiny": clap.FAMILY.sizes["tiny"], "base": clap.FAMILY.sizes["base"]}),
    lora_targets=clap.FAMILY.lora_targets,
    facts=Facts(
        title="ReCLAP",
        paper="Ghosh et al., 2024: arXiv 2409.09213",
        home="https://github.com/Sreyan88/ReCLAP",
        hub=(),
        licence_code="none stated (its base, LAION-CLAP, is CC0)",
        licence_weights="none stated",
        good_at="zero-shot classes of sounds by descriptions",
        containers=(("`.pt` with `state_dict`", "test_microsofts_and_reclaps_files_open"),),
        proved_against="as LAION-CLAP: the tower is the same",
        notes="Weights lie on Google Drive only. Its tower and front end are LAION-CLAP's.",
    ),
)
