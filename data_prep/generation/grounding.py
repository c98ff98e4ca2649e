"""Whether a text keeps to the evidence: the sounds, times, numbers, quotations and traits of speakers that it names.

The check knows words, not meanings. It finds what is named and not there; it does not find a wrong relation between
things that are there, nor a sound that the project's list of classes does not know. The judge is for these.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

from alm.mentions import Vocabulary
from data_prep.generation.facts import Fact
from data_prep.generation.prompting import load_pool
from data_prep.generation.wording import normal
from data_prep.ontology import load_ontology

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_WORDS = "two three four five six seven eight nine ten eleven twelve".split()
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]{3,300})"|\u201c([^\u201d]{3,300})\u201d')
_CLAUSE = re.compile(r"[.;!?]\s+|,\s+(?=but\b|while\b|and\b)")
_DENIED = re.compile(
    r"\b(?:no|not|never|without|nor|neither|none|nothing|cannot|\w+n't|rather than|instead of)\b", re.IGNORECASE
)
_SECONDS = re.compile(r"(?:[\s,\d.-]|and\b|to\b|or\b)*(?:s\b|sec|second)", re.IGNORECASE)
_NO_SOUND = re.compile(r"\bo['\u2019]clock\b|\bleaves (?=the\b|a\b|his\b|her\b|it\b|them\b)", re.IGNORECASE)
MANY = 200
"""Further facts are not set in relation to each other."""


@cache
def vocabulary() -> Vocabulary:
    """What sounds are called: the classes of the project with their phrases and synonyms."""
    return Vocabulary({c.name: [c.phrase, *c.synonyms, *c.merges] for c in load_ontology().classes})


@cache
def _traits() -> dict[str, str]:
    """Words for traits of speakers and what they mean: `lady` is `female`."""
    return {word: trait["means"] for trait in load_pool("traits") for word in (trait["means"], *trait["words"])}


@dataclass(frozen=True)
class Grounds:
    """What a text may name.

    >>> g = Grounds.of([Fact("sound", "dog barking", 1.0, 3.5)])
    >>> g.missing("A dog barks for 2.5 seconds."), g.missing("A dog barks, then thunder rolls at 7 s.")
    ([], ["the sound 'thunder'", "the number '7'"])
    """

    text: str
    facts: tuple[Fact, ...]

    @classmethod
    def of(cls, facts: Sequence[Fact], *more: str) -> Grounds:
        """Everything in these facts, and in further texts such as the question."""
        return cls("\n".join([*map(str, facts), *more]), tuple(facts))

    @cached_property
    def _labels(self) -> frozenset[str]:
        return frozenset(label for part in self.text.splitlines() for label in _labels(part))

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(map(_stem, normal(self.text).split()))

    @cached_property
    def _given(self) -> frozenset[float]:
        """Numbers that the texts of the facts have, in digits or words."""
        texts = "\n".join([fact.text for fact in self.facts] + self.text.splitlines()[len(self.facts) :])
        words = {float(_WORDS.index(w.lower()) + 2) for w in _NUMBER_WORD.findall(texts)}
        return frozenset({float(n) for n in _NUMBER.findall(texts)} | words)

    @cached_property
    def _counts(self) -> frozenset[float]:
        """How often each sound comes, how many come at all, and how many different ones."""
        sounds = Counter(fact.text for fact in self.facts if fact.kind in ("sound", "heard"))
        return frozenset(map(float, [*sounds.values(), sounds.total(), len(sounds)]))

    @cached_property
    def _times(self) -> frozenset[float]:
        """Starts and ends, durations, distances of two starts, and gaps between what follows one another."""
        spans = sorted((f.start, f.end if f.end is not None else f.start) for f in self.facts if f.start is not None)
        found = {time for span in spans for time in span} | {end - start for start, end in spans}
        starts = [start for start, _ in spans[:MANY]]
        found |= {later - first for i, first in enumerate(starts) for later in starts[i + 1 :]}
        return frozenset(found | {after[0] - before[1] for before, after in pairwise(spans)})

    def missing(self, text: str) -> list[str]:
        """What the text names and the evidence has not; a sound that it denies is not missing."""
        return [*self._sounds(text), *self._wrong_numbers(text), *self._quotations(text), *self._speakers(text)]

    def _sounds(self, text: str) -> Iterator[str]:
        for clause in _CLAUSE.split(_NO_SOUND.sub("", text)):
            if _DENIED.search(clause):
                continue
            for mention in vocabulary().find(clause):
                words = {_stem(w) for w in normal(mention.words).split()}
                if not words <= self._stems and not self._labels & set(mention.labels):
                    yield f"the sound '{mention.words}'"

    def _wrong_numbers(self, text: str) -> Iterator[str]:
        for found in [*_NUMBER.finditer(text), *_NUMBER_WORD.finditer(text)]:
            written = found[0].lower()
            value = float(_WORDS.index(written) + 2 if written in _WORDS else written)
            if not self._knows(value, bool(_SECONDS.match(text, found.end())) or "." in written):
                yield f"the number '{found[0]}'"

    def _knows(self, value: float, time: bool) -> bool:
        """Whether the evidence has a number: given, counted, or a time that it is the rounding of."""
        near = 0.5 if value.is_integer() else 0.051
        timed = time and any(abs(value - known) <= near for known in self._times)
        return value in (0.0, 1.0) or value in self._given or timed or (not time and value in self._counts)

    def _quotations(self, text: str) -> Iterator[str]:
        said = normal(self.text)
        for first, second in _QUOTED.findall(text):
            if normal(first or second) not in said:
                yield f"the quotation '{(first or second)[:40]}'"

    def _speakers(self, text: str) -> Iterator[str]:
        known = {_traits()[word] for word in normal(self.text).split() if word in _traits()}
        for word in normal(text).split():
            if word in _traits() and _traits()[word] not in known and _stem(word) not in self._stems:
                yield f"the trait '{word}'"


def _labels(text: str) -> Iterable[str]:
    return (label for mention in vocabulary().find(text) for label in mention.labels)


def _stem(word: str) -> str:
    """Rough: `barking`, `barks` and `barked` are one word.

    >>> {_stem(w) for w in ("barking", "barks", "barked", "bark")}
    {'bark'}
    """
    for ending in ("ings", "ing", "ies", "ed", "es", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: len(word) - len(ending)]
    return word
