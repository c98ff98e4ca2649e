"""An invented world of samples that has something for every task of the makers."""

from __future__ import annotations

import dataclasses

from data_prep.samples import Asked, Chapter, Event, Music, Sample, Voice

LABELS = tuple("dog bark|rain|gunshot|cat meow|thunder|bell|glass break|car horn|cow moo|typewriter".split("|"))
MEASURED = {"level_db": -28.0, "pitch_hz": 120.0, "words_per_minute": 150.0}


def sample(name: str, **more: object) -> Sample:
    facts: dict[str, object] = {
        "id": name, "audio": f"/toy/{name}.wav", "source": "toy", "split": "train", "licence": "CC0-1.0",
        "seconds": 4.0, "label_set": "toy set",
    }  # fmt: skip
    return Sample(**(facts | more))  # type: ignore[arg-type]


def clips(split: str = "train", each: int = 3) -> list[Sample]:
    """One-sound recordings of which all is known."""
    return [
        sample(
            f"{split}-{label.replace(' ', '-')}-{k}", split=split, labels=(label,), complete=True, seconds=1.0 + k,
            captions=(f"This is {label} number {k}",),
            extras={"acoustics": ["short", "bright"], "measured": {"level_db": -40.0 + 8 * k}},
        )
        for label in LABELS
        for k in range(each)
    ]  # fmt: skip


def scenes(split: str = "train") -> list[Sample]:
    """Sequences of three, repetitions, and an event over a background."""
    made = []
    for k in range(5):
        names = [LABELS[(k + step) % len(LABELS)] for step in (0, 3, 6)]
        events = tuple(Event(name, 0.5 + 2.0 * n, 1.5 + 2.0 * n + 0.1 * k) for n, name in enumerate(names[: 2 + k % 2]))
        made.append(_scene(f"{split}-row-{k}", split, events))
        often = tuple(Event("gunshot", 0.5 + n, 0.8 + n) for n in range(1 + k % 5))
        made.append(_scene(f"{split}-often-{k}", split, often))
        below = (Event("rain", 0.0, 8.0, background=True), Event("bell", 3.0, 4.0 + k / 10))
        made.append(_scene(f"{split}-behind-{k}", split, below))
    return made


def _scene(name: str, split: str, events: tuple[Event, ...]) -> Sample:
    labels = tuple(dict.fromkeys(event.label for event in events))
    return sample(name, split=split, labels=labels, events=events, complete=True, seconds=8.0)


def voices(split: str = "train") -> list[Sample]:
    """Four speakers with words, feelings and ages; and conversations."""
    words = ("the yellow kettle boils slowly", "seven boats cross the harbour", "nobody answered the letter")
    feelings = ("anger", "joy", "sadness", "calm")
    made = [
        sample(
            f"{split}-voice-{who}-{k}", split=split, source="talk", label_set="", seconds=3.0,
            transcript=words[k], language=("en", "de")[who % 2], translations={"fr": f"phrase {k}"},
            voice=Voice(
                f"speaker {who}", ("female", "male")[who // 2], 31.0 + who if k else None, "thirties" if not k else "",
                "Scottish", feelings[who], {"arousal": 1.5 + k},
            ),
            extras={"measured": MEASURED | {"pitch_hz": 110.0 + 60 * who}, "score_range": [1, 5]},
        )
        for who in range(4)
        for k in range(3)
    ]  # fmt: skip
    acts = (("question check",), ("thanks", "statement close"), ("answer agree",), ("question general", "gesture"))
    calls = [
        sample(f"{split}-act-{k}", split=split, source="bank", extras={"dialogue_acts": list(names)})
        for k, names in enumerate(acts)
    ]
    moods = [
        sample(f"{split}-mood-{name}", split=split, source="moods", extras={"sentiment": name})
        for name in ("negative", "neutral", "positive")
    ]
    made += [*calls, *moods]
    ann = Event("speech", 0.0, 2.0, speaker="Ann", text="good morning")
    turns = (ann, Event("speech", 2.5, 4.0, speaker="Bob", text="hello"))
    return [*made, sample(f"{split}-talk", split=split, source="talk", events=turns, complete=True, seconds=5.0)]


def pieces(split: str = "train") -> list[Sample]:
    """Music of three genres, and single notes."""
    made = [
        sample(
            f"{split}-piece-{genre}-{k}", split=split, source="tunes", label_set="", seconds=20.0 + k,
            music=Music((genre,), ("violin",), ("calm", "slow"), "D minor", 96.0),
        )
        for genre in ("jazz", "rock", "folk")
        for k in range(3)
    ]  # fmt: skip
    return [*made, sample(f"{split}-note", split=split, source="notes", music=Music(pitch_midi=69, velocity=100))]


def places(split: str = "train") -> list[Sample]:
    """Recordings of four channels with directions."""
    events = (
        Event("dog bark", 0.5, 1.5, azimuth=90.0, elevation=0.0, distance=2.0),
        Event("bell", 2.0, 3.0, azimuth=-45.0, elevation=30.0, distance=3.5),
    )
    labels = ("dog bark", "bell")
    return [sample(f"{split}-field", split=split, labels=labels, events=events, complete=True, channels="foa")]


def others(split: str = "train") -> list[Sample]:
    """A long talk with chapters, calls, the source's own questions, a place, silence."""
    parts = (Chapter(0.0, "Hello", "Who speaks."), Chapter(60.0, "Boats", "How they float."), Chapter(200.0, "Goodbye"))
    asked = (Asked("Is it far?", "no", accept=("not far",)), Asked("Which way?", "left", ("left", "right", "up")))
    return [
        sample(f"{split}-talk-show", split=split, chapters=parts, seconds=300.0),
        sample(f"{split}-call", split=split, extras={"is_fraud": True, "thinking": ["They ask for a code."]}),
        sample(f"{split}-call-2", split=split, extras={"is_fraud": "normal", "scene": "taxi"}),
        sample(f"{split}-call-3", split=split, extras={"is_fraud": "fraud", "fraud_type": "prize"}),
        sample(f"{split}-own", split=split, questions=asked),
        sample(f"{split}-park", split=split, scene="city_park"),
        sample(f"{split}-silence", split=split, complete=True, extras={"nothing": "silence"}),
        sample(f"{split}-noise", split=split, complete=True, extras={"nothing": "noise", "maybe": ["static noise"]}),
    ]


def world(*splits: str) -> list[Sample]:
    """All of the above."""
    makers = (clips, scenes, voices, pieces, places, others)
    return [one for split in splits or ("train",) for make in makers for one in make(split)]


def changed(one: Sample, **more: object) -> Sample:
    return dataclasses.replace(one, **more)  # type: ignore[arg-type]
