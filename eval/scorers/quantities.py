"""Numbers, clocks, durations and ranges in free text.

A reader gives one value or none: where an answer names several different ones and does not say which it means, it is
unread, not guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

LONGEST_TEXT = 10_000
"""Characters in which a number is looked for; what comes after is not looked at."""
LARGEST = 1e12

_TOKEN = re.compile(
    r"(?P<clock>(?<![\w:.,])\d{1,4}(?::[0-5]?\d){1,2}(?:[.,]\d{1,6})?(?![\d:]))"
    r"|(?P<digits>(?:(?<![\w.,:])|(?<=\d[hm])|(?<=[分时钟]))[-+−]?(?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,15})?(?![.,:]?\d))"
    r"|(?P<word>[^\W\d_]+)"
    r"|(?P<other>\S)"
)
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_ONES = f"zero one two three four five six seven eight nine ten {_TEENS}"
_SMALL = {w: float(i) for i, w in enumerate(_ONES.split())}
_TENS = {w: 10.0 * i for i, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6}
_TIMES = {"once": 1.0, "twice": 2.0, "thrice": 3.0}
_ORDINALS = ("st", "nd", "rd", "th")
SECONDS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds", "毫秒"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒", "秒钟"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分", "分钟"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时"), 3600.0),
}
_CUE = re.compile(r"\b(?:answers?|total|altogether|therefore|thus|hence|so)\b|[=:](?=\s)|\*\*(?=\S)", re.IGNORECASE)
_JOINERS = ("to", "or", "and", "through", "至", "到")
_JOINT = re.compile(rf"\s*(?:-|–|—|~|{'|'.join(_JOINERS)})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """A number as it stands in a text."""

    value: float
    unit: str
    """The word after it, in lower case; `clock` where it is written 1:23."""
    start: int
    end: int
    """Places in the text, the unit included."""
    weak: bool = False
    """The word "one", which need not be a number."""


@dataclass(frozen=True)
class Found:
    """What a reader makes of an answer."""

    value: float | None
    rule: str
    """`only`, `marked` (after "the answer is", "so" ...), `none` or `several`."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def clock(text: str) -> float | None:
    """Seconds of `mm:ss`, `h:mm:ss` or plain seconds, and of nothing else.

    >>> clock("12:34"), clock("1:02:03"), clock("30.0"), clock("12:34.5"), clock("1:75"), clock("soon")
    (754.0, 3723.0, 30.0, 754.5, None, None)
    """
    found = re.fullmatch(r"\s*(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,12}(?:[.,]\d{1,9})?)\s*(?:s|sec|seconds)?\s*", text)
    if not found:
        return None
    hours, minutes, seconds = float(found[1] or 0), float(found[2] or 0), float(found[3].replace(",", "."))
    if (found[2] and seconds >= 60) or (found[1] and minutes >= 60):
        return None
    return hours * 3600 + minutes * 60 + seconds


