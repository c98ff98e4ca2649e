"""Which of the tag head's classes a text names, by the words that people use for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

MOST_MENTIONS = 12
"""Further ones in one text are passed over."""
_WORD = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[ \t'\u2019-]*")
"""What may stand inside a name: "a ship's horn", but not the "A. dog" of a list."""


@dataclass(frozen=True)
class Mention:
    """A stretch of text that names one class, or several by an ambiguous word ("drum")."""

    words: str
    """As the text has them."""
    labels: tuple[str, ...]


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    labels: frozenset[str]


@dataclass(frozen=True)
class Vocabulary:
    """Words for classes: `words[label]` are its names and synonyms.

    >>> Vocabulary({"dog bark": ["a dog barking", "dog"], "rain": ["rain falling", "rain"]}).find("Dogs, or rain?")
    [Mention(words='Dogs', labels=('dog bark',)), Mention(words='rain', labels=('rain',))]
    """

    words: Mapping[str, Sequence[str]]

    @cached_property
    def _by_name(self) -> dict[tuple[str, ...], frozenset[str]]:
        found: dict[tuple[str, ...], frozenset[str]] = {}
        for label, names in self.words.items():
            for name in (label, *names):
                key = _tokens(name)
                found[key] = found.get(key, frozenset()) | {label}
        found.pop((), None)
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_name), default=0)

    def find(self, text: str) -> list[Mention]:
        """Mentions in the order of the text, each class once. The longest names win; neighbouring names are one: of the
        class that both may name ("dog barking"), or else of either's classes ("kettle whistle")."""
        found: dict[tuple[str, ...], Mention] = {}
        for span in _joined(list(self._spans(text)), text):
            labels = tuple(sorted(span.labels))
            found.setdefault(labels, Mention(text[span.start : span.end], labels))
        return list(found.values())[:MOST_MENTIONS]

    def _spans(self, text: str) -> Iterator[_Span]:
        words = list(_WORD.finditer(text))
        plain = [w.group().lower() for w in words]
        breaks = [i for i in range(1, len(words)) if not _GAP.fullmatch(text, words[i - 1].end(), words[i].start())]
        ends = iter([*breaks, len(words)])
        at, end = 0, next(ends)
        while at < len(words):
            while end <= at:
                end = next(ends)
            length, labels = self._longest_at(plain[at : min(end, at + self._longest)])
            if length:
                yield _Span(words[at].start(), words[at + length - 1].end(), labels)
            at += max(1, length)

    def _longest_at(self, words: Sequence[str]) -> tuple[int, frozenset[str]]:
        """How many of the first words name a class, and which."""
        for length in range(len(words), 0, -1):
            *head, last = words[:length]
            for form in _singulars(last):
                if (labels := self._by_name.get((*head, form))) is not None:
                    return length, labels
        return 0, frozenset()


def _tokens(name: str) -> tuple[str, ...]:
    return tuple(w.lower() for w in _WORD.findall(name))


def _singulars(word: str) -> list[str]:
    """The word, and what it may be the plural of."""
    return [word, *(word[: -len(end)] for end in ("s", "es") if word.endswith(end) and len(word) > len(end) + 2)]


def _joined(spans: Sequence[_Span], text: str) -> list[_Span]:
    joined: list[_Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and _GAP.fullmatch(text, last.end, span.start):
            joined[-1] = _Span(last.start, span.end, (last.labels & span.labels) or (last.labels | span.labels))
        else:
            joined.append(span)
    return joined
