"""Which of several options an answer means: a letter, the exact text, the only option that it holds, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from eval.kinds.wording import Phrases, core

_ANSWER = r"(?:(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:answer|option|choice)(?:\s+is)?[\W_]+)"
_LEADING = re.compile(rf"^[\W_]*{_ANSWER}*([a-z])(?:[\W_]*$|\)|[.:\]]\**\s|\s+[-–]\s)", re.IGNORECASE)
_MARKED = re.compile(
    r"(?:\b(?:answer|choice)\s+(?:is|would be)\s*:?|\b(?:answer|option|choice)\s*:?)[\s(*\"']*([A-Z])"
    r"(?:[)*\"']|\s*[,.;:]|\s*$|\s+(?:because|since|as|is)\b)"
)
_BRACKETED = re.compile(r"\(([A-Za-z])\)")
_TAIL = re.compile(r".*\b(?:answer|option|choice)(?:\s+(?:is|would be)\b|\s*:)[\s:*]*(.+)", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]*)\}")
_WORD = re.compile(r"\w")
_FIRST = re.compile(r"(?<=[.!?])\s|\n")
_NONE = re.compile(r"\b(?:none of (?:the|these|them|those)|neither(?: of|$|\W*$)|not (?:listed|among))", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What was read, and by which step."""

    index: int | None
    rule: str


@dataclass(frozen=True)
class Options:
    """Options with what reading needs of them; equal ones count as the first of them."""

    texts: tuple[str, ...]
    same: tuple[int, ...]
    """For each option, the first that is worded alike."""
    phrases: Phrases
    lettered: bool
    """The question showed letters before them."""

    @property
    def are_letters(self) -> bool:
        """Options such as musical keys, which a letter names by itself."""
        return any(len(core(t)) == 1 and core(t).isalpha() for t in self.texts)

    @property
    def duplicates(self) -> bool:
        return any(first != index for index, first in enumerate(self.same))


@lru_cache(maxsize=4096)
def options_of(texts: tuple[str, ...], question: str = "") -> Options:
    """Options as a question shows them."""
    first: dict[str, int] = {}
    same = tuple(first.setdefault(_key(t), i) for i, t in enumerate(texts))
    wordings = [[t] if same[i] == i else [] for i, t in enumerate(texts)]
    last = chr(ord("A") + min(len(texts), 26) - 1)
    return Options(texts, same, Phrases.of(wordings), _shown(last, texts[-1], question))


def _shown(letter: str, text: str, question: str) -> bool:
    """Whether the letter stands before the option; without a pattern of its own, which would cost more than scoring.

    >>> _shown("B", "cat", "A. dog\\n(B) cat"), _shown("B", "cat", "A dog or a MB. cat")
    (True, False)
    """
    at = question.find(text)
    while at >= 0:
        before = question[:at].rstrip()
        if before[-1:] in (")", ".", ":") and before[-2:-1] == letter and not _WORD.match(before[-3:-2]):
            return True
        at = question.find(text, at + 1)
    return False


def _key(text: str) -> str:
    return core(text) or text.strip().casefold()


def read_choice(answer: str, options: Options) -> Reading:
    """The option that an answer means; `index` is None where it means none, several, or contradicts itself.

    >>> pets = options_of(("dog", "cat", "dog barking"))
    >>> [read_choice(a, pets).index for a in ("B", "(b) cat", "A dog barking.", "dog or cat", "Because")]
    [1, 1, 2, None, None]
    """
    answer, repeated = _without_list(answer, options)
    if repeated and not answer:
        return Reading(None, "several")
    tail = _tail(answer)
    if options.are_letters and not options.lettered:
        for text in (answer, tail):
            if (exact := _exact(text, options)) is not None:
                return Reading(exact, "exact")
    for text in (answer, tail):
        if (found := _letter(text, options)) is not None:
            return found
    for text in (answer, tail, _FIRST.split(tail)[0], _first_line(answer, options)):
        if (exact := _exact(text, options)) is not None:
            return Reading(exact, "exact")
    if (letter := _only_letter(answer, options)) is not None:
        return Reading(letter, "letter")
    return _contained(answer, tail, options)


def _without_list(answer: str, options: Options) -> tuple[str, bool]:
    """The answer without the question's lettered options, where it repeats two or more of them, and whether it did.

    >>> pets = options_of(("dog", "cat"))
    >>> _without_list("A. dog\\nB. cat\\nAnswer: B", pets), _without_list("A. dog", pets)
    (('Answer: B', True), ('A. dog', False))
    """
    lines = answer.split("\n")
    if len(lines) == 1:
        return answer, False
    of_list = [line for line in lines if _is_of_list(line, options)]
    if len(set(of_list)) < 2:
        return answer, False
    return "\n".join(line for line in lines if line not in of_list).strip(), True


def _is_of_list(line: str, options: Options) -> bool:
    match = _LEADING.match(line)
    index = _index(match[1], options) if match else None
    return match is not None and index is not None and _exact(line[match.end(1) :], options) == index


def _first_line(answer: str, options: Options) -> str:
    """The first line, unless other lines are options too: then the answer repeats the list."""
    head, *others = answer.strip().split("\n")
    return "" if any(_exact(line, options) is not None for line in others) else head


def _tail(answer: str) -> str:
    """What follows "the answer is" or stands in a box; empty where nothing does."""
    if boxed := _BOXED.findall(answer):
        return str(boxed[-1])
    match = _TAIL.match(answer)
    return match[1] if match else ""


def says_none(answer: str) -> bool:
    """Whether an answer says that no option fits."""
    return bool(_NONE.search(answer))


def _letter(text: str, options: Options) -> Reading | None:
    match = _LEADING.match(text)
    index = _index(match[1], options) if match else None
    if match is None or index is None:
        return None
    named = _exact(text[match.end(1) :], options)
    if named is not None and named != index:
        return Reading(None, "conflict")
    return Reading(index, "letter")


def _index(letter: str, options: Options) -> int | None:
    place = ord(letter.upper()) - ord("A")
    return options.same[place] if place < len(options.texts) else None


def _exact(text: str, options: Options) -> int | None:
    plain = text.strip().casefold()
    raw = [i for i, t in enumerate(options.texts) if plain and t.strip().casefold() == plain]
    found = raw[:1] or options.phrases.exact(text)
    return options.same[found[0]] if found else None


def _only_letter(text: str, options: Options) -> int | None:
    for pattern in (_MARKED, _BRACKETED):
        found = {_index(letter, options) for letter in pattern.findall(text)}
        if len(found) == 1:
            return found.pop()
    return None


def _contained(answer: str, tail: str, options: Options) -> Reading:
    for text in (answer, tail):
        held: Sequence[int] = options.phrases.held(text) if text else ()
        if len(held) == 1:
            return Reading(held[0], "contained")
    return Reading(None, "several" if options.phrases.held(answer) else "none")
