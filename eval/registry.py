"""The evaluations by name; to add one, write a function from [`Session`] to [`Result`] and list it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.results import Result
    from eval.session import Session


@dataclass(frozen=True)
class Evaluation:
    """One command."""

    module: str
    function: str
    help: str

    def load(self) -> Callable[[Session], Result]:
        found: Callable[[Session], Result] = getattr(import_module(self.module), self.function)
        return found


EVALUATIONS = {
    "choice": Evaluation("eval.choice", "run", "Which of four sounds is heard, with controls and a linear probe."),
    "open": Evaluation("eval.open_answers", "run", "Free answers, scored by label and by text embedding."),
    "presence": Evaluation("eval.scenes", "presence", "Is there such a sound: accuracy and yes rate."),
    "order": Evaluation("eval.scenes", "order", "Which of two sounds comes first."),
    "count": Evaluation("eval.scenes", "count", "How many times a sound is heard."),
    "tokens": Evaluation("eval.tokens", "run", "What the audio tokens alone carry, in short; to compare adapters."),
    "wer": Evaluation("eval.words", "run", "Word error rate of the transcript path."),
    "speech_qa": Evaluation("eval.speech_qa", "run", "Written questions about what is said."),
    "speed": Evaluation("eval.speed", "run", "Seconds to an answer, cold and warm."),
    "memory": Evaluation("eval.speed", "memory", "Peak memory of alm ask."),
}
