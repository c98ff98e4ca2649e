"""Single values of a configuration, changed on the command line."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from alm.errors import ConfigError


def overridden(values: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The values with each `KEY=VALUE` set; a key goes down by dots, into a list by a place or an entry's name.

    `stages.answer.steps=200` and `stages.0.lr.lora=0.0005` are such changes; values are YAML.

    Raises:
        ConfigError: a change is something else, or leads nowhere.
    """
    changed = copy.deepcopy(dict(values))
    for change in changes:
        key, equals, text = change.partition("=")
        if not (key and equals):
            raise ConfigError(f"--set {change!r} is not KEY=VALUE, as stages.answer.steps=200")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change!r}: its value is no YAML ({error})") from error
        *path, last = key.split(".")
        inside: Any = changed
        for part in path:
            inside = _inside(inside, part, change)
        if isinstance(inside, list):
            inside[_place(inside, last, change)] = value
        elif isinstance(inside, dict):
            inside[last] = value
        else:
            raise ConfigError(f"--set {change!r}: {last} is asked of {inside!r}, which has no parts")
    return changed


def _inside(values: Any, part: str, change: str) -> Any:
    if isinstance(values, list):
        return values[_place(values, part, change)]
    if isinstance(values, dict):
        return values.setdefault(part, {})
    raise ConfigError(f"--set {change!r}: {part} is asked of {values!r}, which has no parts")


def _place(entries: list[Any], part: str, change: str) -> int:
    names = [e["name"] if isinstance(e, dict) and "name" in e else None for e in entries]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(entries):
        return int(part)
    known = ", ".join(str(n) for n in names if n is not None)
    raise ConfigError(f"--set {change!r}: no entry {part}; there are {len(entries)}" + (f": {known}" if known else ""))
