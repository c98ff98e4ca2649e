"""Answers that a question allows besides the true one, worded like it: what the true one must be likelier than.

A small model words its answers in its own way; which of the allowed answers it holds for the likeliest does not depend
on the wording, and chance is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from data_prep.records import Record

ORDINALS = ("first", "second", "third", "fourth", "fifth")
LETTERS = "ABCDEFGHIJ"
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
CLOSED = {
    "pitch": ("low", "medium", "high"),
    "energy": ("quiet", "medium", "loud"),
    "speed": ("slow", "medium", "fast"),
    "entailment": ("entailment", "neutral", "contradiction"),
    "sex": ("a woman", "a man"),
    "kind": ("speech", "music", "another sound"),
    "nothing": ("only noise, no clear sound", "nothing: the recording is silent"),
    "count": ("once", *(f"{n} times" for n in NUMBERS[1:5])),
    "count_sounds": NUMBERS,
    "speakers": NUMBERS,
}
"""Tasks that have few answers in all, by the words that tell them apart."""
_DECIDED = re.compile(r"(yes|no)\b", re.IGNORECASE)


def worded(record: Record) -> tuple[str, ...]:
    """The true answer and its rivals, the true one first; empty where the row does not tell what else was possible."""
    said, meta = record.messages[-1].content, record.meta
    if record.messages[-1].role != "assistant" or len(record.messages) > 3:
        return ()
    if record.task in CLOSED:
        return _of_words(said, CLOSED[record.task])
    if begun := _DECIDED.match(said):
        return _yes_or_no(begun.group(1))
    options = meta.get("options")
    if isinstance(options, list) and all(isinstance(o, str) for o in options):
        return _of_options(said, meta, options)
    return _of_ordinals(said, len(record.audios))


def _yes_or_no(word: str) -> tuple[str, ...]:
    return (word, "No" if word.lower() == "yes" else "Yes")


def _of_words(said: str, words: Sequence[str]) -> tuple[str, ...]:
    """The answer up to the word that decides; what explains it afterwards would give it away."""
    places = {w: m.start() for w in words if (m := re.search(rf"\b{w}\b", said, re.IGNORECASE))}
    if len(places) != 1:
        return ()
    (true, place), *_ = places.items()
    others = (w for w in words if w != true)
    return tuple(said[:place] + _cased(w, said[place]) for w in (true, *others))


def _of_options(said: str, meta: Any, options: Sequence[str]) -> tuple[str, ...]:
    if re.fullmatch(r"\W?[A-J]\W?", said) and isinstance(meta.get("correct"), int):
        letters = LETTERS[: len(options)]
        true = letters[meta["correct"]]
        return tuple(said.replace(true, x) for x in (true, *(x for x in letters if x != true)))
    true = meta.get("answer")
    if not isinstance(true, str) or true not in options:
        return ()
    place = said.lower().find(true.lower())
    if place < 0:
        return ()
    others = [o for o in options if o != true]
    return (said, *(said[:place] + _cased(o, said[place]) + said[place + len(true) :] for o in others))


def _cased(text: str, like: str) -> str:
    return text[:1].upper() + text[1:] if like.isupper() else text


def _of_ordinals(said: str, recordings: int) -> tuple[str, ...]:
    found = [w for w in ORDINALS[:recordings] if re.search(rf"\b{w}\b", said, re.IGNORECASE)]
    if recordings < 2 or len(found) != 1:
        return ()
    others = [w for w in ORDINALS[:recordings] if w != found[0]]
    return (said, *(re.sub(rf"\b{found[0]}\b", w, said, flags=re.IGNORECASE) for w in others))
