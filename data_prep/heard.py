"""What a question can be asked about: clips, scenes and utterances in one shape, and how they are drawn."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from numpy.random import Generator

from data_prep import compose
from data_prep.corpus import StoredClip, read_index
from data_prep.errors import CorpusError
from data_prep.ontology import MUSIC_GROUPS, SPEECH_CLASS, Ontology, language_name
from data_prep.scenes import UNCLEAR, Event, Scene, phrase_of, rng_for
from data_prep.speech import Utterance, read_utterances, speech_list
from data_prep.speech_texts import Fact

POPULAR = ("speech", "music", "dog bark", "footsteps", "bird song", "rain", "car", "laughter", "door close", "applause")
"""What listeners expect anywhere; a favourite of models that guess."""
MAX_TRANSCRIPT_WORDS = 30
MAX_SINGLE_SECONDS = 20.0
"""Longer recordings (music) are heard in part, as variants and in scenes."""
INSTRUMENT_WEIGHT = 0.45
"""Instruments have many classes, most of them machine-played notes: each is drawn less often."""
MEANING_ONLY = ("ktuberling-data",)
"""Packages whose `transcript` is what the spoken word means, not the word."""


@dataclass(frozen=True)
class Speech:
    """What is known about the voice and the words of a recording."""

    language: str
    """English name of the language, or ''."""
    sex: str
    text: str
    """The words in English, fit to be asked for, or ''."""
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Heard:
    """One recording with everything that is known about it."""

    id: str
    audio: str
    seconds: float
    kind: str
    """`clip`, `utterance`, or the kind of a scene."""
    events: tuple[Event, ...]
    sources: tuple[str, ...]
    licences: tuple[str, ...]
    speech: Speech | None = None
    description: str = ""
    synthetic: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes in the recording, each once."""
        return tuple(dict.fromkeys(name for event in self.events for name in event.classes))

    @property
    def phrases(self) -> list[str]:
        """What is heard, each once, in order."""
        return list(dict.fromkeys(event.phrase for event in self.events))


def clean_text(text: str) -> str:
    """A transcript fit to be asked for: '' when it holds notes, gaps or more than a listener would repeat."""
    words = re.findall(r"[\w']+", text)
    if not words or len(words) > MAX_TRANSCRIPT_WORDS or re.search(r"[\[\](){}<>/\\|_*]|\.\.\.", text):
        return ""
    return " ".join(text.split())


def from_clip(item: StoredClip, ontology: Ontology) -> Heard:
    """A stored clip as one event over its length."""
    clip = item.clip
    event = Event(clip.id, clip.classes, phrase_of(item, ontology), 0.0, item.seconds)
    speech = None
    if SPEECH_CLASS in clip.classes or clip.sex:
        language = language_name(clip.language)
        readable = language == "English" and clip.package not in MEANING_ONLY
        speech = Speech(language, clip.sex, clean_text(clip.transcript) if readable else "", _clip_facts(item))
    return Heard(
        id=clip.id,
        audio=item.audio,
        seconds=item.seconds,
        kind="clip",
        events=(event,),
        sources=(clip.package,),
        licences=(clip.licence,),
        speech=speech,
        description=clip.description if clip.kind in ("sfx", "music") else "",
        synthetic=clip.kind == "render",
    )


def _clip_facts(item: StoredClip) -> tuple[Fact, ...]:
    """What a telephone prompt of one number or letter, or one naming an option, can be asked."""
    text = item.clip.transcript.strip().rstrip(".")
    if item.clip.package.startswith("asterisk-core-sounds-en") and re.fullmatch(r"[a-z-]+", text.lower()):
        for folder, question in (("/digits/", "Which number is said?"), ("/letters/", "Which letter is said?")):
            if folder in item.clip.path:
                return (Fact(question, f"{text.capitalize()}.", text),)
    found = re.fullmatch(r"(?:To|For) (.+?),? press (\w+)", text)
    if found:
        return (Fact("Which key must be pressed?", f"You must press {found[2]}.", found[2]),)
    return ()


def from_scene(scene: Scene) -> Heard:
    """A composed scene."""
    return Heard(
        id=scene.id,
        audio=scene.audio,
        seconds=scene.seconds,
        kind=scene.kind,
        events=scene.events,
        sources=scene.sources or ("synthetic",),
        licences=scene.licences or ("CC0-1.0",),
    )


def from_utterance(item: Utterance) -> Heard:
    """A synthetic English sentence."""
    event = Event(item.id, (SPEECH_CLASS,), "a person speaking", 0.0, item.seconds)
    speech = Speech("English", item.sex, item.text, item.facts)
    return Heard(
        item.id,
        item.audio,
        item.seconds,
        "utterance",
        (event,),
        (item.engine,),
        (item.licence,),
        speech,
        synthetic=True,
    )


