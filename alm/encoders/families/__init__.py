"""Encoder families by name: each is one module of this package with a constant `FAMILY`, imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from alm.encoders.family import Family
from alm.errors import ConfigError

MODULES: Mapping[str, str] = MappingProxyType({m.name: f"{__name__}.{m.name}" for m in iter_modules(__path__)})
"""Family name to module: whatever lies in this folder."""


def family(name: str) -> Family:
    """What is known of a family.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in MODULES:
        raise ConfigError(f"no audio encoder family {name!r}; there are {', '.join(sorted(MODULES))}")
    found: Family = import_module(MODULES[name]).FAMILY
    return found


MODEL_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "audio-spectrogram-transformer": "ast",
        "ced": "ced",
        "clap": "clap",
        "clap_audio_model": "clap",
        "dasheng": "dasheng",
        "hubert": "hubert",
        "mert_model": "mert",
        "wav2vec2": "wav2vec2",
        "wavlm": "wavlm",
        "whisper": "whisper",
    }
)
"""`model_type` of a transformers folder to the family that reads it."""
