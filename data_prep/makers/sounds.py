"""Questions about what is heard in one recording."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from data_prep.makers.base import Making, Task, Turn, choose
from data_prep.makers.names import words_of
from data_prep.makers.survey import heard, label_key
from data_prep.makers.wording import distinct, plain, seconds_text, sentence
from data_prep.ontology import MUSIC_GROUPS
from data_prep.phrases import enumeration, sequence
from data_prep.samples import Event, Sample
from data_prep.speech_texts import number_words

MOST_FREQUENT = 12
"""So many of the most frequent labels, or of the most frequent company, count as popular or adversarial."""
CHECKLIST = (4, 8)
"""Fewest and most sounds of a checklist."""
HARD_SHARE = 0.4
MAX_CAPTION_LABELS = 8
SPEECH_WORDS = words_of("speech speaking talking conversation narration monologue")
MUSIC_WORDS = words_of("music song singing guitar piano drum violin orchestra choir melody instrument")


def present(sample: Sample) -> list[str]:
    """What is heard, and what may be: `maybe` among the extras names what is neither sure nor absent."""
    maybe = sample.extras.get("maybe", ())
    return distinct((*heard(sample), *(name for name in maybe if isinstance(name, str))))


def phrases(making: Making, labels: Sequence[str]) -> list[str]:
    """The noun phrases of some labels, each once."""
    return distinct(making.names.phrase(label) for label in labels)


def absent_label(making: Making, sample: Sample, strategy: str, besides: Sequence[str] = ()) -> tuple[str, str] | None:
    """A label surely not in the recording, and how it was chosen.

    `random` ones are drawn as often as they occur, so that a rare name does not mean "no"; `popular` ones are among the
    most frequent; `adversarial` ones often come along with what is heard; `group` ones are of the same group.
    """
    counts = making.survey.counts(label_key(sample))
    absent = making.names.absent([*present(sample), *besides], counts)
    if not absent:
        return None
    found = _among(making, sample, strategy, absent)
    if found:
        return making.one(found), strategy
    evened = 1.0 - making.plan.balance
    return making.weighted({name: counts[name] ** evened for name in absent}), "random"


def _among(making: Making, sample: Sample, strategy: str, absent: Sequence[str]) -> list[str]:
    if strategy == "popular":
        return list(absent[:MOST_FREQUENT])
    labels = heard(sample)
    if strategy == "adversarial":
        company = distinct(name for label in labels for name in making.survey.beside.get(label, ()))
        known = set(absent)
        return [name for name in company if name in known][:MOST_FREQUENT]
    if strategy == "group":
        groups = {making.names.group(label) for label in labels} - {""}
        return [name for name in absent if making.names.group(name) in groups]
    return []


def label(making: Making, sample: Sample) -> Turn | None:
    """What is heard, as a sentence."""
    labels = making.askable(sample)
    if not labels:
        return None
    reply = making.say("label", x=enumeration(phrases(making, labels)))
    return Turn(making.ask("label"), reply, _scoring(making, labels) | {"style": "sentence"})


def _scoring(making: Making, labels: Sequence[str]) -> dict[str, Any]:
    names = [making.names.name(name) for name in labels]
    if len(labels) > 1:
        return {"answer": names}
    group = making.names.group(labels[0])
    return {"answer": names[0], "accept": making.names.accepted(labels[0])} | ({"group": group} if group else {})


def label_name(making: Making, sample: Sample) -> Turn | None:
    """What is heard, as bare names."""
    labels = making.askable(sample)
    if not labels:
        return None
    names = distinct(making.names.name(name) for name in labels)
    reply = making.say("label_name", x="; ".join(names))
    return Turn(making.ask("label_name"), reply, _scoring(making, labels) | {"style": "name"})


def label_described(making: Making, sample: Sample) -> Turn | None:
    """What is heard, and what was measured of how it sounds."""
    labels = making.askable(sample)
    words = sample.extras.get("acoustics") or sample.extras.get("qualities")
    if not labels or not isinstance(words, list | tuple) or not words or len(sample.events) > 1:
        return None
    qualities = enumeration([plain(str(word)) for word in words])
    reply = making.say("label_described", x=enumeration(phrases(making, labels)), y=qualities)
    meta = _scoring(making, labels) | {"acoustics": list(words)}
    return Turn(making.ask("label_described"), reply, meta)


def choice(making: Making, sample: Sample) -> Turn | None:
    """Four options, one right; others of the same kind in two of five cases."""
    labels = making.askable(sample)
    if not labels or not (making.surely(sample) or label_key(sample) in making.survey.single):
        return None
    right, hard = making.one(labels), making.coin(HARD_SHARE)
    others: list[str] = []
    while len(others) < 3:
        found = absent_label(making, sample, making.one(("group", "adversarial")) if hard else "random", others)
        if found is None:
            return None
        others.append(found[0])
    right, *others = worded(making, [right, *others])
    return choose(making, "choice", right, others, hard=hard)


def worded(making: Making, labels: Sequence[str]) -> list[str]:
    """Labels as people may write them, all in one way: as phrases, in train also by name."""
    by_name = making.split == "train" and making.coin()
    names = [making.names.name(name) for name in labels]
    said = names if by_name else [making.names.phrase(name) for name in labels]
    return said if len(set(said)) == len(said) else names


def yes_no(making: Making, sample: Sample) -> Turn | None:
    """Whether a sound is there; half of the questions are about one that is not."""
    labels = making.askable(sample)
    found = absent_label(making, sample, making.one(making.plan.negatives)) if making.surely(sample) else None
    if not labels or found is None:
        return None  # where no "no" can be asked, neither is a "yes": the answers stay balanced
    if making.coin():
        name = making.one(labels)
        phrase = making.names.phrase(name)
        return Turn(making.ask("yes_no", x=phrase), making.say("yes_no", x=phrase), {"answer": "yes", "class": name})
    name, strategy = found
    words = {"x": making.names.phrase(name), "y": enumeration(phrases(making, labels))}
    meta = {"answer": "no", "class": name, "negative": strategy}
    return Turn(making.ask("yes_no", x=words["x"]), making.say("yes_no", "refusals", **words), meta)


def checklist(making: Making, sample: Sample) -> Turn | None:
    """Several sounds, each with yes or no: many decisions for one reading of the recording."""
    if not making.surely(sample) or not making.askable(sample):
        return None
    wanted = making.between(CHECKLIST)
    there = making.some(making.askable(sample), max(1, wanted // 2))
    chosen = list(there)
    while len(chosen) < wanted:
        found = absent_label(making, sample, making.one(making.plan.negatives), chosen)
        if found is None:
            break
        chosen.append(found[0])
    if len(chosen) < CHECKLIST[0]:
        return None
    listed = making.some(chosen, len(chosen))
    names = worded(making, listed)
    said = ["yes" if name in there else "no" for name in listed]
    reply = "; ".join(f"{name}: {word}" for name, word in zip(names, said, strict=True)) + "."
    meta = {"answer": said, "options": listed}
    return Turn(making.ask("checklist", options="; ".join(names)), reply, meta)


def counted(sample: Sample, label: str) -> bool:
    """Whether one event of the label is one sound: a source whose events may hold several says so in its extras.

    `"countable": false` is said of all events; composed scenes list the labels that can be counted.
    """
    composed = sample.extras.get("composed")
    listed = composed.get("countable") if isinstance(composed, dict) else None
    if isinstance(listed, list | tuple) and label not in listed:
        return False
    return sample.extras.get("countable") is not False


def described(making: Making, sample: Sample) -> str:
    """A caption out of a complete list of events, or ''."""
    events = sorted((event for event in sample.events if event.label), key=lambda event: event.onset or 0.0)
    if not sample.complete or not events or any(event.onset is None or event.offset is None for event in events):
        return ""
    below = phrases(making, [event.label for event in events if event.background])
    above = [event for event in events if not event.background]
    names = phrases(making, [event.label for event in above])
    if len(names) > MAX_CAPTION_LABELS or not (names or below):
        return ""
    if not names:
        return enumeration(below)
    text = _told(making, above, names, all(counted(sample, event.label) for event in above))
    return f"{text}, with {enumeration(below)} in the background" if below else text


def _told(making: Making, events: Sequence[Event], names: Sequence[str], countable: bool) -> str:
    """One sound some times, one after the other, or at the same time."""
    if len(names) == 1:
        often = len(events) if making.names.countable(events[0].label) and countable else 1
        return names[0] if often == 1 or often > 20 else f"{names[0]}, {number_words(often)} times"
    apart = all((later.onset or 0.0) >= (early.offset or 0.0) - 0.1 for early, later in pairwise(events))
    if apart and len(names) == len(events):
        return sequence(list(names))
    starts = [event.onset or 0.0 for event in events]
    together = max(starts) < min(event.offset or 0.0 for event in events)
    return f"{enumeration(list(names))} at the same time" if together else enumeration(list(names))


def caption(making: Making, sample: Sample) -> Turn | None:
    """The recording in one sentence: one of the source's captions, or what its complete list of events says."""
    known = distinct(sentence(text) for text in sample.captions if plain(text))
    if known:
        text = making.one(known) if making.split == "train" else known[0]
        return Turn(making.ask("caption"), text, {"answer": text, "accept": known})
    text = described(making, sample)
    if not text:
        return None
    names = phrases(making, heard(sample))
    return Turn(making.ask("caption"), sentence(text), {"answer": text, "phrases": names})


