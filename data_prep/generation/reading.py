"""Replies of a writer as pairs, lists, steps and grades; what has not the form that was asked for is not guessed at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_LETTERS = 40_000
"""Of a reply; what stands behind is not read."""
MOST_FAULTS = 200
"""After so many opening brackets that open nothing, a reply is taken for no JSON."""
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\(?\d{1,2}[.):])\s+")
_ASKED = re.compile(r"^\W*(?:\d{1,2}\W+)?(?:Q|Question)\s*\d{0,2}\s*[:.)]\W*\s*", re.IGNORECASE)
_SAID = re.compile(r"^\W*(?:A|Answer)\s*\d{0,2}\s*[:.)]\W*\s*", re.IGNORECASE)
_CITED = re.compile(r"\[\s*E\d{1,3}(?:\s*(?:,|and|;)?\s*E\d{1,3})*\s*\]")
_GRADE = re.compile(r"^\W*(?:grade|score)?\W*([1-5])(?!\s*(?:/|of\b|or\b|to\b|-|[.,]?\d))", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Step:
    """One step of a rationale, without its marks, and the numbers of the facts that it rests on."""

    text: str
    cited: tuple[int, ...]


def read_pairs(text: str, cut: bool = False) -> list[Pair]:
    """Pairs of a reply, written as `Q:` and `A:` lines or as JSON with `q` and `a`.

    Args:
        cut: whether the reply ended for its length, so that its last answer is not whole.

    >>> read_pairs("Q: Who barks?\\nA: A dog.\\n\\nQ: When?")
    [Pair(question='Who barks?', answer='A dog.')]
    >>> read_pairs('[{"q": "Who?", "a": "A dog."}]')
    [Pair(question='Who?', answer='A dog.')]
    """
    text = text[:MOST_LETTERS]
    found = list(_json_pairs(text)) or list(_line_pairs(text))
    whole = [pair for pair in found if pair.question and pair.answer]
    return whole[:-1] if cut and not text.rstrip().endswith(("]", "}")) else whole


def _json_pairs(text: str) -> Iterator[Pair]:
    decoder, at, left = json.JSONDecoder(), 0, MOST_FAULTS
    while left and (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at, left = at + 1, left - 1
            continue
        yield from _pair(value)


def _pair(value: Any) -> Iterator[Pair]:
    if isinstance(value, dict):
        lower = {str(key).lower(): said for key, said in value.items()}
        question, answer = (lower.get(short, lower.get(long)) for short, long in (("q", "question"), ("a", "answer")))
        if isinstance(question, str) and isinstance(answer, str):
            yield Pair(question.strip(), answer.strip())


def _line_pairs(text: str) -> Iterator[Pair]:
    question, answer, last = "", "", ""
    for line in text.splitlines():
        if _ASKED.match(line):
            if question and answer:
                yield Pair(question, answer)
            question, answer, last = _ASKED.sub("", line).strip(" *"), "", "q"
        elif _SAID.match(line) and question and not answer:
            answer, last = _SAID.sub("", line).strip(" *"), "a"
        elif line.strip() and last == "a":
            answer += f" {line.strip()}"
    if question and answer:
        yield Pair(question, answer)


def read_list(text: str, cut: bool = False) -> list[str]:
    """Items of a reply: its bulleted or numbered lines, or its lines where none is.

    >>> read_list("Sure!\\n1. A dog barks.\\n2. A hound bays.")
    ['A dog barks.', 'A hound bays.']
    """
    lines = [line for line in text[:MOST_LETTERS].splitlines() if line.strip()]
    marked = [line for line in lines if _BULLET.match(line)]
    found = [_unquoted(_BULLET.sub("", line)) for line in (marked or lines)]
    return [item for item in (found[:-1] if cut else found) if item]


def read_text(text: str) -> str:
    """A reply that is one paragraph, without quotation marks around it and without an opening of the writer's own."""
    body = re.sub(r"^(?:sure|certainly|of course|here(?: is|'s))\b[^\n:]*:\s*", "", text.strip(), flags=re.IGNORECASE)
    body = re.sub(r"^(?:caption|description|answer)\s*:\s*", "", body, flags=re.IGNORECASE)
    return _unquoted(" ".join(body[:MOST_LETTERS].split()))


def _unquoted(text: str) -> str:
    text = text.strip().strip("*").strip()
    pairs = {'"': '"', "\u201c": "\u201d", "'": "'"}
    return text[1:-1].strip() if len(text) > 1 and pairs.get(text[0]) == text[-1] else text


def read_steps(text: str) -> tuple[list[Step], str]:
    """Steps of a rationale and what it ends on; the answer is empty where no line begins with `Answer:`.

    >>> read_steps("1. A dog barks first [E1].\\nAnswer: the dog")
    ([Step(text='A dog barks first.', cited=(1,))], 'the dog')
    """
    steps: list[Step] = []
    for line in text[:MOST_LETTERS].splitlines():
        if not line.strip():
            continue
        if re.match(r"^\W*(?:final\s+)?answer\W*:", line, re.IGNORECASE):
            return steps, _unquoted(_CITED.sub("", line.split(":", 1)[1]).strip())
        cited = tuple(int(n) for mark in _CITED.findall(line) for n in re.findall(r"\d+", mark))
        said = re.sub(r"\s+([.,;:])", r"\1", _CITED.sub("", _BULLET.sub("", line)))
        steps.append(Step(" ".join(said.split()), cited))
    return steps, ""


def read_grade(text: str) -> int | None:
    """A grade from 1 to 5 at the beginning of a reply; None where none is plain.

    >>> read_grade("4"), read_grade("Grade: 2, since"), read_grade("8"), read_grade("4/10"), read_grade("2 or 4")
    (4, 2, None, None, None)
    """
    found = _GRADE.match(text.strip())
    return int(found[1]) if found else None


def read_yes_no(text: str) -> bool | None:
    """
    >>> read_yes_no("Yes."), read_yes_no("no, it is not"), read_yes_no("Nobody knows")
    (True, False, None)
    """
    found = re.match(r"^\W*(yes|no)\b", text, re.IGNORECASE)
    return found[1].lower() == "yes" if found else None
