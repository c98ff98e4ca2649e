"""Reading answers: normalising, matching against accepted answers, choices, yes or no, numbers, word errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ARTICLES = ("a", "an", "the", "some")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TIMES = {"once": 1, "twice": 2, "thrice": 3}
YES, NO = ("yes", "yeah", "correct", "true"), ("no", "not", "false", "nope")
NORMALISER = "transformers EnglishTextNormalizer without a spelling table"


@lru_cache(maxsize=1)
def _english() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


def normalise(text: str) -> str:
    """Whisper's English normaliser: lower case, no punctuation, numbers as digits, contractions written out.

    >>> normalise("Press Two, please!")
    'press 2 please'
    """
    return str(_english()(text)).strip()


def simple(text: str) -> str:
    """Lower case words and digits only; for labels, where numbers and contractions do not occur."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def core(text: str) -> str:
    """`simple` without a leading article.

    >>> core("A dog barking.")
    'dog barking'
    """
    words = simple(text).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)


def holds(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words (both normalised alike before)."""
    return bool(phrase) and f" {phrase} " in f" {text} "


@dataclass(frozen=True)
class Option:
    """One answer to choose, with other wordings that count as it."""

    text: str
    aliases: tuple[str, ...] = ()

    @property
    def wordings(self) -> list[str]:
        return [core(w) for w in (self.text, *self.aliases)]


LETTER = re.compile(r"^\W*(?:(?:the )?(?:answer|option|choice)(?: is)?\W+)?([a-h])(?:\W*$|[).:]\s)", re.IGNORECASE)


def chosen(answer: str, options: Sequence[Option]) -> int | None:
    """Which option an answer means, or None: a letter, else an exact text, else the only option it holds.

    "A dog" is not option A: a letter counts alone or before `)`, `.` or `:`.

    >>> options = [Option("a dog barking"), Option("rain")]
    >>> chosen("B", options), chosen("A dog barking.", options), chosen("dog or rain", options), chosen("", options)
    (1, 0, 1, None)
    """
    if (letter := LETTER.match(answer)) and (index := "abcdefgh".index(letter[1].lower())) < len(options):
        return index
    said = core(answer)
    if exact := [i for i, o in enumerate(options) if said in o.wordings]:
        return exact[0] if len(exact) == 1 else None
    held = [(i, max(len(w) for w in o.wordings if holds(said, w))) for i, o in enumerate(options) if _any(said, o)]
    return held[0][0] if len(held) == 1 else None


def _any(said: str, option: Option) -> bool:
    return any(holds(said, w) for w in option.wordings)


def yes_or_no(answer: str) -> bool | None:
    """True for yes, False for no, None for neither: the first word that says it."""
    for word in simple(answer).split():
        if word in YES or word in NO:
            return word in YES
    return None


def number_in(answer: str) -> int | None:
    """The first whole number in an answer, in digits or words.

    >>> number_in("I hear it three times."), number_in("Twice"), number_in("often")
    (3, 2, None)
    """
    for word in simple(answer).split():
        if word.isdigit():
            return int(word)
        if word in NUMBERS or word in TIMES:
            return TIMES.get(word, NUMBERS.index(word) if word in NUMBERS else 0)
    return None


def accepted(answer: str, answers: Sequence[str], rejects: Sequence[str] = ()) -> bool:
    """Whether a free answer holds one of the accepted answers as whole words, and none of the rejected ones.

    >>> accepted("Press four, two.", ["4 2"]), accepted("Press 4 or 2", ["4"], ["2"]), accepted("It is 42", ["4"])
    (True, False, False)

    A rejected phrase inside an accepted one does not count ("not" in "not valid").
    """
    said = _joined(answer)
    hit = next((a for a in sorted(map(_joined, answers), key=len, reverse=True) if holds(said, a)), None)
    if hit is None:
        return False
    rest = f" {said} ".replace(f" {hit} ", " | ")
    return not any(holds(rest.strip(), _joined(r)) for r in rejects)


def _joined(text: str) -> str:
    """Normalised, with digits said one by one as one number: "four, two" is "42", like "4 2"."""
    digits = re.sub(r"\bone\b", "1", normalise(text))
    return re.sub(r"(?<=\d) (?=\d\b)", "", digits)


@dataclass(frozen=True)
class WordErrors:
    """Corpus word errors."""

    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def rate(self) -> float:
        return (self.substitutions + self.deletions + self.insertions) / self.words


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Word errors over all pairs together (not a mean of rates), after `normalise`.

    An empty hypothesis counts every word as deleted. Pairs whose reference normalises to nothing must be left out
    before.
    """
    import jiwer

    done = jiwer.process_words([normalise(r) for r in references], [normalise(h) for h in hypotheses])
    words = int(done.hits + done.substitutions + done.deletions)
    return WordErrors(words, int(done.substitutions), int(done.deletions), int(done.insertions))
