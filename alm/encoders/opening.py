"""From a file, folder or hub repository to an encoder with its weights, each tensor accounted for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from alm.encoders.base import AudioEncoder, load_exactly
from alm.encoders.checkpoints import open_checkpoint
from alm.encoders.families import MODEL_TYPES, family
from alm.encoders.families.aisfx import AisfxHeads
from alm.encoders.family import Checkpoint, Read
from alm.encoders.fitting import check_fit
from alm.errors import ConfigError, WeightsError

_REMEDY = "run `alm weights`"


def open_encoder(source: str | Path, name: str = "", size: str = "") -> AudioEncoder:
    """A pretrained encoder in float32, in evaluation mode, without gradients.

    Args:
        source: a repository on the hub or a file in one (`owner/name:file`), a file in the authors' own container, a
            transformers folder, or a folder that `convert` wrote.
        name: the family; needed unless the folder names it.
        size: a published size whose fields replace what the checkpoint does not say (`Family.sizes`).

    Raises:
        ConfigError: the family or the size is not known.
        WeightsError: the checkpoint is damaged, another family's, or of a variant that is not supported.
    """
    return _opened(source, name, size)[0]


def convert(source: str | Path, folder: Path, name: str = "", size: str = "") -> AudioEncoder:
    """Open as `open_encoder` does, and write config.json and model.safetensors, which it reads from then on.

    Raises:
        ConfigError, WeightsError: as `open_encoder`, or the folder holds something already.
    """
    check_new(folder)
    encoder, config = _opened(source, name, size)
    save(encoder, config, folder)
    return encoder


def check_new(folder: Path) -> None:
    """Raise `WeightsError` where an encoder would be written over something; asked before the work."""
    if folder.exists() and any(folder.iterdir()):
        raise WeightsError(f"{folder} is not empty; name a new folder")


def save(
    encoder: AudioEncoder, config: Mapping[str, Any], folder: Path, about: Mapping[str, Any] | None = None
) -> None:
    """Write config.json (last: it marks the folder) and model.safetensors, which `open_encoder` reads.

    Args:
        config: what `build` made the encoder from.
        about: further facts for config.json, as what it was trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.detach().contiguous().clone() for key, tensor in encoder.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps({**(about or {}), "family": encoder.name, "config": dict(config)}, indent=1)
    (folder / "config.json").write_text(text + "\n", "utf-8")


def checkpoint_config(name: str, folder: str | Path) -> dict[str, Any]:
    """The configuration that `build` needs for the weights of a folder.

    Raises:
        ConfigError, WeightsError: as `open_encoder`; no encoder was made.
    """
    return _checked(open_checkpoint(folder), name, "").config


def load(name: str, folder: str | Path) -> AudioEncoder:
    """A pretrained encoder in float32, in evaluation mode, without gradients.

    Raises:
        WeightsError: files are missing or damaged, or keys or shapes differ.
    """
    return open_encoder(folder, name)


def load_heads(folder: Path) -> AisfxHeads:
    """aiSFX's classifiers, in evaluation mode, without gradients. Raises as `load` does."""
    path = Path(folder) / "config.json"
    try:
        libraries: dict[str, int] = json.loads(path.read_text("utf-8"))["libraries"]
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: no usable aisfx configuration ({error}); {_REMEDY}") from error
    file = Path(folder) / "heads.safetensors"
    tensors = open_checkpoint(file).tensors
    check_fit(lambda: AisfxHeads(libraries), {"libraries": list(libraries)}, tensors, str(file))
    heads = AisfxHeads(libraries)
    load_exactly(heads, tensors, str(file))
    return heads.eval().requires_grad_(False)


def _opened(source: str | Path, name: str, size: str) -> tuple[AudioEncoder, dict[str, Any]]:
    """An encoder and the configuration that it was built with."""
    checkpoint = open_checkpoint(source)
    chosen = name or _named(checkpoint)
    read = _checked(checkpoint, chosen, size)
    encoder = family(chosen).build(read.config)
    load_exactly(encoder, read.tensors, checkpoint.path)
    return encoder.float().eval().requires_grad_(False), read.config


def _checked(checkpoint: Checkpoint, name: str, size: str) -> Read:
    """What the checkpoint says, after names and shapes were compared; no memory was taken for an encoder yet."""
    read = _read(name, checkpoint)
    config = {**read.config, **_size(name, size)}
    check_fit(lambda: family(name).build(config), config, read.tensors, checkpoint.path)
    return replace(read, config=config)


def _read(name: str, checkpoint: Checkpoint) -> Read:
    """What the checkpoint says; a folder that `convert` wrote says it in our own names already."""
    known, settings = family(name), checkpoint.settings
    if "config" in settings and "family" in settings:
        if settings["family"] != name:
            raise WeightsError(f"{checkpoint.path} holds the family {settings['family']!r}, not {name!r}")
        return Read(dict(settings["config"]), dict(checkpoint.tensors))
    try:
        return known.read(checkpoint)
    except (KeyError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise WeightsError(
            f"{checkpoint.path}: no usable {name} configuration in it or in config.json ({what}); {_REMEDY}"
        ) from error


def _named(checkpoint: Checkpoint) -> str:
    found = str(checkpoint.settings.get("family") or "")
    found = found or MODEL_TYPES.get(str(checkpoint.settings.get("model_type")), "")
    if not found:
        raise ConfigError(f"{checkpoint.path} does not say which encoder it is; name the family (`--encoder`)")
    return found


def _size(name: str, size: str) -> dict[str, Any]:
    sizes = family(name).sizes
    if size and size not in sizes:
        raise ConfigError(f"{name} has no size {size!r}; there are {', '.join(sizes)}")
    return dict(sizes[size]) if size else {}
