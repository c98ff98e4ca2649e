"""Which of the files of a folder or repository are the weights of its one model."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from alm.errors import WeightsError

USUAL = ("model.safetensors", "pytorch_model.bin")
"""Names that mean the whole model, in the order of preference."""
_HEADS = "heads.safetensors"
"""Classifiers that lie beside an encoder of ours; never the encoder."""
_SAFE, _PICKLED = ("*.safetensors",), ("*.bin", "*.pt", "*.pth", "*.ckpt")


def are_there(names: Sequence[str]) -> bool:
    """Whether any of these is a file of weights or an index of some."""
    indexes = tuple(f"{usual}.index.json" for usual in USUAL)
    return any(name in indexes or any(fnmatch(name, kind) for kind in (*_SAFE, *_PICKLED)) for name in names)


def weights_among(names: Sequence[str], source: str, remedy: str) -> list[str]:
    """Relative paths of the weights: the usual file or its index with shards, else the one file there is.

    Those at the top come first; where there are none, the folders below are looked into, as ESPnet's runs want it.

    Raises:
        WeightsError: none, or several of which none is the model's by its name; `remedy` follows.
    """
    top = [name for name in names if "/" not in name]
    for usual in USUAL:
        if f"{usual}.index.json" in top:
            return [f"{usual}.index.json", *(n for n in top if n.endswith(usual[usual.rindex(".") :]))]
        if usual in top:
            return [usual]
    found: list[str] = []
    for places, kinds in ((top, _SAFE), (top, _PICKLED), (names, _SAFE), (names, _PICKLED)):
        if found := sorted(name for name in places if name != _HEADS and any(fnmatch(name, kind) for kind in kinds)):
            break
    if len(found) != 1:
        shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
        raise WeightsError(
            f"{source}: one file of weights is needed, found {shown or 'none'} and no {USUAL[0]}; {remedy}"
        )
    return found