def seconds_of(value: object) -> float | None:
    """A time as a model writes it in JSON: a number of seconds, a clock, or words such as "1 min 5 s".

    >>> seconds_of(3.5), seconds_of("0:03"), seconds_of("1 min 5 s"), seconds_of(True), seconds_of(float("nan"))
    (3.5, 3.0, 65.0, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _sane(value)
    if not isinstance(value, str):
        return None
    plain = clock(value)
    return plain if plain is not None else seconds_in(value).value


def _sane(value: float) -> float | None:
    return float(value) if abs(value) < LARGEST else None  # false for NaN, too


def quantities(text: str) -> list[Quantity]:
    """All numbers in a text, in digits, words or as clocks; ordinals ("2nd") are none.

    >>> [(q.value, q.unit) for q in quantities("Twenty-five dogs bark 3 times, at 1:30, for the 2nd day")]
    [(25.0, 'dogs'), (3.0, 'times'), (90.0, 'clock')]
    """
    text = text[:LONGEST_TEXT]
    tokens = [_Token(m.lastgroup or "", m[0], m.start(), m.end()) for m in _TOKEN.finditer(text)]
    found, at = [], 0
    while at < len(tokens):
        value, used = _value_at(tokens, at)
        if value is None:
            at += 1
            continue
        if (one := _quantity(text, tokens, at, used, value)) is not None:
            found.append(one)
        at += used
    return found


def _quantity(text: str, tokens: Sequence[_Token], at: int, used: int, value: float) -> Quantity | None:
    first, last = tokens[at], tokens[at + used - 1]
    if first.kind == "clock":
        return Quantity(value, "clock", first.start, last.end)
    after = tokens[at + used] if at + used < len(tokens) else None
    apart = after is None or after.kind != "word" or bool(text[last.end : after.start].strip(" -"))
    if after is None or apart or after.text.lower() in _JOINERS:
        unit, end = "", last.end
    else:
        unit, end = after.text.lower(), after.end
    if first.kind == "digits" and unit in _ORDINALS and end - last.end == len(unit):
        return None
    if unit and _says_half(tokens, at + used + 1):  # "a minute and a half"
        value, end = value + 0.5, tokens[at + used + 3].end
    return Quantity(value, unit, first.start, end, weak=used == 1 and first.text.lower() == "one")


def _value_at(tokens: Sequence[_Token], at: int) -> tuple[float | None, int]:
    """The number that starts at this token, and how many tokens it takes."""
    token = tokens[at]
    if token.kind == "clock":
        return clock(token.text), 1
    if token.kind == "digits":
        value = _sane(float(token.text.replace(",", "").replace("−", "-")))
        return _with_half(tokens, at, value, 1)
    if token.kind != "word":
        return None, 1
    words = token.text.lower()
    if words in _TIMES:
        return _TIMES[words], 1
    if words in ("a", "an", "half"):
        return _part_of_unit(tokens, at)
    value, used = _spelled(tokens, at)
    return _with_half(tokens, at, value, used)


def _part_of_unit(tokens: Sequence[_Token], at: int) -> tuple[float | None, int]:
    """ "a minute" is 1, "half a minute" and "half an hour" are 0.5."""
    rest = [t.text.lower() for t in tokens[at : at + 3]]
    if len(rest) > 1 and rest[0] in ("a", "an") and rest[1] in ("minute", "hour"):
        return 1.0, 1
    if len(rest) == 3 and rest[0] == "half" and rest[1] in ("a", "an") and rest[2] in SECONDS:
        return 0.5, 2
    return None, 1


def _spelled(tokens: Sequence[_Token], at: int) -> tuple[float | None, int]:
    """A number in English words: "two", "twenty-five", "one hundred and five", "three thousand"."""
    total, part, used, last = 0.0, 0.0, 0, math.inf
    for place in range(at, min(at + 24, len(tokens))):
        word = tokens[place].text.lower()
        if word in _SMALL and last > 9 and (last != 10 or _SMALL[word] < 10):
            part, last = part + _SMALL[word], 1
        elif word in _TENS and last > 10:
            part, last = part + _TENS[word], 10
        elif word in _SCALES and used and last != math.inf and part:
            scale = _SCALES[word]
            total, part = (total, part * scale) if scale == 100 else (total + part * scale, 0.0)
            last = 100 if scale == 100 else 1000
        elif used and word in ("and", "-") and _continues(tokens, place, last):
            continue
        else:
            break
        used = place - at + 1
    return (total + part, used) if used else (None, 1)


def _continues(tokens: Sequence[_Token], place: int, last: float) -> bool:
    """Whether a number goes on after "and" or a hyphen: "hundred and five", "twenty-five", not "two and three"."""
    after = tokens[place + 1].text.lower() if place + 1 < len(tokens) else ""
    if tokens[place].text == "-":
        return last == 10 and after in _SMALL and 0 < _SMALL[after] < 10
    return last >= 100 and (after in _SMALL or after in _TENS)


def _with_half(tokens: Sequence[_Token], at: int, value: float | None, used: int) -> tuple[float | None, int]:
    if value is not None and _says_half(tokens, at + used):
        return value + 0.5, used + 3
    return value, used


def _says_half(tokens: Sequence[_Token], at: int) -> bool:
    return [t.text.lower() for t in tokens[at : at + 3]] == ["and", "a", "half"]


def durations(text: str, bare_seconds: float = 1.0) -> list[Quantity]:
    """Times in a text, in seconds: "1 h 2 min 3 s" is one; beside them, numbers that nothing counted follows.

    Args:
        bare_seconds: what a number without a unit means; 60 where minutes were asked for.
    """
    found = list(_units_shared(text, quantities(text)))
    if timed := [_timed(q) for q in found if q.unit == "clock" or q.unit in SECONDS]:
        bare = [replace(q, value=q.value * bare_seconds) for q in found if q.unit == "" and not q.weak]
        return sorted([*_added(text, timed), *bare], key=lambda q: q.start)
    return [replace(q, value=q.value * bare_seconds, unit="") for q in _strong(found)]


def _units_shared(text: str, found: Sequence[Quantity]) -> Iterator[Quantity]:
    """In "10 to 20 s" both are seconds; in "2 minutes 30" the last is seconds."""
    for place, one in enumerate(found):
        after = found[place + 1] if place + 1 < len(found) else None
        before = found[place - 1] if place else None
        if one.unit == "" and after and after.unit in SECONDS and _JOINT.fullmatch(text, one.end, after.start):
            yield replace(one, unit=after.unit)
        elif one.unit == "" and before and before.unit in SECONDS and not text[before.end : one.start].strip():
            smaller = {60.0: "s", 3600.0: "min"}.get(SECONDS[before.unit], "")
            yield replace(one, unit=smaller)
        else:
            yield one


def _timed(found: Quantity) -> Quantity:
    return replace(found, value=found.value * (1.0 if found.unit == "clock" else SECONDS[found.unit]))


def _added(text: str, timed: Sequence[Quantity]) -> Iterator[Quantity]:
    """Parts of one duration added up: each in a smaller unit, with nothing but "and" or a comma between."""
    held: Quantity | None = None
    for one in timed:
        if held and _goes_on(text, held, one):
            held = Quantity(held.value + one.value, one.unit, held.start, one.end)
        else:
            if held:
                yield held
            held = one
    if held:
        yield held


def _goes_on(text: str, held: Quantity, one: Quantity) -> bool:
    if "clock" in (held.unit, one.unit) or SECONDS[held.unit] <= SECONDS[one.unit]:
        return False
    return text[held.end : one.start].strip(" ,.\t") in ("", "and")


def _strong(found: Sequence[Quantity]) -> list[Quantity]:
    return [q for q in found if not q.weak] or list(found)


def seconds_in(text: str, bare_seconds: float = 1.0) -> Found:
    """The time that an answer gives, in seconds.

    >>> [seconds_in(t).value for t in ("12:34", "1:02:03", "30.0", "about 30 seconds", "2 min and 5 s", "1:30 (90 s)")]
    [754.0, 3723.0, 30.0, 30.0, 125.0, 90.0]
    >>> seconds_in("from 10 to 40 s, so 30 s").value, seconds_in("10 or 20 s").value, seconds_in("2", 60).value
    (30.0, None, 120.0)
    """
    return _one_of(text, lambda part: durations(part, bare_seconds), same_seconds=1.0)


def number_in(text: str, nouns: Sequence[str] = ()) -> Found:
    """The number that an answer gives; those before one of the nouns come first.

    >>> [number_in(t).value for t in ("3", "There are three.", "2 or 3", "1,234", "-4.5", "mp3", "twenty-five")]
    [3.0, 3.0, None, 1234.0, -4.5, None, 25.0]
    >>> number_in("In 51 minutes there are 3 speakers", ("speakers",)).value
    3.0
    """

    def look(part: str) -> list[Quantity]:
        found = quantities(part)
        return [q for q in found if q.unit in nouns] or _strong(found)

    return _one_of(text, look)


def _one_of(text: str, look: Callable[[str], list[Quantity]], same_seconds: float = 0.0) -> Found:
    found = look(text)
    if not found:
        return Found(None, "none")
    if _alike(found, same_seconds):
        return Found(found[0].value, "only")
    for cue in reversed(list(_CUE.finditer(text[:LONGEST_TEXT]))[-16:]):
        if marked := look(text[cue.end() :]):
            return Found(marked[0].value, "marked") if _alike(marked, same_seconds) else Found(None, "several")
    return Found(None, "several")


def _alike(found: Sequence[Quantity], same: float) -> bool:
    """All the same; "95.4 seconds (1:35)" is, too, since a clock without fractions is rounded."""
    values = [q.value for q in found]
    clocks = {q.unit == "clock" for q in found}
    return max(values) - min(values) <= (same * (1 - 1e-9) if clocks == {True, False} else 0.0)


def range_in(text: str, nouns: Sequence[str] = (), bare_seconds: float | None = None) -> tuple[float, float] | None:
    """A range, or one number as a range of no width; times in seconds where `bare_seconds` is given.

    >>> range_in("2-3 speakers"), range_in("between 20 and 30 years"), range_in("4"), range_in("1, 2, 5")
    ((2.0, 3.0), (20.0, 30.0), (4.0, 4.0), None)
    """
    found = quantities(text) if bare_seconds is None else durations(text, bare_seconds)
    if len(found) > 2 and any(q.unit in nouns for q in found):
        found = found[: max(i for i, q in enumerate(found) if q.unit in nouns) + 1][-2:]
    if len(found) == 2:
        first, second = found
        if first.value <= second.value and _JOINT.fullmatch(text, first.end, second.start):
            return first.value, second.value
    one = number_in(text, nouns) if bare_seconds is None else seconds_in(text, bare_seconds)
    return None if one.value is None else (one.value, one.value)
