"""Whether a text keeps to the evidence: the sounds, times, numbers, quotations and traits of speakers that it names.

The check knows words, not meanings. It finds what is named and not there; it does not find a wrong relation between
things that are there, nor a sound that the project's list of classes does not know. The judge is for these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from alm.mentions import Vocabulary
from data_prep.generation.facts import Fact
from data_prep.generation.prompting import load_pool
from data_prep.generation.wording import normal
from data_prep.ontology import Ontology, load_ontology

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_WORDS = "two three four five six seven eight nine ten eleven twelve".split()
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]{3,300})"|\u201c([^\u201d]{3,300})\u201d')
_CLAUSE = re.compile(r"[.;!?]\s+|,\s+(?=but\b|while\b|and\b)")
_DENIED = re.compile(
    r"\b(?:no|not|never|without|nor|neither|none|nothing|cannot|\w+n't|rather than|instead of)\b", re.IGNORECASE
)
MOST_COUNT = 60
MANY = 400
"""Further times are not subtracted from each other."""


@cache
def _ontology() -> Ontology:
    return load_ontology()


@cache
def vocabulary() -> Vocabulary:
    """What sounds are called: the classes of the project with their phrases and synonyms."""
    return Vocabulary({c.name: [c.phrase, *c.synonyms, *c.merges] for c in _ontology().classes})


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
    times: tuple[float, ...]
    """Seconds."""
    facts: int

    @classmethod
    def of(cls, facts: Sequence[Fact], *more: str) -> Grounds:
        """Everything in these facts, and in further texts such as the question."""
        times = {t for fact in facts for t in (fact.start, fact.end) if t is not None}
        return cls("\n".join([*map(str, facts), *more]), tuple(sorted(times)), len(facts))

    @cached_property
    def _labels(self) -> frozenset[str]:
        found = {label for part in self.text.splitlines() for label in _labels(part)}
        return frozenset(other for label in found for other in _ontology().confusable(label))

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(map(_stem, normal(self.text).split()))

    @cached_property
    def _numbers(self) -> frozenset[float]:
        given = {float(n) for n in _NUMBER.findall(self.text)}
        given |= {float(_WORDS.index(w.lower()) + 2) for w in _NUMBER_WORD.findall(self.text)}
        return frozenset(given | set(self.times) | set(_differences(self.times)))

    def missing(self, text: str) -> list[str]:
        """What the text names and the evidence has not; a sound that it denies is not missing."""
        return [*self._sounds(text), *self._counts(text), *self._quotations(text), *self._speakers(text)]

    def _sounds(self, text: str) -> Iterator[str]:
        for clause in _CLAUSE.split(text):
            if _DENIED.search(clause):
                continue
            for mention in vocabulary().find(clause):
                words = {_stem(w) for w in normal(mention.words).split()}
                if not words <= self._stems and not self._labels & set(mention.labels):
                    yield f"the sound '{mention.words}'"

    def _counts(self, text: str) -> Iterator[str]:
        for written in _NUMBER.findall(text):
            if not self._known(float(written), "." in written):
                yield f"the number '{written}'"
        for word in _NUMBER_WORD.findall(text):
            if not self._known(float(_WORDS.index(word.lower()) + 2), False):
                yield f"the number '{word}'"

    def _known(self, value: float, exact: bool) -> bool:
        """Numbers of the evidence and their rounding, durations and gaps; counts of what is listed."""
        near = 0.051 if exact else 0.5
        listed = not exact and value <= min(self.facts, MOST_COUNT)
        return value in (0.0, 1.0) or listed or any(abs(value - known) <= near for known in self._numbers)

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


def _differences(times: Sequence[float]) -> Iterator[float]:
    few = times[:MANY]
    return (b - a for i, a in enumerate(few) for b in few[i + 1 :])
