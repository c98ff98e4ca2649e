"""Settings that lie in files of their own beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alm.errors import WeightsError

NAMES = ("config.json", "preprocessor_config.json", "config.yaml")
_MOST_BYTES = 4 * 2**20
"""Of one table: the largest ones list the classes or the tensors of a model."""


def beside(folder: Path) -> dict[str, Any]:
    """What a folder says of its weights: `config.json`, transformers' extractor, ESPnet's part on the encoder.

    Raises:
        WeightsError: one of them cannot be read, or is too large.
    """
    settings = table(folder / "config.json")
    if extractor := table(folder / "preprocessor_config.json"):
        settings["preprocessor"] = extractor
    if of_espnet := _espnet(folder / "config.yaml"):
        settings["encoder_conf"] = of_espnet
    return settings


def table(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: no readable configuration ({error})") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: it holds a {type(found).__name__}, not an object")
    return found


def shards(index: Path) -> list[str]:
    """Names of the files that an index of shards points to.

    Raises:
        WeightsError: it has no `weight_map` from tensors to files.
    """
    places = table(index).get("weight_map")
    names = list(places.values()) if isinstance(places, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise WeightsError(f"{index}: its weight_map does not say which file each tensor is in; fetch it again")
    return sorted(set(names))


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise WeightsError(f"{path} has {size} bytes; the limit of a configuration is {_MOST_BYTES}")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: no readable configuration ({error})") from error


def _espnet(path: Path) -> dict[str, Any]:
    """`encoder_conf` of a training run of ESPnet; empty where the file is not one."""
    if not path.is_file() or "encoder_conf" not in (text := _text(path)):
        return {}
    import yaml

    class Plain(yaml.SafeLoader):
        """Texts, numbers, lists and tables only."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            """Merge keys stay keys, and are refused as such: merges of merges grow without bound."""

    try:
        found = yaml.load(text, Plain)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: no readable configuration ({error})") from error
    part = found.get("encoder_conf") if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}