def kind_of(making: Making, sample: Sample) -> str:
    """Speech, music or another sound, where it is clear; else ''."""
    labels = present(sample)
    groups = {making.names.group(name) for name in labels}
    spoken = bool(sample.transcript) or "speech" in labels or any(words_of(name) & SPEECH_WORDS for name in labels)
    musical = bool(sample.music.genre) or any(words_of(name) & MUSIC_WORDS for name in labels)
    musical = musical or bool(groups & set(MUSIC_GROUPS))
    if spoken or musical:
        only = not (spoken and musical) and len(heard(sample)) < 2
        enough = bool(sample.transcript or sample.music.genre) or groups <= {"human", "music"}
        return ("speech" if spoken else "music") if only and enough else ""
    clear = making.surely(sample) and bool(labels) and not sample.voice.sex and not sample.music.instruments
    return "another sound" if clear and not groups & {"human", "alert and electronic"} else ""


def kind(making: Making, sample: Sample) -> Turn | None:
    """Speech, music or another sound."""
    name = kind_of(making, sample)
    if not name:
        return None
    return Turn(making.ask("kind"), making.say("kind", x=name), {"answer": name})


def scene(making: Making, sample: Sample) -> Turn | None:
    """Where the recording was made."""
    name = plain(sample.scene.replace("_", " "))
    if not name:
        return None
    return Turn(making.ask("scene"), making.say("scene", x=name), {"answer": name})


