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


def is_here(named: str) -> bool:
    """Whether it opens without a connection."""
    return in_cache(named.removeprefix(HUB)) if named.startswith(HUB) else Path(named).exists()


def can_be_had(named: str) -> bool:
    """Whether it is here or may be fetched."""
    return named.startswith(HUB) or Path(named).exists()
