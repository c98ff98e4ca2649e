"""Settings that lie in checkpoints, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alm.encoders.checkpoints.inert import Inert

_MOST_VALUES = 100_000
_MOST_IN_ALL = 300_000
"""Of one table: its keys may share a value, and each would have a copy of it."""
_MOST_DEPTH = 24
_WRAPPED = ("_content", "_val")
"""Where omegaconf's nodes keep what they stand for."""


class _TooMuchError(Exception):
    """More values than settings have, which is how a small file could fill the memory."""


def plain(table: Mapping[Any, Any]) -> dict[str, Any]:
    """The settings of a table: numbers, texts, lists and tables; records become tables of their fields.

    Anything else is left out, and so is what is larger or deeper than settings are, or contains itself.
    """
    found, left = dict[str, Any](), _MOST_IN_ALL
    for key, value in table.items():
        walk = _Plain(given := min(left, _MOST_VALUES))
        try:
            what = walk.of(value, 0)
        except _TooMuchError:
            what = None
        if what is not None:
            found[str(key)] = what
        left -= given - max(0, walk.left)
    return found


class _Plain:
    def __init__(self, most: int) -> None:
        self.left = most

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > _MOST_DEPTH:
            raise _TooMuchError
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Inert):
            wrapped = [key for key in _WRAPPED if key in value.state] if value.name.startswith("omegaconf.") else []
            value = value.state[wrapped[0]] if wrapped else value.state
            return self.of(value, depth + 1)
        if isinstance(value, Mapping):
            return {str(k): self.of(v, depth + 1) for k, v in value.items() if isinstance(k, str | int)}
        if isinstance(value, list | tuple):
            return [self.of(v, depth + 1) for v in value]
        return None
