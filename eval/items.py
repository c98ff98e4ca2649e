"""Questions made from the judged split (test, or dev while one develops): pure functions of the corpus and a seed.

Everything is balanced so that only hearing can help: in `choice` each set of four options is asked four times, once
with each of them as the truth; in `presence` each sound is asked for equally often where it is and where it is not; in
`order` each listing is as often right as wrong.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.answering import Question
from eval.corpus import Clip, Corpus, Scene
from eval.listening import Sound
from eval.text import Option

PER_CLASS = 12
"""Recordings of one class at most, so that a class with many does not decide."""
CLIP_SECONDS = 10.0
"""Long recordings (music) are judged by their first window."""
VAGUE = ("other animal", "other bird", "other instrument", "synthetic effect")
"""Classes whose name says too little to be asked for."""


@dataclass(frozen=True)
class Item:
    """One question with its right answer."""

    id: str
    question: Question
    options: tuple[Option, ...]
    gold: int
    source: str
    """Package(s) the recording comes from: the unit of the bootstrap over sources."""
    kind: str
    """Class of the right answer."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sounds(self) -> tuple[Sound, ...]:
        return self.question.sounds


def sound_of(clip: Clip) -> Sound:
    """The part of a test recording that is judged."""
    return Sound(clip.path, CLIP_SECONDS)


def option_of(corpus: Corpus, name: str) -> Option:
    """A class as an option: its phrase; the bare name counts as well."""
    return Option(corpus.classes.by_name[name].phrase, (name,))


def judged_clips(corpus: Corpus, seed: int, per_class: int = PER_CLASS) -> dict[str, list[Clip]]:
    """Recordings to judge by class (each under its first class fit to be asked for), shuffled, at most `per_class`."""
    names = [n for n in corpus.testable() if n not in VAGUE]
    grouped: dict[str, list[Clip]] = defaultdict(list)
    for clip in corpus.of(corpus.judged):
        if (name := next((c for c in clip.classes if c in names), None)) is not None:
            grouped[name].append(clip)
    rng = random.Random(seed)
    return {name: _sample(rng, grouped[name], per_class) for name in names if grouped[name]}


def _sample(rng: random.Random, clips: list[Clip], most: int) -> list[Clip]:
    """At most `most` clips, sources in turn, so that the largest package does not fill the class."""
    by_source: dict[str, list[Clip]] = defaultdict(list)
    for clip in rng.sample(clips, len(clips)):
        by_source[clip.package].append(clip)
    turns = [(i, s, c) for s, own in by_source.items() for i, c in enumerate(own)]
    return [c for _, _, c in sorted(turns, key=lambda t: t[0])][:most]


Labelled = tuple[str, Clip]


def quartets(corpus: Corpus, clips: dict[str, list[Clip]], seed: int) -> list[list[Labelled]]:
    """Groups of four recordings whose classes belong to four different groups and are not near each other.

    The groups with most recordings left come first, so that as many recordings as possible find a place; within a
    group the classes take turns.
    """
    rng = random.Random(seed)
    left: dict[str, list[Labelled]] = defaultdict(list)
    longest = max((len(own) for own in clips.values()), default=0)
    for turn in range(longest):
        names = [n for n in clips if len(clips[n]) > turn]
        for name in rng.sample(names, len(names)):
            left[corpus.classes.group(name)].append((name, clips[name][turn]))
    found = []
    while (four := _quartet(corpus, left)) is not None:
        found.append(rng.sample(four, 4))
    return found


def _quartet(corpus: Corpus, left: dict[str, list[Labelled]]) -> list[Labelled] | None:
    """Take one recording each from the four fullest groups that fit together."""
    four: list[Labelled] = []
    groups: list[str] = []
    for group in sorted(left, key=lambda g: (-len(left[g]), g)):
        banned = set().union(*(corpus.classes.excluded(c.classes) for _, c in four)) if four else set()
        one = next((i for i in left[group] if i[0] not in banned and _clear(corpus, i[1], four, groups)), None)
        if one is not None:
            four.append(one)
            groups.append(group)
        if len(four) == 4:
            for group, taken in zip(groups, four, strict=True):
                left[group].remove(taken)
            return four
    return None


