"""The seven kinds of task: how an answer is read and scored; `KINDS` has them by name."""

from __future__ import annotations

from eval.kinds.base import Kind
from eval.kinds.choice import Choice
from eval.kinds.label import Label

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Choice(), Label())}
