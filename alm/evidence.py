"""What was heard, beside the audio tokens: event tags with times and a transcript, as data and as marked text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_TAGS = 6
"""Tags shown to the language model; the page shows all."""


@dataclass(frozen=True)
class Tag:
    """One event class heard between two times (seconds), with the tag head's probability."""

    label: str
    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Sounds:
    """The tag head's opinion on one recording."""

    tags: tuple[Tag, ...] = ()
    guesses: tuple[str, ...] = ()
    """Further classes that might be heard, likeliest first: too unsure for an event."""


@dataclass(frozen=True)
class Segment:
    """A stretch of speech: times in seconds and its words."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Evidence:
    """What the assistant heard in one recording."""

    name: str
    seconds: float
    sha256: str
    tags: tuple[Tag, ...] = ()
    transcript: str = ""
    segments: tuple[Segment, ...] = field(default=())
    guesses: tuple[str, ...] = ()
    """See [`Sounds`]."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, times in seconds."""
        return asdict(self)


def surest(tags: Sequence[Tag]) -> list[Tag]:
    """The events that are told, surest first."""
    return sorted(tags, key=lambda t: -t.score)[:MOST_TAGS]


def evidence_text(heard: Sounds | Evidence, transcript: str, phrases: Mapping[str, str] | None = None) -> str:
    """The marked text that a language model reads after a recording; empty when nothing is known.

    Args:
        heard: events and guesses.
        transcript: what is said.
        phrases: how a class is written, where that is not its label.

    >>> evidence_text(Sounds((Tag("dog bark", 0.0, 0.8, 0.91),), ("wolf howl", "growl")), "Good morning.")
    '[sounds: dog bark 0.0-0.8 s]\\n[perhaps: wolf howl, growl]\\n[speech: Good morning.]'
    >>> evidence_text(Sounds((), ("wolf howl", "growl")), "", {"growl": "an animal growling"})
    '[perhaps: wolf howl, an animal growling]'
    """
    words, lines = phrases or {}, []
    if heard.tags:
        ordered = sorted(surest(heard.tags), key=lambda t: (t.start, -t.score))
        events = (f"{words.get(t.label, t.label)} {t.start:.1f}-{t.end:.1f} s" for t in ordered)
        lines.append(f"[sounds: {', '.join(events)}]")
    if heard.guesses:
        lines.append(f"[perhaps: {', '.join(words.get(g, g) for g in heard.guesses)}]")
    if transcript.strip():
        lines.append(f"[speech: {' '.join(transcript.split())}]")
    return "\n".join(lines)
