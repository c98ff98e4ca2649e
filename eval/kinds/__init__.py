"""The seven kinds of task: how an answer is read and scored."""

from __future__ import annotations

from eval.kinds.base import Kind

KINDS: dict[str, Kind] = {}
"""Every kind by the name that `Item.want.kind` has."""
