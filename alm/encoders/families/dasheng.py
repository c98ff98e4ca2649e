"""Dasheng (Dinkel et al., Interspeech 2024): masked auto-encoders on 270,000 h, patches as high as the spectrogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import config_from
from alm.encoders.blocks.grid import Grid, check_sizes
from alm.encoders.blocks.mel_grid import MelGridTransformer, bare_names, mel_db_front_end
from alm.encoders.blocks.reading import HEAD_DIM, VIT_AXES, divided, refusal, required, vit_sizes
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.mel_db import MelDbFrontEnd

_BINS, _FRAMES = 64, 4
_GRID = Grid(_BINS, _BINS, _FRAMES, _BINS, _FRAMES)
_HEAD_DIMS = MappingProxyType({1280: 80})
"""Width of a head where it is not 64, by width of the model."""
_UNUSED = ("front_end.", "outputlayer.", "decoder.")


@dataclass(frozen=True)
class DashengConfig:
    """The defaults are the base model's."""

    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    max_steps: int = 252
    """Patches in time, 40 ms each, that there are positions for."""
    frequency: str = "mean"
    """Without effect: a step has one patch."""

    def __post_init__(self) -> None:
        check_sizes("dasheng", self)


class DashengEncoder(MelGridTransformer):
    """One patch is 64 bands by 40 ms, so the sequence is one of time alone, 25 a second."""

    name: ClassVar[str] = "dasheng"

    def __init__(self, config: DashengConfig) -> None:
        super().__init__(_GRID, config.max_steps, config.frequency, asdict(config))


def build(config: Mapping[str, Any]) -> DashengEncoder:
    """A randomly initialised encoder with this architecture (`DashengConfig` fields)."""
    return DashengEncoder(config_from(DashengConfig, config))


def front_end(config: Mapping[str, Any]) -> MelDbFrontEnd:
    """Decibels for as long as there are positions."""
    return mel_db_front_end(_GRID, config_from(DashengConfig, config).max_steps)


def _said(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a `.pt` says under `config`, or a transformers folder under `encoder_kwargs`."""
    inner = settings.get("config", settings.get("encoder_kwargs", settings))
    return inner if isinstance(inner, Mapping) else {}


def read(checkpoint: Checkpoint) -> Read:
    """From a released `.pt` (`model` and `config`) or a transformers folder."""
    tensors = bare_names(checkpoint.tensors)
    required(checkpoint, "dasheng", tensors, {**VIT_AXES, "time_pos_embed": 4, "init_bn.weight": 1})
    patch = tuple(tensors["patch_embed.proj.weight"].shape[2:])
    if patch != (_BINS, _FRAMES):
        raise refusal(checkpoint, "dasheng", f"its patches are {patch}, not {(_BINS, _FRAMES)}; CED's are (16, 16)")
    if "cls_token" in tensors:
        raise refusal(checkpoint, "dasheng", "it pools with a class token, which no published model does")
    kept, unused = divided(tensors, _UNUSED)
    sizes = vit_sizes(kept)
    usual = max(1, sizes["dim"] // _HEAD_DIMS.get(sizes["dim"], HEAD_DIM))
    sizes["num_heads"] = _said(checkpoint.settings).get("num_heads", usual)
    return Read({**sizes, "max_steps": kept["time_pos_embed"].shape[3]}, kept, unused)


FAMILY = Family(
    name="dasheng",
    build=build,
    front_end=front_end,
    read=read,
    sizes=MappingProxyType(
        {
            "base": {},
            "0.6b": {"dim": 1280, "num_layers": 32, "num_heads": 16, "ffn_dim": 5120},
            "1.2b": {"dim": 1536, "num_layers": 40, "num_heads": 24, "ffn_dim": 6144},
        }
    ),
    lora_targets=("attn.qkv", "attn.proj"),
    facts=Facts(
        title="Dasheng",
        paper="Dinkel, Yan, Wang, Zhang, Wang, Wang: Scaling up masked audio encoder learning for general audio "
        "classification, Interspeech 2024 (2406.06992)",
        home="https://github.com/XiaoMi/dasheng",
        hub=("mispeech/dasheng-base", "mispeech/dasheng-0.6B", "mispeech/dasheng-1.2B"),
        licence_code="Apache-2.0",
        licence_weights="Apache-2.0",
        good_at="general audio: speech, music and surroundings",
        containers=(
            ("`.pt` with `model` and `config`", "test_official_file_opens_with_every_tensor"),
            ("transformers folder", "test_transformers_folder_opens_with_every_tensor"),
        ),
        proved_against="XiaoMi/dasheng 711a6da7787b140a3fabad12ee5d6c3706ba5df5",
        notes="Every feature is one vector for 40 ms: nothing is averaged over frequency.",
    ),
)
