"""Audio encoders by name: front ends (no weights) and modules.

front_end = FRONT_ENDS["whisper"]                  # samples -> spectrogram
encoder = build("whisper", {"dim": 384, ...})      # random weights, for a checkpoint to fill
encoder = load("whisper", weights.whisper)         # pretrained, from a converted folder
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alm.encoders import aisfx, whisper
from alm.encoders.aisfx import AisfxAudioEncoder, AisfxFrontEnd, AisfxHeads
from alm.encoders.base import AudioEncoder, EncoderOutput, FrontEnd, load_exactly
from alm.encoders.whisper import WhisperAudioEncoder, WhisperFrontEnd
from alm.errors import ConfigError, WeightsError

__all__ = [
    "AisfxAudioEncoder",
    "AisfxHeads",
    "AudioEncoder",
    "EncoderOutput",
    "FRONT_ENDS",
    "FrontEnd",
    "WhisperAudioEncoder",
    "build",
    "checkpoint_config",
    "front_end",
    "front_end_from_dict",
    "load",
    "load_heads",
    "names",
]

_BUILDERS = MappingProxyType({"aisfx": aisfx.build, "whisper": whisper.build})
_FAMILIES: Mapping[str, type[AisfxAudioEncoder] | type[WhisperAudioEncoder]] = MappingProxyType(
    {"aisfx": AisfxAudioEncoder, "whisper": WhisperAudioEncoder}
)
_FRONT_END_TYPES: Mapping[str, type[FrontEnd]] = MappingProxyType({"aisfx": AisfxFrontEnd, "whisper": WhisperFrontEnd})
FRONT_ENDS: Mapping[str, FrontEnd] = MappingProxyType({"aisfx": AisfxFrontEnd(), "whisper": WhisperFrontEnd()})
"""Front ends with their usual settings."""


def names() -> list[str]:
    """Families that a configuration may name."""
    return sorted(_BUILDERS)


def _known(family: str) -> str:
    if family not in _BUILDERS:
        raise ConfigError(f"no audio encoder family {family!r}; there are {', '.join(names())}")
    return family


def build(family: str, config: Mapping[str, Any] | None = None) -> AudioEncoder:
    """A randomly initialised encoder.

    Raises:
        ConfigError: unknown family, unknown field or impossible value.
    """
    return _BUILDERS[_known(family)](config or {})


def front_end(family: str, config: Mapping[str, Any] | None = None) -> FrontEnd:
    """The front end of an encoder that was built with this configuration; makes no encoder."""
    bins = (config or {}).get("mel_bins", FRONT_ENDS[_known(family)].bins)
    return front_end_from_dict({"name": family, "bins": bins})


def front_end_from_dict(values: Mapping[str, Any]) -> FrontEnd:
    """What `FrontEnd.to_dict` described."""
    from alm.encoders.base import config_from

    settings = dict(values)
    return config_from(_FRONT_END_TYPES[_known(settings.pop("name", ""))], settings)


def checkpoint_config(family: str, folder: Path) -> dict[str, Any]:
    """The configuration that `build` needs for the weights of a converted folder."""
    kind, path = _FAMILIES[_known(family)], Path(folder) / "config.json"
    try:
        return kind.checkpoint_config(Path(folder), json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: no usable {family} configuration ({error}); run `alm weights`") from error


def load(family: str, folder: Path) -> AudioEncoder:
    """A pretrained encoder in float32, in evaluation mode, without gradients.

    Raises:
        WeightsError: files are missing or damaged, or keys or shapes differ.
    """
    encoder = build(family, checkpoint_config(family, folder))
    kind, path = _FAMILIES[family], Path(folder) / _FAMILIES[family].weight_file
    wanted = {kind.weight_prefix + key: key for key in encoder.state_dict()}
    prefix = kind.weight_prefix + next(iter(encoder.state_dict())).split(".")[0] + "."
    found = {key: tensor for key, tensor in _tensors(path).items() if key.startswith(prefix)}
    load_exactly(encoder, {wanted.get(key, key): tensor for key, tensor in found.items()}, str(path))
    return encoder.float().eval().requires_grad_(False)


def load_heads(folder: Path) -> AisfxHeads:
    """aiSFX's classifiers, in evaluation mode, without gradients. Raises as `load` does."""
    path = Path(folder) / "config.json"
    try:
        libraries: dict[str, int] = json.loads(path.read_text("utf-8"))["libraries"]
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: no usable aisfx configuration ({error}); run `alm weights`") from error
    heads = AisfxHeads(libraries)
    load_exactly(heads, _tensors(Path(folder) / "heads.safetensors"), str(Path(folder) / "heads.safetensors"))
    return heads.eval().requires_grad_(False)


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); run `alm weights`") from error