@dataclass(frozen=True)
class Context:
    """All recordings of one split, ready to be drawn from."""

    split: str
    seed: int
    ontology: Ontology
    seen: frozenset[str]
    """Classes that occur in train."""
    items: tuple[Heard, ...]

    @cached_property
    def vocabulary(self) -> list[str]:
        """Classes that may be named, in file order."""
        return [item.name for item in self.ontology.classes if item.name in self.seen and item.name not in UNCLEAR]

    def askable(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are in the vocabulary."""
        known = set(self.vocabulary)
        return [name for name in names if name in known]

    def phrase(self, name: str) -> str:
        """The noun phrase of a class."""
        return self.ontology.by_name[name].phrase

    def group(self, name: str) -> str:
        """The group of a class."""
        return self.ontology.by_name[name].group

    def of_kind(self, *kinds: str) -> list[Heard]:
        """Recordings of some kinds."""
        return [item for kind in kinds for item in self._kinds.get(kind, [])]

    @cached_property
    def _kinds(self) -> dict[str, list[Heard]]:
        groups: dict[str, list[Heard]] = defaultdict(list)
        for item in self.items:
            groups[item.kind].append(item)
        return groups

    @cached_property
    def singles(self) -> dict[str, list[Heard]]:
        """One-sound recordings by class: in train clips and variants, else published recordings only.

        A render stands for a class in dev and test only when no recording does.
        """
        groups: dict[str, list[Heard]] = defaultdict(list)
        for item in self.of_kind("clip", *(("variant",) if self.split == "train" else ())):
            names = self.askable(item.classes[:1])
            if names and len(item.events) == 1 and item.seconds <= MAX_SINGLE_SECONDS:
                groups[names[0]].append(item)
        if self.split != "train":
            return {name: [i for i in group if not i.synthetic] or group for name, group in groups.items()}
        return dict(groups)

    @cached_property
    def talks(self) -> list[Heard]:
        """English speech with a text."""
        return [item for item in self.of_kind("clip", "utterance") if item.speech and item.speech.text]

    @cached_property
    def by_language(self) -> dict[str, list[Heard]]:
        """Speech of at least half a second by language."""
        groups: dict[str, list[Heard]] = defaultdict(list)
        for item in self.of_kind("clip"):
            if item.speech and item.speech.language and item.seconds >= 0.5 and SPEECH_CLASS in item.classes:
                groups[item.speech.language].append(item)
        return dict(groups)

    @cached_property
    def by_sex(self) -> dict[str, list[Heard]]:
        """Voices by sex, spoken words only."""
        groups: dict[str, list[Heard]] = defaultdict(list)
        for item in self.of_kind("clip", "utterance"):
            if item.speech and item.speech.sex and SPEECH_CLASS in item.classes and item.seconds >= 0.5:
                groups[item.speech.sex].append(item)
        return dict(groups)

    @cached_property
    def by_audio_kind(self) -> dict[str, list[Heard]]:
        """Recordings that are clearly speech, music or neither."""
        groups: dict[str, list[Heard]] = defaultdict(list)
        for name, items in self.singles.items():
            group = self.group(name)
            if name == SPEECH_CLASS:
                groups["speech"].extend(items)
            elif group == "music":
                groups["music"].extend(item for item in items if item.seconds >= 1.5)
            elif group not in (*MUSIC_GROUPS, "human", "alert and electronic"):
                groups["another sound"].extend(items)
        return dict(groups)

    @cached_property
    def instruments(self) -> dict[str, list[Heard]]:
        """One-instrument recordings by class."""
        return {name: items for name, items in self.singles.items() if self.group(name) == "instrument"}

    def pick(self, rng: Generator, items: Sequence[Heard]) -> Heard:
        """Any of `items`; raises `CorpusError` when there is none."""
        if not items:
            raise CorpusError(f"split '{self.split}' has no recording for this task")
        return items[int(rng.integers(len(items)))]

    def from_groups(self, rng: Generator, groups: dict[str, list[Heard]], task: str, index: int) -> tuple[str, Heard]:
        """A group and one of its items: balanced over groups in train, every item in turn in dev and test."""
        if not groups:
            raise CorpusError(f"split '{self.split}' has no recording for task '{task}'")
        if self.split == "train":
            names = sorted(groups)
            weights = [self._weight(name) for name in names]
            name = names[int(rng.choice(len(names), p=[weight / sum(weights) for weight in weights]))]
            return name, self._mixed(rng, groups[name])
        pairs = self._turns(groups, task)
        return pairs[index % len(pairs)]

    def _weight(self, name: str) -> float:
        kind = self.ontology.by_name.get(name)
        return INSTRUMENT_WEIGHT if kind is not None and kind.group == "instrument" else 1.0

    def _mixed(self, rng: Generator, items: list[Heard]) -> Heard:
        """A published recording in one case of three, else a variant, when there are both."""
        originals = [item for item in items if item.kind != "variant"]
        variants = [item for item in items if item.kind == "variant"]
        chosen = originals if originals and (not variants or rng.random() < 1 / 3) else variants
        return self.pick(rng, chosen)

    def _turns(self, groups: dict[str, list[Heard]], task: str) -> list[tuple[str, Heard]]:
        """All items of all groups, one of each group before the second of any, in an order fixed by the seed."""
        rng = rng_for("turns", self.seed, self.split, task)
        rows: list[tuple[int, float, str, Heard]] = []
        for name in sorted(groups):
            order = rng.permutation(len(groups[name]))
            rows.extend((place, float(rng.random()), name, groups[name][int(k)]) for place, k in enumerate(order))
        return [(name, item) for _, _, name, item in sorted(rows, key=lambda row: row[:3])]


def load_heard(folder: Path, split: str, ontology: Ontology) -> list[Heard]:
    """Clips, scenes and utterances of one split of a store; scenes and utterances may be absent."""
    clips = [item for item in read_index(folder / "clips.jsonl") if item.clip.split == split]
    heard = [from_clip(item, ontology) for item in clips]
    scenes = compose.scene_list(folder, split)
    if scenes.is_file():
        heard.extend(from_scene(scene) for scene in compose.read_scenes(scenes))
    heard.extend(from_utterance(item) for item in read_utterances(speech_list(folder, split)))
    return heard


def load_context(folder: Path, split: str, seed: int, ontology: Ontology) -> Context:
    """Everything of one split, with the classes that train has."""
    seen = {
        name
        for item in read_index(folder / "clips.jsonl")
        if item.clip.split == "train"
        for name in item.clip.classes
        if name in ontology.by_name
    }
    return Context(split, seed, ontology, frozenset(seen), tuple(load_heard(folder, split, ontology)))
