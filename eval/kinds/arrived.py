"""What arrived instead of, or as, an answer: the first step of every kind."""

from __future__ import annotations

from dataclasses import dataclass

from eval.harness.answers import Answered, Status
from eval.kinds.reading import refuses, stripped


@dataclass(frozen=True)
class Arrived:
    """An answer before its kind reads it."""

    text: str
    """Without reasoning; empty where nothing came."""
    status: Status | None
    """Why there is nothing to read; None: there is."""

    @property
    def given(self) -> str | None:
        """What an official script would find under its key; None: it finds no such key."""
        return None if self.status in ("missing", "error") else self.text


def arrived(answered: Answered | None) -> Arrived:
    """
    >>> arrived(None).status, arrived(Answered(id="a", key="k", text="<think>It may be")).status
    ('missing', 'truncated')
    """
    if answered is None:
        return Arrived("", "missing")
    if answered.error:
        return Arrived("", "error")
    found = stripped(answered.text)
    if found.cut:
        return Arrived("", "truncated")
    if not found.text:
        return Arrived("", "empty")
    return Arrived(found.text, "refused" if refuses(found.text) else None)
