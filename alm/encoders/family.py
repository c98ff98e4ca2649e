"""What the registry knows of an encoder family: its parts, published sizes, where it comes from, how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from alm.encoders.base import AudioEncoder, FrontEnd


@dataclass(frozen=True)
class Facts:
    """What a user asks before choosing an encoder; the page of the encoders in the docs is made from this."""

    title: str
    paper: str
    """Authors, year and identifier of the paper."""
    home: str
    """Repository or package that its authors keep."""
    hub: tuple[str, ...]
    """Repositories on the hub that hold its weights in a container that `Family.read` takes."""
    licence_code: str
    licence_weights: str
    good_at: str
    containers: tuple[tuple[str, str], ...]
    """Kinds of checkpoints that were opened, each with the test that does it, at toy size and in that layout."""
    proved_against: str
    """What its numbers were compared with: package and version, or repository and commit."""
    notes: str = ""
    """Traps: what does not follow from its shape."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as its authors wrote it, opened without running anything in it."""

    path: str
    tensors: Mapping[str, Tensor]
    """Names as in the file, below the container's own key (`model`, `state_dict` ...)."""
    settings: Mapping[str, Any]
    """Plain settings that lie in the file or beside it (`cfg`, `args`, `config.json`); empty where there are none."""


@dataclass(frozen=True)
class Read:
    """What a checkpoint says in the names of this project's module."""

    config: dict[str, Any]
    """Fields of the family's configuration."""
    tensors: dict[str, Tensor]
    """The encoder's weights, one to one with its `state_dict`."""
    unused: tuple[str, ...] = ()
    """Names that belong to other parts (classifier heads, decoders) and were left out on purpose."""


@dataclass(frozen=True)
class Family:
    """One encoder family."""

    name: str
    build: Callable[[Mapping[str, Any]], AudioEncoder]
    """A randomly initialised encoder from fields of the family's configuration."""
    front_end: Callable[[Mapping[str, Any]], FrontEnd]
    """The front end that belongs to such a configuration; makes no encoder."""
    read: Callable[[Checkpoint], Read]
    """From an official container.

    Raises `WeightsError` when the file is another family's or a variant that the module does not have, with the reason.
    """
    sizes: Mapping[str, Mapping[str, Any]]
    """Published sizes by name (`base`, `large`): fields of the configuration."""
    lora_targets: tuple[str, ...]
    """Names of the layers that LoRA usually sits on; `a|b` is the first of these that a size has."""
    facts: Facts
