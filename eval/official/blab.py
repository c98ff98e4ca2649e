"""BLAB (Brutally Long Audio Bench): words, spans and numbers; what its script cannot read is left unread.

The published script joins rows by recording and prompt, drops what does not join, and stops with an error at some
answers. Such answers are left out of its own denominator here, and are wrong in ours.
"""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from eval.harness.items import Item, StructuredWant
from eval.kinds.base import Measure, Row, Surroundings
from eval.official.base import Official
from eval.official.tallied import Ruled, Tallied
from eval.scorers.spans import Tally, frame_tally, wanted_spans
from eval.scorers.totals import TALLY, Totals, f1, precision, recall
from eval.scorers.words import wanted_words

OFFSET_SECONDS, WORD_SECONDS, FRAME_SECONDS = 2.0, 0.2, 0.01
LONGEST = 262_144
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
SPAN_NAMES = ("entity", "advertisement")
OFFICIAL_TALLY = tuple(f"official_{n}" for n in TALLY)


class _StopsError(ValueError):
    """The published script ends with an error at this answer."""


# --- lists of objects ---


def loaded(text: str) -> Any:
    """What the JSON repairer makes of an answer; the script gives it the whole text."""
    import json_repair

    try:
        return json_repair.loads(text[:LONGEST])
    except (ValueError, RecursionError, TypeError, IndexError):
        return None


def _words_tally(want: StructuredWant, text: str) -> Tally:
    """Greedy in the order said: the first wanted word with the same letters and both ends near enough."""
    found = loaded(text) if text and text != "None" else None
    rows = [r for r in found if isinstance(r, dict)] if isinstance(found, list) else []
    said = [(_spelt(r["word"]), _plain_number(r["start"]), _plain_number(r["end"])) for r in rows if _whole(r)]
    waiting: dict[str, list[tuple[float | None, float | None]]] = defaultdict(list)
    for word, start, end in wanted_words(want):
        waiting[_spelt(word)].append((start, end))
    hits = sum(_taken(waiting[word], start, end) for word, start, end in said)
    return Tally(hits, len(said) - hits, len(want.answer) - hits)


def _whole(row: dict[str, Any]) -> bool:
    return all(k in row and row[k] not in (None, "") for k in ("word", "start", "end")) and isinstance(row["word"], str)


def _spelt(word: str) -> str:
    return word.translate(_NO_PUNCTUATION)


def _plain_number(value: Any) -> float | None:
    """Numbers; texts of digits alone, so that "1.2" is none."""
    if isinstance(value, int | float):
        return float(value)
    return float(value) if isinstance(value, str) and value.isdigit() else None


def _taken(waiting: list[tuple[float | None, float | None]], start: float | None, end: float | None) -> bool:
    if start is None or end is None:
        return False
    for place, (a, b) in enumerate(waiting):
        if a is not None and b is not None and abs(start - a) <= WORD_SECONDS and abs(end - b) <= WORD_SECONDS:
            del waiting[place]
            return True
    return False


def _spans_tally(want: StructuredWant, text: str) -> Tally:
    """Frames of 10 ms; what is said after the end of the last word of the recording is cut off.

    `options.words_end` is that end; where nobody says it, the end of the last wanted span stands in for it.
    """
    gold, said = wanted_spans(want), _said_spans(text)
    if not said:
        return Tally(0, 0, sum(_frame(b) - _frame(a) for a, b in gold))
    last_word = float(want.options.get("words_end") or max((b for _, b in gold), default=0.0))
    frames = _frame(max(said[-1][0], last_word))
    return frame_tally(_cut(gold, frames), _cut(said, frames))


def _frame(seconds: float) -> int:
    return int(seconds / FRAME_SECONDS)


def _cut(spans: Sequence[tuple[float, float]], frames: int) -> list[tuple[int, int]]:
    """As slices of an array of `frames` frames; a negative edge counts from the end."""
    found = [slice(_frame(a), _frame(b)).indices(frames) for a, b in spans]
    return [(start, stop) for start, stop, _ in found]


def _said_spans(text: str) -> list[tuple[float, float]]:
    if not text or text == "None":
        return []
    found = loaded(text.replace("\\", ""))
    if not isinstance(found, list) or not all(isinstance(r, dict) and r for r in found):
        return []
    named = [(r, next((r[k] for k in SPAN_NAMES if isinstance(r.get(k), str)), "")) for r in found]
    kept = [r for r, name in named if name.translate(_NO_PUNCTUATION)]
    times = [(_span_time(r.get("start")), _span_time(r.get("end"))) for r in kept]
    return [(a, b) for a, b in times if a is not None and b is not None]


_SPAN_TIMES: tuple[tuple[re.Pattern[str], tuple[int, ...]], ...] = (
    (re.compile(r"(\d+):(\d+)"), (1,)),
    (re.compile(r"(\d+):(\d+)\.(\d+)"), (60, 1)),
    (re.compile(r"(\d+):(\d+):(\d+)"), (60, 1)),
    (re.compile(r"(\d+):(\d+):(\d+)\.(\d+)"), (3600, 60, 1)),
    (re.compile(r"(\d+)\.(\d+)\.(\d+)"), (60, 1)),
)
"""What the numbers but the last are worth in seconds; the last is thousandths, whatever it was meant as."""


def _span_time(value: Any) -> float | None:
    """The script's clock, which takes 12:34 for 12.034 s; None: the row is dropped.

    >>> round(_span_time("12:34"), 3), round(_span_time("1:02:03"), 3), _span_time("soon")
    (12.034, 62.003, None)
    """
    if value is None or value == "":
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        raise _StopsError("a time that is a list or an object")
    if not value.replace(":", "").replace(".", "").isdigit():
        return None
    try:
        return float(value)
    except ValueError:
        pass
    for pattern, weights in _SPAN_TIMES:
        if found := pattern.fullmatch(value):
            *numbers, thousandths = (int(n[:12]) for n in found.groups())
            return sum(n * w for n, w in zip(numbers, weights, strict=True)) + thousandths / 1000
    raise _StopsError(f"time {value!r}")


