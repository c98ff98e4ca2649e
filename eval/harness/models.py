"""Who is asked: one interface for our own engines and for any server that speaks OpenAI's chat protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from eval.harness.answers import Answered
from eval.harness.asking import Asked


class Model(Protocol):
    """What the generate stage needs. Nothing heavy is loaded before the first question."""

    name: str
    identity: dict[str, Any]
    """All that tells this model from another, weights by hash; part of every answer's key."""
    max_audio_seconds: float
    """Longest recording that it takes; infinite if none is known."""

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        """An answer for each question in any order; what goes wrong with one is in its `error`.

        Raises:
            AlmError: no question can be answered, such as by a wrong address or key.
        """

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        """Log-likelihood of each of `asked.candidates` as the whole answer, summed over tokens, its end included.

        Raises:
            AlmError: the model cannot tell, or the question cannot be read.
        """

    def close(self) -> None:
        """Let go of what was loaded."""
