"""Objects that a model writes - spans, words, events, entities - under whatever names it gives their fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from eval.scorers.from_json import json_in
from eval.scorers.quantities import seconds_of

T = TypeVar("T")
LONGEST_LINES = 200_000
"""Characters of an answer without JSON that is read line by line."""
MOST = 100_000
"""Records of one answer that are looked at."""
START = ("start", "starttime", "startseconds", "startsec", "begin", "onset", "from")
END = ("end", "endtime", "endseconds", "endsec", "stop", "offset", "finish", "to")
_NOTHING = re.compile(
    r"^\W*(?:there (?:are|is|were) )?(?:none|nothing|n/?a|empty|(?:no|not any)\b[^.\n]{0,80})\W*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Read(Generic[T]):
    """A list of records out of an answer."""

    value: list[T] | None
    """None: the answer holds none that can be read; empty: it says that there are none."""
    rule: str
    dropped: int = 0
    """Objects in which something is missing."""


def says_nothing(text: str) -> bool:
    """
    >>> says_nothing("None."), says_nothing("There are no advertisements."), says_nothing("No, it starts at 0:10")
    (True, True, False)
    """
    return bool(_NOTHING.match(text)) and not re.search(r"\d", text)


def objects_in(text: str) -> tuple[list[Any] | None, str]:
    """The list in an answer: itself, or the only list of an object, or an object alone."""
    parsed = json_in(text)
    value = parsed.value
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and all(isinstance(x, dict | list) for x in v)]
        value = lists[0] if len(lists) == 1 else [value]
    return (value[:MOST], parsed.rule) if isinstance(value, list) else (None, parsed.rule)


def field_of(record: Mapping[Any, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields that the object has; names are compared by their letters."""
    plain = {_letters(k): v for k, v in record.items() if isinstance(k, str)}
    return next((plain[n] for n in names if n in plain), None)


@lru_cache(maxsize=4096)
def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def times_of(record: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Start and end in seconds; None where one is missing, negative, or they are in the wrong order."""
    start, end = seconds_of(field_of(record, START)), seconds_of(field_of(record, END))
    if start is None or end is None or start < 0 or end < start:
        return None
    return start, end


def text_of(record: Mapping[Any, Any], names: tuple[str, ...]) -> str:
    found = field_of(record, names)
    return found.strip() if isinstance(found, str) else ""


def lines_of(text: str) -> Iterator[str]:
    """Lines without bullets and numbering."""
    for line in text[:LONGEST_LINES].splitlines()[:MOST]:
        if plain := re.sub(r"^\s*(?:[-*•]\s+|\d{1,4}[.)]\s+)", "", line).strip():
            yield plain