def duration(making: Making, sample: Sample) -> Turn | None:
    """How long the recording is."""
    if not sample.seconds or sample.seconds < 0.1:
        return None
    text = seconds_text(sample.seconds)
    return Turn(making.ask("duration"), making.say("duration", x=text), {"answer": float(text)})


def absent(making: Making, sample: Sample) -> Turn | None:
    """A question that takes a sound for granted that is not there; the answer says so."""
    labels = making.askable(sample)
    if not labels or not making.surely(sample):
        return None
    found = absent_label(making, sample, making.one(making.plan.negatives))
    if found is None:
        return None
    name, strategy = found
    phrase = making.names.phrase(name)
    heard_here = enumeration(phrases(making, labels))
    reply = making.say("absent", x=phrase, y=heard_here)
    meta = {"answer": "absent", "class": name, "negative": strategy}
    return Turn(making.ask("absent", x=phrase), reply, meta)


def nothing(making: Making, sample: Sample) -> Turn | None:
    """Silence or plain noise, where the source says that it is that."""
    what = sample.extras.get("nothing")
    if what not in ("silence", "noise") or heard(sample):
        return None
    return Turn(making.ask("nothing"), making.say("nothing", what), {"answer": what})


def _labelled(sample: Sample) -> bool:
    return bool(sample.labels or sample.events)


def _acoustic(sample: Sample) -> bool:
    return _labelled(sample) and ("acoustics" in sample.extras or "qualities" in sample.extras)


FAMILY = "sound"
TASKS = (
    Task("label", FAMILY, "what is heard, in a sentence", _labelled, label, 6, by="label"),
    Task("label_name", FAMILY, "what is heard, bare names", _labelled, label_name, 6, by="label"),
    Task(
        "label_described", FAMILY, "what is heard, with measured acoustic features",
        _acoustic, label_described, 3, by="label",
    ),
    Task("choice", FAMILY, "one of four", _labelled, choice, 8, by="label"),
    Task("yes_no", FAMILY, "whether a sound is there, half of them are not", _labelled, yes_no, 10, by="label"),
    Task("checklist", FAMILY, "four to eight sounds, yes or no for each", _labelled, checklist, 7, by="label"),
    Task(
        "caption", FAMILY, "one sentence about the recording",
        lambda sample: bool(sample.captions or sample.events), caption, 6, kind="caption",
    ),
    Task("kind", FAMILY, "speech, music or another sound", lambda sample: True, kind, 2, kind="analysis"),
    Task("scene", FAMILY, "where it was recorded", lambda s: bool(s.scene), scene, 2, kind="analysis", by="scene"),
    Task("duration", FAMILY, "how long the recording is", lambda sample: bool(sample.seconds), duration, 1),
    Task("absent", FAMILY, "takes for granted what is not there", _labelled, absent, 2, by="label"),
    Task("nothing", FAMILY, "silence or noise", lambda sample: "nothing" in sample.extras, nothing, 1),
)  # fmt: skip
