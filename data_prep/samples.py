"""What a source says about one recording, whatever its layout: what readers give and makers take.

A fact that a source does not tell is empty or None; makers ask only for what is there. Nothing here opens audio.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alm.errors import RecordError
from data_prep.records import SPLITS

MAX_TEXT_LETTERS = 1_000_000
MAX_SECONDS = 86_400.0


def _check_text(owner: str, **texts: object) -> None:
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > MAX_TEXT_LETTERS:
            shown = f"{len(text)} letters" if isinstance(text, str) else repr(text)[:80]
            rule = f"must be text of at most {MAX_TEXT_LETTERS} letters"
            raise RecordError(f"{owner}: field '{name}' is {shown}; it {rule}")


def _check_numbers(owner: str, low: float, high: float, **numbers: object) -> None:
    for name, value in numbers.items():
        if value is None:
            continue
        # Compared as it is: a whole number of hundreds of digits is no float, and NaN is in no range.
        good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not good:
            rule = f"must be a number from {low} to {high}"
            raise RecordError(f"{owner}: field '{name}' is {str(value)[:80]!r}; it {rule}")


def _check_texts(owner: str, name: str, texts: object) -> None:
    if not isinstance(texts, list | tuple):
        raise RecordError(f"{owner}: field '{name}' is {str(texts)[:80]!r}; it must be a list of texts")
    for text in texts:
        _check_text(owner, **{name: text})


@dataclass(frozen=True)
class Event:
    """One sound in a recording, and when and where it is heard."""

    label: str
    onset: float | None = None
    """Seconds from the start of the sample."""
    offset: float | None = None
    azimuth: float | None = None
    """Degrees from the front, to the left positive, -180 to 180 (DCASE)."""
    elevation: float | None = None
    """Degrees from the horizon, upwards positive, -90 to 90."""
    distance: float | None = None
    """Metres."""
    speaker: str = ""
    text: str = ""
    """What is said in it."""
    background: bool = False

    def __post_init__(self) -> None:
        owner = f"event {str(self.label)[:40]!r}"
        _check_text(owner, label=self.label, speaker=self.speaker, text=self.text)
        _check_numbers(owner, 0.0, MAX_SECONDS, onset=self.onset, offset=self.offset)
        _check_numbers(owner, -360.0, 360.0, azimuth=self.azimuth, elevation=self.elevation)
        _check_numbers(owner, 0.0, 100_000.0, distance=self.distance)
        if self.onset is not None and self.offset is not None and self.offset < self.onset:
            raise RecordError(f"{owner}: ends at {self.offset} s, before its start at {self.onset} s")


@dataclass(frozen=True)
class Asked:
    """A question that the source itself brings, with its answer."""

    question: str
    answer: str
    options: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    """Other answers that the source's annotators gave."""
    task: str = ""
    """The source's own name for this kind of question."""

    def __post_init__(self) -> None:
        _check_text("question", question=self.question, answer=self.answer, task=self.task)
        if not self.question.strip() or not self.answer.strip():
            raise RecordError(f"question {self.question[:40]!r}: question and answer must not be empty")


@dataclass(frozen=True)
class Chapter:
    """A part of a long recording."""

    onset: float
    """Seconds."""
    title: str
    summary: str = ""

    def __post_init__(self) -> None:
        _check_text("chapter", title=self.title, summary=self.summary)
        _check_numbers(f"chapter {self.title[:40]!r}", 0.0, MAX_SECONDS, onset=self.onset)


@dataclass(frozen=True)
class Voice:
    """Who speaks, as far as the source tells."""

    speaker: str = ""
    sex: str = ""
    """`female`, `male` or another word of the source."""
    age: float | None = None
    """Years; of a range its middle, the range itself stays in `age_group`."""
    age_group: str = ""
    accent: str = ""
    emotion: str = ""
    emotion_scores: Mapping[str, float] = field(default_factory=dict)
    """Such as valence, arousal, dominance or happiness, on the source's own scale."""

    def __post_init__(self) -> None:
        _check_text("voice", speaker=self.speaker, sex=self.sex, age_group=self.age_group, accent=self.accent)
        _check_text("voice", emotion=self.emotion)
        _check_numbers("voice", 0.0, 1000.0, age=self.age)


