"""Safetensors, files of torch and TensorFlow, folders of transformers, repositories of the hub: all to `Checkpoint`."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
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
    content = _unpacked(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: it holds a {type(content).__name__}, not a table of tensors")
    key = _tensor_key(content)
    tensors = _only_tensors(content[key] if key else content, path)
    rest = {str(k): v for k, v in content.items() if k != key} if key else {}
    return tensors, {k: p for k, v in rest.items() if (p := plain(v)) is not None}


def _tensor_key(content: Mapping[Any, Any]) -> str:
    """The key that the weights lie under; nothing where the table itself is the weights."""
    held = [k for k, v in content.items() if isinstance(k, str) and _has_tensors(v)]
    return next((k for k in _TENSOR_KEYS if k in held), held[0] if len(held) == 1 else "")


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())


def _only_tensors(table: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    found = {str(k): v for k, v in table.items() if isinstance(v, Tensor)}
    if not found:
        raise WeightsError(f"{path}: it holds no tensors")
    for name, tensor in found.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(f"{path}: {name} claims {tuple(tensor.shape)}, more than is stored for it")
    return found


def _unpacked(path: Path) -> Any:
    """The content of a torch file: tensors and plain values as they are, all else as inert records."""
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _stored(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # the unpickler's own error types are private to it
        try:
            return read_inert(path)
        except WeightsError as second:
            raise WeightsError(f"{second} (and torch says: {_first_line(error)})") from error


def _stored(path: Path) -> None:
    """torch compresses nothing: a compressed entry could unfold to any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: it is a damaged zip ({error}); fetch it again") from error
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(f"{path}: entries of it are compressed or overlap, which torch never writes")


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
