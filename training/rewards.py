"""Rewards that can be checked: one where an answer says what the record knows to be true, and none otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from data_prep.records import Record

_NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()
_NUMBER = re.compile(rf"\b(\d+|{'|'.join(_NUMBERS)}|zero)\b", re.IGNORECASE)


def checkable(record: Record) -> bool:
    """Whether an answer to the record's last question can be told right or wrong: options, yes or no, whole numbers."""
    right = record.meta.get("answer")
    if isinstance(right, str):
        return right in ("yes", "no") or right in (record.meta.get("options") or ())
    return isinstance(right, int) and not isinstance(right, bool)


def askable(records: Iterable[Record]) -> list[Record]:
    """Those of the training split whose answers can be checked."""
    return [r for r in records if r.split == "train" and checkable(r)]


def reward(record: Record, said: str) -> float:
    """1.0 if the answer is right and nothing else is said, else 0.0.

    Right is the first word for yes and no, the only number that is named for whole numbers, and for questions with
    options the right one, with none of the others beside it: an answer that names them all earns nothing.
    """
    right, options = record.meta.get("answer"), [str(o) for o in record.meta.get("options") or ()]
    if isinstance(right, int):
        return float({_as_number(n) for n in _NUMBER.findall(said)} == {right})
    if right in options:
        return float(_named(options, said) == {right})
    first = re.match(r"\W*(\w+)", said)
    return float(first is not None and first[1].lower() == right)


def _as_number(word: str) -> int:
    return int(word) if word.isdigit() else 0 if word.lower() == "zero" else _NUMBERS.index(word.lower())


def _named(options: Sequence[str], said: str) -> set[str]:
    """The options that the answer names; one inside a longer one that is named, too, does not count."""
    rest, found = said, set()
    for option in sorted(options, key=len, reverse=True):
        rest, count = re.subn(rf"(?<!\w){re.escape(option)}(?!\w)", " ", rest, flags=re.IGNORECASE)
        if count:
            found.add(option)
    return found
