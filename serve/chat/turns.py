"""Questions of a conversation and what came of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from serve.chat.clips import Clip, HeardClip, MissingClip

if TYPE_CHECKING:
    from alm.asked import Asked
    from alm.conversation import Usage

TurnState = Literal["waiting", "answering", "stop", "length", "cancelled"]
Rating = Literal["up", "down"]


@dataclass(frozen=True)
class AnswerOptions:
    """What the settings of the page say about the next answer."""

    evidence: bool | None = None
    """None keeps the assistant's own setting."""
    max_new_tokens: int = 256
    temperature: float = 0.0
    system: str = ""
    """Empty for the preset's own."""
    model: str = ""
    """Name of one that is offered; empty for the first."""


@dataclass(eq=False)
class Turn:
    """A question and what came of it."""

    question: str
    recordings: list[Clip]
    """What the question brought, in order; after an import some may be missing."""
    answer: str = ""
    state: TurnState = "waiting"
    usage: Usage | None = None
    asked: tuple[Asked, ...] = ()
    options: AnswerOptions | None = None
    """As the answer was asked for; None after an import."""
    model: str = ""
    """Name of the one that gave the answer; empty where an imported file did not say it."""
    rating: Rating | None = None
    forgotten: bool = False
    """The model no longer reads it: the conversation became too long."""
    notes: list[str] = field(default_factory=list)
    """What happened to the conversation so that this question could be answered."""

    @property
    def clips(self) -> list[HeardClip]:
        return [clip for clip in self.recordings if isinstance(clip, HeardClip)]

    @property
    def missing(self) -> list[MissingClip]:
        return [clip for clip in self.recordings if isinstance(clip, MissingClip)]

    @property
    def answered(self) -> bool:
        return self.state in ("stop", "length", "cancelled")

    def messages(self) -> list[dict[str, Any]]:
        """Question and answer as the model's history has them."""
        audio = [{"type": "audio", "audio": clip.waveform} for clip in self.clips]
        return [
            {"role": "user", "content": [*audio, {"type": "text", "text": self.question}]},
            {"role": "assistant", "content": self.answer},
        ]


def numbered(turns: Sequence[Turn]) -> Iterator[tuple[Turn, Clip, int | None]]:
    """Every recording with its number as the model counts; None for those that the model does not read."""
    number = 0
    for turn in turns:
        for clip in turn.recordings:
            read = isinstance(clip, HeardClip) and not turn.forgotten
            number += read
            yield turn, clip, number if read else None


def turn_at(turns: Sequence[Turn], index: object) -> Turn | None:
    """The turn that the bubble number `index` belongs to: one for the question, one for the answer if there is one."""
    place = 0
    for turn in turns:
        place += 2 if shows_answer(turn) else 1
        if isinstance(index, int) and 0 <= index < place:
            return turn
    return None


def shows_answer(turn: Turn) -> bool:
    """Whether the answer has a bubble."""
    return bool(turn.answer) or turn.answered
