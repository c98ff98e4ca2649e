"""The seven kinds of task: how an answer is read and scored; `KINDS` has them by name."""

from __future__ import annotations

from eval.kinds.base import Kind
from eval.kinds.caption import Caption
from eval.kinds.choice import Choice
from eval.kinds.label import Label
from eval.kinds.open import Open
from eval.kinds.pair import Pair
from eval.kinds.structured import Structured
from eval.kinds.transcript import Transcript

_ALL: tuple[Kind, ...] = (Choice(), Label(), Transcript(), Structured(), Pair(), Caption(), Open())
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
