"""Safetensors, files of torch and TensorFlow, folders of transformers, repositories of the hub: all to `Checkpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from alm.encoders.checkpoints.choosing import are_there, weights_among
from alm.encoders.checkpoints.hub import from_hub, is_on_the_hub
from alm.encoders.checkpoints.inert import read_inert
from alm.encoders.checkpoints.plain import plain
from alm.encoders.checkpoints.tables import beside, shards
from alm.encoders.checkpoints.tensor_bundle import read_bundle
from alm.encoders.family import Checkpoint
from alm.errors import WeightsError

MOST_BYTES = 24 * 2**30
"""Larger files are refused."""
_TENSOR_KEYS = ("model", "state_dict", "model_state_dict", "teacher", "student", "net")
"""Where authors put the weights in their files, in the order of preference."""
_MOST_SHARED, _SMALL_BYTES = 4, 64 * 2**20
"""Tensors may share what is stored (BEATs' layers have one table), but are copied apart into an encoder."""
_MOST_FILES = 10_000
"""That are looked through for weights below a folder."""


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Tensors and plain settings of a file, a folder, a repository of the hub or a file in one (`owner/name:file`).

    The tables beside the weights count for a file as for its folder, and before what lies in the file.

    Raises:
        WeightsError: missing, damaged, too large, or it holds something that is no tensor where tensors belong.
    """
    path = Path(source)
    if path.is_dir():
        root, names = path, _weights_in(path)
    elif not path.exists() and isinstance(source, str) and is_on_the_hub(source):
        root, names = from_hub(source)
        path = root / names[0] if ":" in source else root
    else:
        root, names = path.parent, [path.name]
    files = [root / name for name in (shards(root / names[0]) if names[0].endswith(".index.json") else names[:1])]
    settings = {key: value for place in dict.fromkeys((root, files[0].parent)) for key, value in beside(place).items()}
    tensors: dict[str, Tensor] = {}
    for file in files:
        found, inside = _file(file)
        tensors.update(found)
        settings = {**inside, **settings}
    return Checkpoint(str(path), tensors, settings)


def _weights_in(folder: Path) -> list[str]:
    """Paths in a folder, as `weights_among` gives them."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    if not are_there(names):
        below = list(islice((p for p in folder.rglob("*") if p.is_file()), _MOST_FILES + 1))
        if len(below) > _MOST_FILES:
            raise WeightsError(f"{folder} has more than {_MOST_FILES} files below it; name the file of weights itself")
        names = [path.relative_to(folder).as_posix() for path in below]
    return weights_among(names, str(folder), "name the file itself, or run `alm weights` where it is one of ours")


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
