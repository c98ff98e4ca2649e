"""Opens checkpoints as their authors wrote them, and runs nothing that is in them."""

from __future__ import annotations

from alm.encoders.checkpoints.containers import open_checkpoint

__all__ = ["open_checkpoint"]
