"""Audio encoders by name: front ends (no weights) and modules.

front_end = FRONT_ENDS["whisper"]                  # samples -> spectrogram
encoder = build("whisper", {"dim": 384, ...})      # random weights, for a checkpoint to fill
encoder = load("whisper", weights.whisper)         # pretrained, from a converted folder
encoder = open_encoder("BEATs_iter3.pt", "beats")  # pretrained, from whatever its authors wrote
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, config_from
from alm.encoders.families import MODULES, family
from alm.encoders.families.aisfx import AisfxAudioEncoder, AisfxHeads
from alm.encoders.families.whisper import WhisperAudioEncoder
from alm.encoders.family import Facts, Family
from alm.encoders.front_ends import TYPES as _FRONT_END_TYPES
from alm.encoders.front_ends import AisfxFrontEnd, WhisperFrontEnd
from alm.encoders.opening import checkpoint_config, convert, load, load_heads, open_encoder, save
from alm.errors import ConfigError

__all__ = [
    "AisfxAudioEncoder",
    "AisfxHeads",
    "AudioEncoder",
    "EncoderOutput",
    "FRONT_ENDS",
    "Facts",
    "Family",
    "FrontEnd",
    "WhisperAudioEncoder",
    "build",
    "checkpoint_config",
    "convert",
    "family",
    "front_end",
    "front_end_from_dict",
    "load",
    "load_heads",
    "names",
    "open_encoder",
    "save",
]

FRONT_ENDS: Mapping[str, FrontEnd] = MappingProxyType({"aisfx": AisfxFrontEnd(), "whisper": WhisperFrontEnd()})
"""Front ends of the embedded pair with their usual settings."""


def names() -> list[str]:
    """Families that a configuration may name."""
    return sorted(MODULES)


def build(name: str, config: Mapping[str, Any] | None = None) -> AudioEncoder:
    """A randomly initialised encoder.

    Raises:
        ConfigError: unknown family, unknown field or impossible value.
    """
    return family(name).build(config or {})


def front_end(name: str, config: Mapping[str, Any] | None = None) -> FrontEnd:
    """The front end of an encoder of this family that was built with this configuration; makes no encoder."""
    return family(name).front_end(config or {})


def front_end_from_dict(values: Mapping[str, Any]) -> FrontEnd:
    """What `FrontEnd.to_dict` described."""
    settings = dict(values)
    name = settings.pop("name", "")
    if name not in _FRONT_END_TYPES:
        raise ConfigError(f"no front end {name!r}; there are {', '.join(sorted(_FRONT_END_TYPES))}")
    return config_from(_FRONT_END_TYPES[name], settings)
