"""The seven kinds of task: how an answer is read and scored; `KINDS` has them by name."""

from __future__ import annotations

from eval.kinds.base import Kind
from eval.kinds.choice import Choice
from eval.kinds.label import Label
<<<<<<< HEAD
from eval.kinds.pair import Pair
from eval.kinds.transcript import Transcript

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Choice(), Label(), Transcript(), Pair())}
=======
from eval.kinds.structured import Structured
from eval.kinds.transcript import Transcript

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Choice(), Label(), Transcript(), Structured())}
>>>>>>> ab04afc121093326cde71a55673afb73a0f3e87a
