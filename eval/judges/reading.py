"""Grades out of what a judge says; None where it says none that is plain."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from eval.judges.prompting import JudgePrompt

LONGEST = 8000
_NUMBER = r"(?<![\w.])(\d{1,3}(?:\.\d{1,4})?)(?!\w|\.\d)"
_SCALE = re.compile(
    r"\(?\b(?:on a |in a )?(?:scale|range) (?:of|from) \d+ ?(?:-|–|to) ?\d+\)?|\b\d+ ?(?:-|–) ?\d+ scale\b",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    rf"\b(?:grade|score|rating|overall|mark)\b[\s\"'*_]*(?:is|of|:|=|-|would be)?[\s\"'*_\[(]*{_NUMBER}"
    r"(?:\s*(?:/|out of)\s*(\d{1,3}))?",
    re.IGNORECASE,
)
_SHARE = re.compile(rf"{_NUMBER}\s*(?:/|out of)\s*(\d{{1,3}})(?!\d)", re.IGNORECASE)
_NUMBERED = re.compile(
    rf"\b(?:assistant|reply|answer)\s*([12])\b[\s*_]*(?:'s score)?[\s*_:=is-]*{_NUMBER}", re.IGNORECASE
)
_KEYS = ("grade", "score", "rating", "overall", "mark", "result")


def grade_in(text: str, scale: tuple[float, float]) -> float | None:
    """One grade on the scale: labelled ("Score: 4"), as a share ("4/5"), in JSON, or the only number there is.

    >>> [grade_in(t, (1, 5)) for t in ("4/5", "Score: 4", '{"score": 4}', "**Grade: 4.5**", "4", "I give it a 4.")]
    [4.0, 4.0, 4.0, 4.5, 4.0, 4.0]
    >>> [grade_in(t, (1, 5)) for t in ("8/10", "Score: 7", "between 2 and 4", "good", "On a scale of 1 to 5: 3")]
    [None, None, None, None, 3.0]
    """
    text = _SCALE.sub(" ", text[:LONGEST])
    if (found := _from_json(text)) is not None:
        return _within(found, scale)
    labelled = [(m[1], m[2]) for m in _LABELLED.finditer(text)]
    shares = [(m[1], m[2]) for m in _SHARE.finditer(text)]
    for pairs in (labelled, shares):
        values = {_within(float(v), scale) if not of or float(of) == scale[1] else None for v, of in pairs}
        if values:
            return values.pop() if len(values) == 1 else None
    numbers = {float(n) for n in re.findall(_NUMBER, text)}
    return _within(numbers.pop(), scale) if len(numbers) == 1 else None


def _from_json(text: str) -> float | None:
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        return None
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    record = {str(k).lower(): v for k, v in found.items()} if isinstance(found, dict) else {}
    value = next((record[k] for k in _KEYS if k in record), None)
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,3}(?:\.\d{1,4})?\s*", value):
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _within(value: float, scale: tuple[float, float]) -> float | None:
    return float(value) if scale[0] <= value <= scale[1] else None


def pair_in(text: str, scale: tuple[float, float]) -> tuple[float, float] | None:
    """Two grades: alone on the first line that holds a number, or labelled 1 and 2.

    >>> pair_in("8 6\\nThe first ...", (1, 10)), pair_in("Assistant 1: 8\\nAssistant 2: 6", (1, 10))
    ((8.0, 6.0), (8.0, 6.0))
    >>> pair_in("8/10, 6/10", (1, 10)), pair_in("8", (1, 10)), pair_in("Both are good: 11 6", (1, 10))
    ((8.0, 6.0), None, None)
    """
    text = _SCALE.sub(" ", text[:LONGEST])
    labelled = _NUMBERED.findall(text)
    values: list[float] = []
    if {k for k, _ in labelled} == {"1", "2"} and len(labelled) == 2:
        values = [float(v) for _, v in sorted(labelled)]
    else:
        lines = [line for line in text.splitlines() if re.search(r"\d", line)]
        plain = re.sub(rf"(\d)\s*/\s*{scale[1]:g}\b", r"\1", lines[0]) if lines else ""
        if not re.search(r"[a-z]{2}", plain.lower().replace("and", "")):
            values = [float(v) for v in re.findall(_NUMBER, plain)]
    if len(values) != 2 or any(_within(v, scale) is None for v in values):
        return None
    return values[0], values[1]


def axes_in(text: str, axes: Sequence[str], scale: tuple[float, float]) -> float | None:
    """The grade called overall, else the mean of all; None where one is missing.

    >>> axes_in("Logic: 4/5\\n**Clarity**: 3 - fine", ("logic", "clarity"), (1, 5))
    3.5
    >>> axes_in('{"logic": 4, "clarity": 2}', ("logic", "clarity"), (1, 5))
    3.0
    >>> axes_in("Logic: 4", ("logic", "clarity"), (1, 5))
    """
    text = _SCALE.sub(" ", text[:LONGEST])
    found = {}
    for axis in axes:
        values = re.findall(rf"\b{re.escape(axis)}\b[\s\"'*_]*[:=-]?[\s\"'*_\[(]*{_NUMBER}", text, re.IGNORECASE)
        distinct = {_within(float(v), scale) for v in values}
        if len(distinct) == 1 and (value := distinct.pop()) is not None:
            found[axis] = value
    if "overall" in found:
        return found["overall"]
    wanted = [a for a in axes if a != "overall"]
    return sum(found[a] for a in wanted) / len(wanted) if all(a in found for a in wanted) else None


def points_in(text: str, count: int) -> float | None:
    """Share of the points that are met; None unless each of them is judged.

    >>> points_in("1: 1\\n2: 0", 2), points_in('{"1": 1, "2": 1}', 2), points_in("[1, 0, 0]", 3), points_in("1: 1", 2)
    (0.5, 1.0, 0.3333333333333333, None)
    """
    text = text[:LONGEST]
    numbered = dict(re.findall(r"(?<!\d)(\d{1,2})[\"'.)]?\s*[:=-]\s*[\"'*_]*([01])(?![\d.])", text))
    if set(numbered) == {str(i + 1) for i in range(count)}:
        return sum(map(int, numbered.values())) / count
    listed = re.fullmatch(r"\D*\[?\s*([01](?:\s*[, ]\s*[01])*)\s*\]?\D*", text.strip())
    values = re.findall(r"[01]", listed[1]) if listed else []
    return sum(map(int, values)) / count if count and len(values) == count else None


def yes_in(text: str) -> float | None:
    """1 for yes, 0 for no; None where neither or both are said.

    >>> yes_in("Yes."), yes_in("**no**, it did not"), yes_in("yes and no"), yes_in("perhaps")
    (1.0, 0.0, None, None)
    """
    words = re.findall(r"[a-z]+", re.sub(r"\bno (?:idea|comment|opinion)\b", " ", text[:LONGEST].lower()))
    if words and words[0] in ("yes", "no"):
        other = "no" if words[0] == "yes" else "yes"
        return None if other in words[:4] else float(words[0] == "yes")
    said = {w for w in words if w in ("yes", "no")}
    return float(said == {"yes"}) if len(said) == 1 else None


def verdict_in(text: str) -> float | None:
    """1 where reply 1 is better, 0 where reply 2 is, 0.5 for a tie.

    >>> verdict_in("1"), verdict_in("Reply 2 is better."), verdict_in("Tie"), verdict_in("1 or 2")
    (1.0, 0.0, 0.5, None)
    """
    said = set(re.findall(r"\btie\b|(?<![\d.])[12](?![\d.]*\d)", text[:LONGEST].lower()))
    return {"1": 1.0, "2": 0.0, "tie": 0.5}[said.pop()] if len(said) == 1 else None


def reader(prompt: JudgePrompt, order: int = 0, points: int = 0) -> Callable[[str], float | None]:
    """How replies to this prompt are read: the grade of the answer, which is shown first where `order` is 1.

    In a pair the reference comes first and the answer second, unless they are swapped.
    """
    readers: dict[str, Callable[[str], Any]] = {
        "grade": lambda t: grade_in(t, prompt.scale),
        "pair": lambda t: (found := pair_in(t, prompt.scale)) and found[1 - order],
        "axes": lambda t: axes_in(t, prompt.axes, prompt.scale),
        "points": lambda t: points_in(t, points),
        "yes": yes_in,
        "verdict": lambda t: None if (found := verdict_in(t)) is None else found if order else 1 - found,
    }
    return readers[prompt.reads]
