"""Addresses that a page or a server listens on."""

from __future__ import annotations

_OWN = ("127.0.0.1", "localhost", "::1")


def reached_by_others(host: str) -> bool:
    """Whether other machines may reach what listens there."""
    return host not in _OWN
