"""What is done to transcripts before they are compared: listed lead-ins taken off, normalisers by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from alm.errors import RecordError

_SOURCE = r"(?: (?:of|from|in|for) (?:the|this) (?:audio|recording|speech|clip|speaker|file))?"
_WHAT = r"(?:transcript(?:ion)?|translation|text|spoken (?:text|content|words)|content)"
LEAD_INS = (
    rf"(?:(?:sure|certainly|okay|of course)\W+)?here(?: is|'s) (?:the|a|your) {_WHAT}{_SOURCE}\s*:",
    rf"(?:the )?(?:english |exact |verbatim )?{_WHAT}{_SOURCE}(?: (?:is|reads|is as follows))?\s*:",
    r"(?:the )?(?:speaker|person|man|woman|voice|audio|recording) (?:says|said|is saying)\s*[:,]?(?=\s*[\"“])",
)
"""Only these are taken off, and only from the beginning: anything else that a model adds is an error of its own."""

_LEAD_IN = re.compile(rf"\s*[*_]*(?:{'|'.join(LEAD_INS)})[*_]*\s*", re.IGNORECASE)
_QUOTED = re.compile(r"\s*[\"“](.*)[\"”]\.?\s*", re.DOTALL)
UNSPACED = ("zh", "yue", "ja", "th", "lo", "my", "km")
"""Languages whose characters are compared without blanks."""


def without_lead_in(text: str) -> tuple[str, bool]:
    """A transcript without a listed lead-in and without the quotes around it, and whether there was a lead-in.

    >>> without_lead_in('The speaker says: "turn left"'), without_lead_in("The speaker was late")
    (('turn left', True), ('The speaker was late', False))
    """
    rest = _LEAD_IN.sub("", text, count=1) if (match := _LEAD_IN.match(text)) else text
    quoted = _QUOTED.fullmatch(rest)
    return (quoted[1] if quoted else rest).strip(), bool(match)


@lru_cache(maxsize=1)
def _whisper_english() -> _English:
    from whisper_normalizer.english import EnglishTextNormalizer

    return _English(EnglishTextNormalizer())


@lru_cache(maxsize=1)
def _whisper_basic() -> Any:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer()


@dataclass(frozen=True)
class _English:
    """Whisper's English normaliser, with a short way for texts that only its spelling table can change.

    Most of its time goes into numbers, contractions and diacritics. A text of plain letters and sentence marks without
    any word of its rules passes them unchanged (tested against the library).
    """

    whole: Any
    """The library's."""

    _MARKS = str.maketrans(dict.fromkeys(",!?;:-", " "))
    _SHORT = re.compile(r"[a-z\s,!?;:-]*\.?\s*")

    @cached_property
    def _touched(self) -> frozenset[str]:
        """Words that some rule may change; letters of patterns among them, which costs nothing."""
        patterns = " ".join([self.whole.ignore_patterns, "half", *self.whole.replacers]).replace("\\b", " ")
        return frozenset(re.findall("[a-z]+", patterns)) | frozenset(self.whole.standardize_numbers.words) - {"and"}

    def __call__(self, text: str) -> str:
        lower = text.lower()
        if self._SHORT.fullmatch(lower):
            said = lower.replace(".", " ").translate(self._MARKS).split()
            if self._touched.isdisjoint(said):
                spelling = self.whole.standardize_spellings.mapping
                return " ".join([spelling.get(w, w) for w in said])
        return " ".join(self.whole(text).split())


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.casefold().replace("’", "'")))


NORMALISERS: dict[str, Callable[[str], str]] = {
    "whisper-en": lambda text: _whisper_english()(text),
    "whisper-basic": lambda text: str(_whisper_basic()(text)),
    "plain": _plain,
    "none": lambda text: " ".join(text.split()),
}
"""Whisper's two; `plain`: lower case without punctuation; `none`: only blanks, for phonemes and BLEU."""


@lru_cache(maxsize=2**18)  # a reference is normalised once for all conditions of a run
def normalised(text: str, name: str) -> str:
    """
    Raises:
        RecordError: there is no such normaliser.
    """
    if name not in NORMALISERS:
        raise RecordError(f"no normaliser {name!r}; there are {', '.join(NORMALISERS)}")
    return NORMALISERS[name](text).strip()