def _clear(corpus: Corpus, clip: Clip, others: list[Labelled], groups: list[str]) -> bool:
    """Whether none of the clip's classes touches another's class or group."""
    own = corpus.classes.excluded(clip.classes)
    known = [corpus.classes.group(c) for c in clip.classes if c in corpus.classes.by_name]
    return not any(name in own for name, _ in others) and not any(g in groups for g in known)


QUESTION_CHOICE = "Which of these is heard?"
LETTERS = "ABCD"


def listed(options: Sequence[Option]) -> str:
    """Options as lines with letters."""
    return "".join(f"\n{letter}. {o.text}" for letter, o in zip(LETTERS, options, strict=False))


def choice_items(corpus: Corpus, seed: int = 0, per_class: int = PER_CLASS) -> list[Item]:
    """Four-way questions; each quartet's four options are asked with each of its recordings."""
    items = []
    for number, four in enumerate(quartets(corpus, judged_clips(corpus, seed, per_class), seed)):
        rng = random.Random(f"{seed}-{number}")
        shift = rng.randrange(4)
        for turn, (name, clip) in enumerate(four):
            wrong = rng.sample([n for n, _ in four if n != name], 3)
            gold = (turn + shift) % 4
            names = [*wrong[:gold], name, *wrong[gold:]]
            options = tuple(option_of(corpus, n) for n in names)
            question = Question(QUESTION_CHOICE + listed(options), (sound_of(clip),))
            items.append(Item(clip.id, question, options, gold, clip.package, name, {"options": names, "set": number}))
    return items


def presence_items(corpus: Corpus, seed: int = 0, per_class: int = PER_CLASS) -> list[Item]:
    """Yes-or-no questions: each quartet's classes are asked for once where they are, once in the next recording."""
    items, answers = [], (Option("yes"), Option("no"))
    for four in quartets(corpus, judged_clips(corpus, seed, per_class), seed):
        for turn, (name, clip) in enumerate(four):
            for gold, asked in ((0, name), (1, four[(turn + 1) % 4][0])):
                phrase = corpus.classes.by_name[asked].phrase
                question = Question(f"Is {phrase} heard here? Answer yes or no.", (sound_of(clip),))
                facts = {"asked": asked}
                items.append(Item(f"{clip.id}-{'yn'[gold]}", question, answers, gold, clip.package, name, facts))
    return items


def order_items(corpus: Corpus, seed: int = 0) -> list[Item]:
    """Which of two sounds of a sequence comes first; the right one is listed first in every second question."""
    items = []
    scenes = (s for s in corpus.scenes(corpus.judged) if s.kind == "sequence" and len(s.events) > 1)
    for number, scene in enumerate(scenes):
        first, last = scene.events[0].phrase, scene.events[-1].phrase
        gold = (number + seed) % 2
        names = [last, first] if gold else [first, last]
        question = Question(f"Which is heard first, {names[0]} or {names[1]}?", (Sound(scene.path),))
        facts = {"events": len(scene.events), "options": names}
        options = tuple(Option(n) for n in names)
        items.append(Item(scene.id, question, options, gold, scene.source, f"{len(scene.events)} sounds", facts))
    return items


COUNTS = (1, 2, 3, 4, 5)
TIMES_TEXT = ("once", "two times", "three times", "four times", "five times")


def count_items(corpus: Corpus) -> list[Item]:
    """How many times one sound is heard, one to five."""
    options = tuple(Option(t, (str(n),)) for n, t in zip(COUNTS, TIMES_TEXT, strict=True))
    scenes = [s for s in corpus.scenes(corpus.judged) if s.kind == "repetition" and 1 <= len(s.events) <= len(COUNTS)]
    return [_count_item(s, options) for s in scenes]


def _count_item(scene: Scene, options: tuple[Option, ...]) -> Item:
    times = len(scene.events)
    question = Question(f"How many times is {scene.events[0].phrase} heard?", (Sound(scene.path),))
    return Item(scene.id, question, options, times - 1, scene.source, str(times))
