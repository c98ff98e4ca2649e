"""JSON in an answer: strict first, then repaired, with which of the two it was; bounded for any text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_TEXT = 262_144
"""Characters; an hour's words with times are about as long."""
STARTS, DEPTH = 32, 24
"""So many brackets may turn out to begin nothing; so deep may they be nested where repair is needed."""
_FENCE = re.compile(r"```[a-zA-Z]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_STARTS = re.compile(r"[\[{]")


@dataclass(frozen=True)
class Parsed:
    """A list or an object out of an answer."""

    value: Any
    """None: there is none."""
    rule: str
    """`json`, `repaired`, `none`, `too deep`."""


def json_in(text: str) -> Parsed:
    """The list in an answer, else its objects, code fences or not; what is cut off is repaired.

    >>> json_in('Here: [{"word": "hi", "start": 0.1}] as asked').value
    [{'word': 'hi', 'start': 0.1}]
    >>> json_in("[{'word': 'hi', 'start': 0.1}, {'word': 'th").rule, json_in("no events").rule
    ('repaired', 'none')
    """
    text = text[:LONGEST_TEXT]
    fenced = "\n".join(m[1] for m in _FENCE.finditer(text)) if "```" in text else ""
    source = fenced if _STARTS.search(fenced) else text
    if not (start := _STARTS.search(source)):
        return Parsed(None, "none")
    whole = list(_strict(source))
    lists = [f.value for f in whole if isinstance(f.value, list)]
    if lists:
        return Parsed(max(lists, key=lambda v: len(str(v)) if len(lists) > 1 else 0), "json")
    if whole and whole[0].start == start.start():
        return Parsed(whole[0].value if len(whole) == 1 else [f.value for f in whole], "json")
    if _deepest(source) > DEPTH:
        return Parsed(whole[0].value, "json") if whole else Parsed(None, "too deep")
    if repaired := _repaired(source[start.start() :]):
        return Parsed(repaired, "repaired")
    return Parsed(whole[0].value, "json") if whole else Parsed(None, "none")


@dataclass(frozen=True)
class _Whole:
    """A list or an object that is strict JSON."""

    value: Any
    start: int


def _deepest(text: str) -> int:
    """Depth of nesting if no bracket stands inside a text: more than there is, never less."""
    depth = most = 0
    for found in re.finditer(r"[\[{\]}]", text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        most = max(most, depth)
    return most


def _strict(text: str) -> Iterator[_Whole]:
    """Lists and objects, none inside another."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    end = failed = 0
    for found in _STARTS.finditer(text):
        if found.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, found.start())
        except ValueError:  # also an integer of thousands of digits
            if (failed := failed + 1) > STARTS:
                return
            continue
        except RecursionError:
            return
        yield _Whole(value, found.start())


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _repaired(text: str) -> Any:
    import json_repair

    try:
        found = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError, TypeError, IndexError):
        return None
    return found if isinstance(found, list | dict) else None
