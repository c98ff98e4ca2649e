"""Whether a text says one of several wordings: words of any script, longer wordings before those inside them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from eval.text import ARTICLES, NUMBERS

_WORD = re.compile(
    r"(?<!\w)-?\d+(?:[.,:]\d+)*%?"  # 0.5 and 1:20 are one word, and -5 is not 5
    r"|[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]"  # scripts without spaces: each character
    r"|(?:(?![\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff])[^\W_])+(?:'[^\W_]+)*[#♯♭]?"
)
LONGEST_NEGATION = 16
_NEGATED = re.compile(r" (?:not|isn't|never|without|neither|nor)(?: (?:a|an|any|the))? $")


def words(text: str) -> str:
    """Lower-case words with one blank between.

    >>> words("It's C# at -5.5 dB, 狗叫!")
    "it's c# at -5.5 db 狗 叫"
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("−", "-")
    return " ".join(_WORD.findall(plain))


@lru_cache(maxsize=65536)
def core(text: str) -> str:
    """`words` without a leading article; a single number word as a digit.

    >>> core("A dog barking."), core("Three")
    ('dog barking', '3')
    """
    said = words(text)
    head, _, rest = said.partition(" ")
    if rest and head in ARTICLES:
        said = rest
    return str(NUMBERS.index(said)) if said in NUMBERS else said


REMEMBERED = 1024
"""Texts whose reading is kept."""


@dataclass(frozen=True)
class Phrases:
    """Wordings of several things, longest first."""

    table: tuple[tuple[str, tuple[int, ...]], ...]

    @staticmethod
    def of(wordings: Sequence[Iterable[str]]) -> Phrases:
        """Each thing's wordings; one that several things share belongs to all of them."""
        found: dict[str, list[int]] = {}
        for index, own in enumerate(wordings):
            for text in {core(w) for w in own} - {""}:
                found.setdefault(text, []).append(index)
        longest_first = sorted(found.items(), key=lambda f: (-len(f[0]), f[0]))
        return Phrases(tuple((text, tuple(owners)) for text, owners in longest_first))

    def exact(self, text: str) -> tuple[int, ...]:
        """Things that the whole text names."""
        return self._owners.get(core(text), ())

    def held(self, text: str) -> list[int]:
        """Things that stand in the text: outside a longer wording of another, and not right after a "not".

        >>> Phrases.of([["dog"], ["dog barking"]]).held("A dog barking.")
        [1]
        """
        if text not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[text] = self._found(text)
        return list(self._known[text])

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        """Answers repeat: those that echo all labels cost as much as all others together."""
        return {}

    def _found(self, text: str) -> list[int]:
        said = f" {_digits(words(text))} "
        found: set[int] = set()
        for wording, owners in self.table:
            mark = f" {wording} "
            while mark in said:  # twice at most: neighbours share a blank
                pieces = said.split(mark)
                if not all(_NEGATED.search(f" {piece[-LONGEST_NEGATION:]} ") for piece in pieces[:-1]):
                    found.update(owners)
                said = " | ".join(pieces)
        return sorted(found)

    @cached_property
    def _owners(self) -> dict[str, tuple[int, ...]]:
        return dict(self.table)


def _digits(said: str) -> str:
    return " ".join(str(NUMBERS.index(w)) if w in NUMBERS else w for w in said.split(" "))
