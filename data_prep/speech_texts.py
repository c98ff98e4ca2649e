"""Sentences to be spoken, made from the templates of `manifest/sentences.yaml`, and what a listener can be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from numpy.random import Generator

from data_prep.corpus import MANIFEST_DIR
from data_prep.phrases import capital

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
TWO_TOGETHER = 0.35
"""Share of recordings with two sentences of different topics: an answer must be looked for."""
SECOND_FORM = "_s"
_SLOT = re.compile(r"\{(\w+)\}")
_RANGE = re.compile(r"n(\d+)_(\d+)")
_TOPIC = "What is the message about?|What does the speaker talk about?|What is it about?"
_MENTION = "Is {x} mentioned?|Does the speaker mention {x}?|Is anything said about {x}?"


@dataclass(frozen=True)
class Fact:
    """A question about a sentence and its answer in full and in short."""

    question: str
    answer: str
    short: str


@dataclass(frozen=True)
class Spoken:
    """What is said in one recording, with what can be asked about it."""

    text: str
    topic: str
    facts: tuple[Fact, ...]


@cache
def _book() -> Mapping[str, Any]:
    return dict(yaml.safe_load((MANIFEST_DIR / "sentences.yaml").read_text(encoding="utf-8")))


def number_words(value: int) -> str:
    """0..9999 in English words."""
    if not 0 <= value <= 9999:
        raise ValueError(f"{value} is outside 0..9999")
    if value < 20:
        return ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")
    unit, word = (1000, "thousand") if value >= 1000 else (100, "hundred")
    head, rest = divmod(value, unit)
    return f"{number_words(head)} {word}" + (f" {number_words(rest)}" if rest else "")


def plain(text: str) -> str:
    """A text without case and punctuation, for comparing."""
    return " ".join(re.findall(r"[\w']+", text.lower()))


@dataclass
class _Filling:
    """What stands in the slots of one sentence; a slot keeps its word, slots of one list differ."""

    rng: Generator
    split: str
    in_digits: bool
    """Numbers as `4`, as transcripts often have them, and not as `four`."""
    words: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        return _SLOT.sub(lambda slot: self._word(slot[1]), text)

    def other(self, name: str) -> str | None:
        """A word of a slot's list that stands in no slot; None if the slot has no list."""
        base = name.rstrip("23")
        if base not in _book()["words"] or base == "act":
            return None
        free = [w for w in self._list(base) if w not in self.words.values()]
        return str(self._pick(free))

    def _word(self, name: str) -> str:
        if name not in self.words:
            self._choose(name)
        return self.words[name]

    def _choose(self, name: str) -> None:
        if found := _RANGE.fullmatch(name):
            self.words[name] = self._number(int(self.rng.integers(int(found[1]), int(found[2]) + 1)))
        elif name == "digits":
            self.words[name] = " ".join(self._number(int(d)) for d in self.rng.integers(0, 10, self.rng.integers(3, 5)))
        else:
            base = name.removesuffix(SECOND_FORM)
            free = [w for w in self._list(base.rstrip("23")) if self._first(w) not in self.words.values()]
            word = self._pick(free)
            self.words[base] = self._first(word)
            if not isinstance(word, str):
                self.words[base + SECOND_FORM] = word[1]

    def _list(self, name: str) -> Sequence[Any]:
        words = _book()["words"][name]
        return list(words[self.split] if isinstance(words, dict) else words)

    def _number(self, value: int) -> str:
        return str(value) if self.in_digits else number_words(value)

    @staticmethod
    def _first(word: Any) -> str:
        return str(word if isinstance(word, str) else word[0])

    def _pick(self, words: Sequence[Any]) -> Any:
        return words[int(self.rng.integers(len(words)))]


def _one_of(forms: str, rng: Generator) -> str:
    parts = forms.split("|")
    return parts[int(rng.integers(len(parts)))]


def _sentence(rng: Generator, split: str, template: Mapping[str, Any]) -> tuple[Spoken, _Filling]:
    filling = _Filling(rng, split, bool(rng.random() < 0.5))
    text = capital(filling.fill(_one_of("|".join(template["says"]), rng)))
    facts = tuple(
        Fact(
            capital(filling.fill(_one_of(question, rng))),
            capital(filling.fill(_one_of(answer, rng))),
            filling.fill(short),
        )
        for question, answer, short in template["asks"]
    )
    return Spoken(text, str(template["topic"]), facts), filling


def _topic(rng: Generator, spoken: Spoken) -> Fact:
    return Fact(_one_of(_TOPIC, rng), f"It is about {spoken.topic}.", spoken.topic)


def _mention(rng: Generator, filling: _Filling) -> Fact | None:
    """Whether a word is said, as often yes as no."""
    slots = [(name, other) for name in filling.words if (other := filling.other(name)) is not None]
    if not slots:
        return None
    name, other = slots[int(rng.integers(len(slots)))]
    said = rng.random() < 0.5
    word = filling.words[name] if said else other
    question = _one_of(_MENTION, rng).replace("{x}", word)
    if said:
        return Fact(question, f"Yes, {word} is mentioned.", "yes")
    return Fact(question, f"No, {word} is not mentioned.", "no")


def spoken_sentence(rng: Generator, split: str) -> Spoken:
    """A random recording's words; train and test use different names, places and goods. Dev counts as train."""
    part, templates = "test" if split == "test" else "train", _book()["sentences"]
    chosen = [templates[int(k)] for k in rng.choice(len(templates), 2, replace=False)]
    first, filling = _sentence(rng, part, chosen[0])
    mention = _mention(rng, filling)
    if rng.random() < TWO_TOGETHER and chosen[0]["topic"] != chosen[1]["topic"]:
        second, _ = _sentence(rng, part, chosen[1])
        pair = [first, second] if rng.random() < 0.5 else [second, first]
        text, topic = " ".join(s.text for s in pair), " and ".join(s.topic for s in pair)
        return Spoken(text, topic, first.facts)  # none of absence: the second may say what the first does not
    generic = [_topic(rng, first), *([mention] if mention else [])]
    return Spoken(first.text, first.topic, (*first.facts, generic[int(rng.integers(len(generic)))]))
