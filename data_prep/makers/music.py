"""Questions about music and single notes."""

from __future__ import annotations

from data_prep.makers.base import Making, Task, Turn, choose
from data_prep.makers.wording import distinct, plain
from data_prep.phrases import enumeration
from data_prep.samples import Sample

NOTES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
VELOCITIES = ((50, "soft"), (90, "medium"), (127, "hard"))
"""MIDI velocity up to and with the number."""


def note_name(midi: int) -> str:
    """`A4` for 69; octaves as in scientific pitch notation."""
    name, octave = NOTES[midi % 12], midi // 12 - 1
    return f"{name}{octave}" if len(name) == 1 else f"{name} {octave}"


def _texts(values: tuple[str, ...]) -> list[str]:
    return distinct(text for value in values if (text := plain(value.replace("_", " "))))


def genre(making: Making, sample: Sample) -> Turn | None:
    """The genre or genres."""
    names = _texts(sample.music.genre)
    if not names:
        return None
    answer = names[0] if len(names) == 1 else names
    return Turn(making.ask("genre"), making.say("genre", x=enumeration(names)), {"answer": answer})


def genre_choice(making: Making, sample: Sample) -> Turn | None:
    """The genre, out of those of the source; only of pieces with one."""
    names = _texts(sample.music.genre)
    others = [name for name in _texts(tuple(making.survey.counts(("genre", sample.source)))) if name not in names]
    if len(names) != 1 or len(others) < 2:
        return None
    return choose(making, "genre_choice", names[0], making.some(others, min(3, len(others))))


def instrument(making: Making, sample: Sample) -> Turn | None:
    """What is played."""
    names = _texts(sample.music.instruments)
    if not names:
        return None
    known = [making.names.phrase(name) if name in making.names.ontology.by_name else name for name in names]
    meta = {"answer": names[0], "accept": making.names.accepted(names[0])} if len(names) == 1 else {"answer": names}
    return Turn(making.ask("instrument"), making.say("instrument", x=enumeration(known)), meta)


def mood(making: Making, sample: Sample) -> Turn | None:
    """The mood or moods."""
    names = _texts(sample.music.moods)
    if not names:
        return None
    return Turn(making.ask("mood"), making.say("mood", x=enumeration(names)), {"answer": names})


def key(making: Making, sample: Sample) -> Turn | None:
    """The key."""
    name = plain(sample.music.key)
    return Turn(making.ask("key"), making.say("key", x=name), {"answer": name}) if name else None


def tempo(making: Making, sample: Sample) -> Turn | None:
    """Beats per minute."""
    beats = sample.music.tempo_bpm
    if beats is None or not 20 <= beats <= 400:
        return None
    return Turn(making.ask("tempo"), making.say("tempo", x=f"{beats:.0f}"), {"answer": round(beats)})


def note(making: Making, sample: Sample) -> Turn | None:
    """The name of a single note."""
    midi = sample.music.pitch_midi
    if midi is None or not 0 <= midi <= 127:
        return None
    name = note_name(midi)
    return Turn(making.ask("note"), making.say("note", x=name), {"answer": name, "midi": midi})


def velocity(making: Making, sample: Sample) -> Turn | None:
    """How hard a single note is played."""
    value = sample.music.velocity
    if value is None or not 0 < value <= 127:
        return None
    word = next(word for most, word in VELOCITIES if value <= most)
    return Turn(making.ask("velocity"), making.say("velocity", x=word), {"answer": word, "velocity": value})


def _styled(sample: Sample) -> bool:
    return bool(sample.music.genre)


FAMILY = "music"
TASKS = (
    Task("genre", FAMILY, "genre", _styled, genre, 3, kind="analysis", by="genre"),
    Task("genre_choice", FAMILY, "genre, of some", _styled, genre_choice, 2, kind="analysis", by="genre"),
    Task("instrument", FAMILY, "what is played", lambda s: bool(s.music.instruments), instrument, 3, kind="analysis"),
    Task("mood", FAMILY, "mood", lambda s: bool(s.music.moods), mood, 1, kind="analysis"),
    Task("key", FAMILY, "key", lambda s: bool(s.music.key), key, 1, kind="analysis"),
    Task("tempo", FAMILY, "beats per minute", lambda s: s.music.tempo_bpm is not None, tempo, 1, kind="analysis"),
    Task("note", FAMILY, "which note", lambda s: s.music.pitch_midi is not None, note, 1, kind="analysis"),
    Task("velocity", FAMILY, "soft or hard", lambda s: s.music.velocity is not None, velocity, 0.5, kind="analysis"),
)
