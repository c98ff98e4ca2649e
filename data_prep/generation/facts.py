"""What is known of a recording, as numbered facts: the only evidence that a writer without ears is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alm.errors import RecordError
from alm.evidence import Evidence
from data_prep.ontology import language_name
from data_prep.samples import MAX_SECONDS, Event, Sample

MOST_FACTS = 60
"""Further ones would fill a small model's context; the evidence says how many were left out."""
MOST_LETTERS = 600
"""Of one fact."""
MORE_EVIDENCE = "evidence"
"""Key of `Sample.extras` with what other tools found: a list of objects with `kind` and `text`, and times in seconds
as `start` and `end` where they have any. CompA-R takes words of models that see the video this way."""


@dataclass(frozen=True)
class Fact:
    """One thing that is known."""

    kind: str
    """`sound`, `caption`, `speech`, `voice`, `music`, `place`, `length`, `heard`, or another tool's own word."""
    text: str
    start: float | None = None
    """Seconds."""
    end: float | None = None

    def __str__(self) -> str:
        said = " ".join(self.text.split())
        said = said if len(said) <= MOST_LETTERS else said[:MOST_LETTERS] + " [cut]"
        if self.start is None:
            return f"{self.kind}: {said}"
        until = f" to {self.end:.1f} s" if self.end is not None else " s"
        return f"{self.kind}: {said} ({self.start:.1f}{until})"


def facts_of(sample: Sample, descriptions: Mapping[str, str] | None = None) -> tuple[Fact, ...]:
    """All facts of a sample in a fixed order; none where nothing is known of it.

    Raises:
        RecordError: another tool's evidence has not the form of `MORE_EVIDENCE`.
    """
    known = descriptions or {}
    found = [*_sounds(sample, known), *_words(sample), *_voice(sample), *_music(sample), *_given(sample)]
    if found and sample.seconds:
        found.append(Fact("length", f"the recording lasts {sample.seconds:.1f} seconds"))
    return tuple(dict.fromkeys(found))


def _sounds(sample: Sample, known: Mapping[str, str]) -> Iterator[Fact]:
    def named(label: str) -> str:
        return f"{label}, which sounds like this: {known[label]}" if label in known else label

    for event in sorted(sample.events, key=lambda e: (e.onset is None, e.onset or 0.0, e.label)):
        yield Fact("sound", named(event.label) + _of(event), event.onset, event.offset)
    timed = {event.label for event in sample.events}
    yield from (Fact("sound", named(label)) for label in sample.labels if label not in timed)
    if sample.scene:
        yield Fact("place", sample.scene)


def _of(event: Event) -> str:
    said = ", in the background" if event.background else ""
    if event.azimuth is not None:
        side = "left" if event.azimuth > 15 else "right" if event.azimuth < -15 else "front"
        said += f", from the {side}"
    return said + (f", {event.distance:g} metres away" if event.distance is not None else "")


def _words(sample: Sample) -> Iterator[Fact]:
    yield from (Fact("caption", text) for text in sample.captions if text.strip())
    if sample.transcript.strip():
        yield Fact("speech", f'"{sample.transcript.strip()}"')
    if sample.language:
        yield Fact("language", language_name(sample.language) or sample.language)
    for event in sample.events:
        if event.text.strip():
            who = f"{event.speaker} says " if event.speaker else ""
            yield Fact("speech", f'{who}"{event.text.strip()}"', event.onset, event.offset)
    yield from (Fact("chapter", f"{c.title}. {c.summary}".strip(), c.onset) for c in sample.chapters)


def _voice(sample: Sample) -> Iterator[Fact]:
    voice = sample.voice
    age = f"about {voice.age:g} years old" if voice.age is not None else voice.age_group
    parts = {"sex": voice.sex, "age": age, "accent": voice.accent, "emotion": voice.emotion}
    yield from (Fact("voice", f"{name} {value}") for name, value in parts.items() if value)


def _music(sample: Sample) -> Iterator[Fact]:
    music = sample.music
    several = {"genre": music.genre, "instruments": music.instruments, "mood": music.moods}
    yield from (Fact("music", f"{name} {', '.join(values)}") for name, values in several.items() if values)
    if music.key:
        yield Fact("music", f"key {music.key}")
    if music.tempo_bpm is not None:
        yield Fact("music", f"tempo {music.tempo_bpm:g} beats per minute")


def _given(sample: Sample) -> Iterator[Fact]:
    given = sample.extras.get(MORE_EVIDENCE, [])
    if not isinstance(given, list):
        raise RecordError(f"sample '{sample.id}': extras['{MORE_EVIDENCE}'] must be a list, not {str(given)[:80]!r}")
    for one in given:
        yield _fact(one, sample.id)


def _fact(one: Any, owner: str) -> Fact:
    try:
        kind, text, times = one["kind"], one["text"], (one.get("start"), one.get("end"))
    except (TypeError, KeyError, AttributeError):
        kind = text = None
        times = (None, None)
    good_times = all(t is None or (type(t) in (int, float) and 0 <= t <= MAX_SECONDS) for t in times)
    if not (isinstance(kind, str) and isinstance(text, str) and kind.strip() and text.strip() and good_times):
        rule = "must be an object with texts 'kind' and 'text', and seconds 'start' and 'end' if known"
        raise RecordError(f"sample '{owner}': evidence {str(one)[:80]!r} {rule}")
    return Fact(" ".join(kind.split())[:40], text, *times)


def heard_facts(heard: Evidence) -> list[dict[str, Any]]:
    """What our own assistant hears, for `MORE_EVIDENCE`: never surer than it is."""
    found: list[dict[str, Any]] = [
        {"kind": "heard", "text": f"{tag.label} (a tagger, {tag.score:.0%} sure)", "start": tag.start, "end": tag.end}
        for tag in heard.tags
    ]
    if heard.transcript.strip():
        found.append({"kind": "heard", "text": f'speech, by a recogniser: "{heard.transcript.strip()}"'})
    return found


def numbered(facts: Iterable[Fact]) -> str:
    """One fact a line, behind the mark by which a rationale may name it.

    >>> numbered([Fact("sound", "dog", 0.5, 1.0), Fact("place", "park")])
    '[E1] sound: dog (0.5 to 1.0 s)\\n[E2] place: park'
    """
    lines = [f"[E{number}] {fact}" for number, fact in enumerate(facts, start=1)]
    left = len(lines) - MOST_FACTS
    return "\n".join([*lines[:MOST_FACTS], *([f"({left} more facts are left out)"] if left > 0 else [])])