@dataclass(frozen=True)
class Music:
    """What the source tells about a piece of music."""

    genre: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    moods: tuple[str, ...] = ()
    key: str = ""
    tempo_bpm: float | None = None
    pitch_midi: int | None = None
    velocity: int | None = None
    title: str = ""
    artist: str = ""

    def __post_init__(self) -> None:
        for name in ("genre", "instruments", "moods"):
            _check_texts("music", name, getattr(self, name))
        _check_text("music", key=self.key, title=self.title, artist=self.artist)
        _check_numbers("music", 0.0, 10_000.0, tempo_bpm=self.tempo_bpm)


@dataclass(frozen=True)
class Sample:
    """One recording, or one stretch of it, with all that its source says; making one checks it."""

    id: str
    """Unique within the source."""
    audio: str
    """Path of the file, absolute once a reader has found it."""
    source: str
    """Name of the source, as in `data_prep.readers.SOURCES`."""
    split: str
    licence: str
    group: str = ""
    """Original recording, video, speaker, artist or session: samples of one group are never on two sides of a split."""
    start: float | None = None
    """Where the sample begins in the file, in seconds; None: it is the whole file."""
    seconds: float | None = None
    channels: str = ""
    """`foa`, `mic`, `binaural`, `stereo` where it matters; else empty."""
    labels: tuple[str, ...] = ()
    """Names of what is heard, in words (`dog barking`, not `/m/0bt9lr`)."""
    label_set: str = ""
    """Which closed set the labels are of."""
    events: tuple[Event, ...] = ()
    complete: bool = False
    """Whether `labels` (and `events`, if any) name all that is heard, so that what is not named is absent."""
    captions: tuple[str, ...] = ()
    questions: tuple[Asked, ...] = ()
    transcript: str = ""
    language: str = ""
    """BCP 47, such as `en` or `zh-CN`."""
    translations: Mapping[str, str] = field(default_factory=dict)
    voice: Voice = Voice()
    music: Music = Music()
    chapters: tuple[Chapter, ...] = ()
    scene: str = ""
    """Where it was recorded: `park`, `tram`, ..."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able facts that no field has."""

    def __post_init__(self) -> None:
        owner = f"sample '{str(self.id)[:80]}'"
        _check_text(owner, id=self.id, audio=self.audio, source=self.source, licence=self.licence, group=self.group)
        _check_text(owner, transcript=self.transcript, language=self.language, scene=self.scene)
        for name in ("id", "audio", "source", "licence"):
            if not getattr(self, name):
                raise RecordError(f"{owner}: field '{name}' is empty; it must be named")
        if self.split not in SPLITS:
            raise RecordError(f"{owner}: field 'split' is {self.split!r}; it must be one of {', '.join(SPLITS)}")
        _check_numbers(owner, 0.0, MAX_SECONDS, start=self.start, seconds=self.seconds)
        for name in ("labels", "captions"):
            _check_texts(owner, name, getattr(self, name))
        for name in ("translations", "extras"):
            if not isinstance(getattr(self, name), Mapping):
                raise RecordError(f"{owner}: field '{name}' is {str(getattr(self, name))[:80]!r}; it must be an object")

    @property
    def packages(self) -> tuple[str, ...]:
        """What the recording comes from, where a source is made of several packages; the source elsewhere."""
        found = self.extras.get("packages")
        return tuple(map(str, found)) if isinstance(found, list | tuple) and found else (self.source,)


def to_json(sample: Sample) -> dict[str, Any]:
    """JSON-able, without what is empty; `sample_from_json` is its inverse."""
    return _without_empty(dataclasses.asdict(sample))


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name not in ("extras", "translations", "emotion_scores"):
            value = _without_empty(value)
        elif isinstance(value, tuple):
            value = [_without_empty(v) if isinstance(v, Mapping) else v for v in value]
        if value is not None and value is not False and value not in ("", [], {}):
            found[name] = value
    return found


def sample_from_json(row: Mapping[str, Any]) -> Sample:
    """The sample that `to_json` wrote.

    Raises:
        RecordError: a field is unknown, missing, or has a value that no sample may have.
    """
    try:
        made = dict(row)
        for name, kind in (("events", Event), ("questions", Asked), ("chapters", Chapter)):
            made[name] = tuple(_made(kind, one) for one in made.get(name, ()))
        for name, single in (("voice", Voice), ("music", Music)):
            made[name] = _made(single, made.get(name, {}))
        for name in ("labels", "captions"):
            _check_texts(f"sample {str(row.get('id'))[:80]!r}", name, made.get(name, ()))
            made[name] = tuple(made.get(name, ()))
        return Sample(**made)
    except (TypeError, ValueError, AttributeError) as fault:
        raise RecordError(f"sample {str(row)[:80]}: {fault}") from fault


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
