"""How a run names its frozen parts: a folder or a file on this machine, or a repository of the hub."""

from __future__ import annotations

from pathlib import Path

from alm.encoders.checkpoints.hub import in_cache

HUB = "hub:"
"""Begins the name of a repository (`hub:OWNER/NAME`, for an encoder also `hub:OWNER/NAME:FILE`), which could be a
relative path otherwise."""


def source_of(named: str) -> str | Path:
    """What opens it: the repository's name, which is fetched when it is opened, or a path."""
    return named.removeprefix(HUB) if named.startswith(HUB) else Path(named)


def is_missing(named: str, *, fetching: bool) -> bool:
    """Whether it is not on this machine; with `fetching`, a repository of the hub counts as being there."""
    if named.startswith(HUB):
        return not fetching and not in_cache(named.removeprefix(HUB))
    return not Path(named).exists()
