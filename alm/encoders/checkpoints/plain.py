"""Settings that lie in checkpoints, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alm.encoders.checkpoints.inert import Inert
from alm.errors import WeightsError

_MOST_VALUES = 100_000
_MOST_DEPTH = 24


def plain(value: Any, source: str) -> Any:
    """Numbers, texts, lists and tables; records become tables of their fields, anything else None.

    Raises:
        WeightsError: more values than settings have, which is how a small file could fill the memory.
    """
    return _Plain(source).of(value, 0)


class _Plain:
    def __init__(self, source: str) -> None:
        self.source, self.left = source, _MOST_VALUES

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > _MOST_DEPTH:
            raise WeightsError(f"{self.source}: its settings are larger or deeper than settings are")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Inert):
            value = value.state
        if isinstance(value, Mapping):
            return {str(k): self.of(v, depth + 1) for k, v in value.items() if isinstance(k, str | int)}
        if isinstance(value, list | tuple):
            return [self.of(v, depth + 1) for v in value]
        return None
