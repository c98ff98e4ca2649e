"""Settings that lie in checkpoints, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alm.encoders.checkpoints.inert import Inert

_MOST_VALUES = 100_000
_MOST_DEPTH = 24
_WRAPPED = ("_content", "_val")
"""Where omegaconf's nodes keep what they stand for."""


class _TooMuchError(Exception):
    """More values than settings have, which is how a small file could fill the memory."""


def plain(value: Any) -> Any:
    """Numbers, texts, lists and tables; records become tables of their fields, anything else None.

    What is larger or deeper than settings are (or contains itself) is None, too.
    """
    try:
        return _Plain().of(value, 0)
    except _TooMuchError:
        return None


class _Plain:
    def __init__(self) -> None:
        self.left = _MOST_VALUES

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
