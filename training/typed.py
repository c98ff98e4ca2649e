"""Frozen dataclasses out of plain values (a YAML file's), checked by the annotations of their fields."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from alm.errors import ConfigError

T = TypeVar("T")


class _Strict(yaml.SafeLoader):
    """Repeated keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k) for k, _ in node.value]
        if twice := [k for k in keys if keys.count(k) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} is there twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def read_table(path: Path) -> dict[str, Any]:
    """The table of keys in a YAML (or JSON) file.

    Raises:
        ConfigError: unreadable, no table, or a key is there twice.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Strict)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable configuration ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a configuration is a table of keys, not {type(values).__name__}")
    return values


def check_parts(config: Any, where: str, names: Iterable[str]) -> None:
    """Probabilities and shares."""
    for name in names:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise ConfigError(f"{where}: {name} is {getattr(config, name):g}; it must lie between 0 and 1")


def check_least(config: Any, where: str, least: Mapping[str, float]) -> None:
    for name, value in least.items():
        if not getattr(config, name) >= value:
            raise ConfigError(f"{where}: {name} is {getattr(config, name):g}; it must be at least {value:g}")


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from plain values, checked by the annotations of its fields."""
    hints = typing.get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    ready = {k: _value(hints[k], v, f"{where}: {k}") for k, v in values.items()}
    try:
        return kind(**ready)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table, not {value!r}")
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, not {value!r}")
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, Mapping):
        inner = typing.get_args(hint)[1]
        return {str(k): _value(inner, item, f"{where}.{k}") for k, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    plain = typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (origin or hint,)
    if hint is not Any and not (isinstance(value, plain) and not (isinstance(value, bool) and bool not in plain)):
        raise ConfigError(f"{where} must be {getattr(hint, '__name__', hint)}, not {value!r}")
    return value