# --- numbers ---


def first_integer(text: str) -> int | None:
    """The first whole number that stands free.

    >>> first_integer("2 or 3"), first_integer("three"), first_integer("3.5"), first_integer("30s")
    (2, None, 3, None)
    """
    found = re.search(r"\b\d+\b", text)
    return int(found[0][:15]) if found else None


def _speakers(want: StructuredWant, text: str) -> Ruled:
    """The first free-standing whole number, equal or within the range."""
    said = first_integer(text)
    if isinstance(want.answer, list | tuple):
        low, high = want.answer
        if said is None:
            raise _StopsError("no number against a range")
        return Ruled(float(low <= said <= high))
    return Ruled(float(said == want.answer))


def _duration(want: StructuredWant, text: str) -> Ruled:
    """Of the recording the first free-standing whole number; `options.asked_unit` makes it that of an event."""
    return _event_duration(want, text) if "asked_unit" in want.options else _near(want, first_integer(text))


def _event_duration(want: StructuredWant, text: str) -> Ruled:
    """Seconds: MM:SS and MM.SS, so that 30.0 is half an hour; minutes: the first whole number."""
    said = text.strip().strip(".")
    if want.options["asked_unit"] == "minutes":
        minutes = first_integer(said)
        if minutes is None:
            raise _StopsError("no whole number")
        return _near(want, minutes * 60)
    return _near(want, abs(int(_minutes_and_seconds(said))))


def _minutes_and_seconds(said: str) -> float:
    mark = next((m for m in ":." if m in said), "")
    try:
        if not mark:
            return int(said[:4000])
        minutes, seconds = map(float, said.split(mark))
        return minutes * 60 + seconds
    except ValueError:
        raise _StopsError(f"duration {said[:40]!r}") from None


def _near(want: StructuredWant, said: int | None) -> Ruled:
    """Exactly right; the second figure allows two seconds."""
    if said is None:
        raise _StopsError("no number against a tolerance")
    gold = float(want.answer)
    near = abs(said - gold) <= OFFSET_SECONDS if gold > 0 else said == gold
    return Ruled(float(said == gold), parts={"within_offset": float(near), "asked": 1.0})


# --- rules ---


def _numbers(rule: Callable[[StructuredWant, str], Ruled]) -> Callable[[Item, str | None], Ruled]:
    def tally(item: Item, text: str | None) -> Ruled:
        assert isinstance(item.want, StructuredWant)
        try:
            return rule(item.want, text) if text is not None else Ruled(0.0, False, {"asked": 1.0})
        except (_StopsError, OverflowError):
            return Ruled(0.0, False, {"asked": 1.0})

    return tally


def _tallies(rule: Callable[[StructuredWant, str], Tally]) -> Callable[[Item, str | None], Ruled]:
    def tally(item: Item, text: str | None) -> Ruled:
        assert isinstance(item.want, StructuredWant)
        try:
            return Ruled(counted=text is not None, parts=rule(item.want, text or "").parts())
        except (_StopsError, OverflowError, ValueError):
            return Ruled(counted=False, parts=rule(item.want, "").parts())

    return tally


def _offset(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    totals = Totals(rows, ("official_within_offset",))
    value = totals.estimate(lambda s: s["official_within_offset"] / max(1, len(rows)))
    return [Measure("official_offset", f"benchmark's rule, within {OFFSET_SECONDS:g} s", value)]


def tally_measures(what: str) -> Callable[[Sequence[Row], Surroundings], list[Measure]]:
    """F1, precision and recall over all rows, and F1 over those that the published script would count."""

    def together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        totals, name = Totals(rows, OFFICIAL_TALLY), "official_"
        found = [
            Measure("official", f"benchmark's {what} F1", totals.estimate(f1(name))),
            Measure("official_precision", f"benchmark's {what} precision", totals.estimate(precision(name))),
            Measure("official_recall", f"benchmark's {what} recall", totals.estimate(recall(name))),
        ]
        kept = [r for r in rows if not r.scored.parts.get("left_out")]
        if len(kept) < len(rows):
            note = f"the published script leaves {len(rows) - len(kept)} of {len(rows)} rows out, or stops at them"
            value = Totals(kept, OFFICIAL_TALLY).estimate(f1(name))
            found.append(Measure("official_kept", f"benchmark's {what} F1, its denominator", value, note=note))
        return found

    return together


_STOPS = "the published script stops at answers that it cannot read"
RULES: tuple[Official, ...] = (
    Tallied(
        "blab-words",
        "The same word after punctuation is removed (case kept), both ends within 0.2 s; times in quotes with a point "
        "are none.",
        together=tally_measures("word"),
        tally=_tallies(_words_tally),
    ),
    Tallied(
        "blab-spans",
        "10 ms frames covered; 12:34 is 12.034 s; frames after the last word of the recording are cut off.",
        together=tally_measures("frame"),
        tally=_tallies(_spans_tally),
    ),
    Tallied(
        "blab-count",
        f'The first whole number ("2 or 3" is 2, "three" none), equal or within the range; {_STOPS} against a range.',
        tally=_numbers(_speakers),
    ),
    Tallied(
        "blab-duration",
        "The first whole number of seconds; of an event seconds as a whole number, MM:SS or MM.SS (30.0 is 1800 s), "
        f"minutes as the first whole number; {_STOPS}.",
        together=_offset,
        tally=_numbers(_duration),
    ),
)
