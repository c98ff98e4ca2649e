"""CED (Dinkel et al., ICASSP 2024): small taggers distilled from an ensemble, 16 kHz, 16x16 patches on 64 bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import config_from
from alm.encoders.blocks.grid import Grid, check_sizes
from alm.encoders.blocks.mel_grid import MelGridTransformer, bare_names, mel_db_front_end
from alm.encoders.blocks.reading import VIT_AXES, divided, refusal, required, vit_sizes
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.mel_db import MelDbFrontEnd

_BINS, _PATCH = 64, 16
_GRID = Grid(_BINS, _PATCH, _PATCH, _PATCH, _PATCH)
_UNUSED = ("front_end.", "outputlayer.")


@dataclass(frozen=True)
class CedConfig:
    """The defaults are the base model's."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    max_steps: int = 63
    """Patches in time, 160 ms each, that there are positions for."""
    frequency: str = "mean"

    def __post_init__(self) -> None:
        check_sizes("ced", self)


class CedEncoder(MelGridTransformer):
    """Four rows of patches."""

    name: ClassVar[str] = "ced"

    def __init__(self, config: CedConfig) -> None:
        super().__init__(_GRID, config.max_steps, config.frequency, asdict(config))


def build(config: Mapping[str, Any]) -> CedEncoder:
    """A randomly initialised encoder with this architecture (`CedConfig` fields)."""
    return CedEncoder(config_from(CedConfig, config))


def front_end(config: Mapping[str, Any]) -> MelDbFrontEnd:
    """Decibels for as long as there are positions."""
    return mel_db_front_end(_GRID, config_from(CedConfig, config).max_steps)


def read(checkpoint: Checkpoint) -> Read:
    """From a released `.pt` (bare, or under `model`) or a transformers folder."""
    tensors = bare_names(checkpoint.tensors)
    axes = {**VIT_AXES, "time_pos_embed": 4, "freq_pos_embed": 4, "init_bn.weight": 1}
    required(checkpoint, "ced", tensors, axes)
    patch = tuple(tensors["patch_embed.proj.weight"].shape[2:])
    if patch != (_PATCH, _PATCH):
        raise refusal(checkpoint, "ced", f"its patches are {patch}, not {(_PATCH, _PATCH)}; Dasheng's are (64, 4)")
    if "cls_token" in tensors:
        raise refusal(checkpoint, "ced", "it pools with a class token, which no published model does")
    kept, unused = divided(tensors, _UNUSED)
    return Read({**vit_sizes(kept), "max_steps": kept["time_pos_embed"].shape[3]}, kept, unused)


FAMILY = Family(
    name="ced",
    build=build,
    front_end=front_end,
    read=read,
    sizes=MappingProxyType(
        {
            "base": {},
            "small": {"dim": 384, "num_heads": 6, "ffn_dim": 1536},
            "mini": {"dim": 256, "num_heads": 4, "ffn_dim": 1024},
            "tiny": {"dim": 192, "num_heads": 3, "ffn_dim": 768},
        }
    ),
    lora_targets=("attn.qkv", "attn.proj"),
    facts=Facts(
        title="CED",
        paper="Dinkel, Wang, Yan, Zhang, Wang: CED: Consistent Ensemble Distillation for Audio Tagging, ICASSP 2024 "
        "(2308.11957)",
        home="https://github.com/RicherMans/CED",
        hub=("mispeech/ced-tiny", "mispeech/ced-mini", "mispeech/ced-small", "mispeech/ced-base"),
        licence_code="GPL-3.0 (the authors' code, of which nothing is here)",
        licence_weights="Apache-2.0 as the hub labels them; the repository they come from is GPL-3.0",
        good_at="tagging of sounds on small machines",
        containers=(
            ("`.pt`, bare or under `model`", "test_official_file_opens_with_every_tensor"),
            ("transformers folder", "test_transformers_folder_opens_with_every_tensor"),
        ),
        proved_against="RicherMans/CED 60a0f54214ea619265e16ee257925158be2675fd",
        notes="The authors' own code drops the last chunk of a clip that is a whole number of chunks; windows of ours "
        "do not.",
    ),
)
