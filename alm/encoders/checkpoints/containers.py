"""Safetensors, files of torch and TensorFlow, folders of transformers, repositories of the hub: all to `Checkpoint`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from alm.encoders.checkpoints.inert import read_inert
from alm.encoders.checkpoints.plain import plain
from alm.encoders.checkpoints.tensor_bundle import read_bundle
from alm.encoders.family import Checkpoint
from alm.errors import WeightsError

MOST_BYTES = 24 * 2**30
"""Larger files are refused."""
_TENSOR_KEYS = ("model", "state_dict", "model_state_dict", "teacher", "student", "net")
"""Where authors put the weights in their files, in the order of preference."""
_MOST_SHARED, _SMALL_BYTES = 4, 64 * 2**20
"""Tensors may share what is stored (BEATs' layers have one table), but are copied apart into an encoder."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TABLES = ["*.json"]
_SAFE, _PICKLED = ["*.safetensors"], ["*.bin", "*.pt", "*.pth", "*.ckpt"]


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Tensors and plain settings of a file, a folder or a repository of the hub.

    Raises:
        WeightsError: missing, damaged, too large, or it holds something that is no tensor where tensors belong.
    """
    path = Path(source)
    if not path.exists() and isinstance(source, str) and _HUB_ID.fullmatch(source):
        path = _from_hub(source)
    if path.is_dir():
        return _folder(path)
    settings = _table(path.parent / "config.json") if path.suffix == ".safetensors" else {}
    tensors, inside = _file(path)
    return Checkpoint(str(path), tensors, {**settings, **inside})


def _folder(folder: Path) -> Checkpoint:
    settings = _table(folder / "config.json")
    if extractor := _table(folder / "preprocessor_config.json"):
        settings["preprocessor"] = extractor
    tensors: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        found, inside = _file(file)
        tensors.update(found)
        settings = {**inside, **settings}
    return Checkpoint(str(folder), tensors, settings)


def _weight_files(folder: Path) -> list[Path]:
    """The files that make up one model: shards of an index, or the one file there is."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if index := _table(folder / f"{stem}.index.json"):
            return [folder / Path(name).name for name in sorted(set(index["weight_map"].values()))]
        if (folder / stem).is_file():
            return [folder / stem]
    found = [p for pattern in _PICKLED for p in sorted(folder.glob(pattern))]
    if len(found) != 1:
        named = ", ".join(p.name for p in found) or "none"
        raise WeightsError(
            f"{folder}: one file of weights is needed, found {named} and no model.safetensors; name the file itself, "
            "or run `alm weights` where it is one of ours"
        )
    return found


def _file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    _sized(path)
    if path.suffix == ".safetensors":
        return _safetensors(path), {}
    if path.suffix == ".index":
        return read_bundle(path), {}
    content = read_inert(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: it holds a {type(content).__name__}, not a table of tensors")
    key = _tensor_key(content)
    tensors = _only_tensors(content[key] if key else content, path)
    rest = {k: v for k, v in content.items() if k != key} if key else {}
    return tensors, plain(rest)


def _tensor_key(content: Mapping[Any, Any]) -> str:
    """The key that the weights lie under; nothing where the table itself is the weights."""
    tables = {id(v): v for v in content.values() if isinstance(v, Mapping)}  # many keys may share one
    weights = {i for i, table in tables.items() if any(isinstance(v, Tensor) for v in table.values())}
    held = [k for k, v in content.items() if isinstance(k, str) and id(v) in weights]
    return next((k for k in _TENSOR_KEYS if k in held), held[0] if len(held) == 1 else "")


def _only_tensors(table: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    found = {str(k): v for k, v in table.items() if isinstance(v, Tensor)}
    if not found:
        raise WeightsError(f"{path}: it holds no tensors")
    for name, tensor in found.items():
        if tensor.nbytes > tensor.untyped_storage().nbytes():
            raise WeightsError(f"{path}: {name} claims {tuple(tensor.shape)}, more than is stored for it")
    claimed = sum(tensor.nbytes for tensor in found.values())
    stored = sum({s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in found.values())}.values())
    if claimed > max(_MOST_SHARED * stored, _SMALL_BYTES):
        raise WeightsError(
            f"{path}: its tensors claim {claimed} bytes and share {stored}; the limit is {_MOST_SHARED} times that. "
            "Store each tensor by itself"
        )
    return found


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); fetch it again, or run `alm weights`") from error


def _sized(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; run `alm weights` where it is one of ours")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise WeightsError(f"{path} has {size / 2**30:.1f} GiB; the limit is {MOST_BYTES / 2**30:.0f} GiB")


def _table(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: no readable configuration ({error})") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: it holds a {type(found).__name__}, not an object")
    return found


def _from_hub(repository: str) -> Path:
    """Fetch a repository: its tables and its safetensors, else its pickled files."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        names = HfApi().list_repo_files(repository)
        kinds = _SAFE if any(name.endswith(".safetensors") for name in names) else _PICKLED
        return Path(snapshot_download(repository, allow_patterns=[*_TABLES, *kinds]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"{repository}: neither a file here nor a repository that the hub gives out "
            f"({_first_line(error)}); fetch it by other means and name the file"
        ) from error
