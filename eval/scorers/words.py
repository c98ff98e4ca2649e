"""Words with their times: a word is found where it is said within a tolerance at both ends."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from eval.harness.items import StructuredWant
from eval.scorers.quantities import durations
from eval.scorers.records import Read, field_of, lines_of, objects_in, text_of, times_of
from eval.scorers.spans import Tally
from eval.text import simple

Word = tuple[str, float, float]
NAMES = ("word", "text", "token", "w")


def read_words(text: str) -> Read[Word]:
    """
    >>> read_words('[{"word": "Hello,", "start": 3.1, "end": "3.42"}]').value
    [('Hello,', 3.1, 3.42)]
    >>> read_words("hello 3.10 3.42\\nthere: 3.5-3.9").value
    [('hello', 3.1, 3.42), ('there', 3.5, 3.9)]
    """
    found, rule = objects_in(text)
    if found is not None:
        words = [w for w in map(_word, found) if w]
        if words or not found:
            return Read(words, rule, len(found) - len(words))
    words = [w for line in lines_of(text) if (w := _line(line))]
    return Read(words, "text") if words else Read(None, rule)


def wanted_words(want: StructuredWant) -> list[Word]:
    """The wanted words: triples, or objects with `word`, `start` and `end`."""
    found = [(w["word"], w["start"], w["end"]) if isinstance(w, dict) else w for w in want.answer]
    return [(str(word), float(start), float(end)) for word, start, end in found]


def _word(record: object) -> Word | None:
    if isinstance(record, dict):
        word = text_of(record, NAMES)
        times = times_of(record) or _pair(field_of(record, ("timestamp", "timestamps", "time", "times")))
    elif isinstance(record, list) and len(record) == 3 and isinstance(record[0], str):
        word, times = record[0].strip(), times_of({"start": record[1], "end": record[2]})
    else:
        return None
    return (word, *times) if word and times else None


def _pair(value: object) -> tuple[float, float] | None:
    return times_of({"start": value[0], "end": value[1]}) if isinstance(value, list) and len(value) == 2 else None


def _line(line: str) -> Word | None:
    """ "hello 3.10 3.42", "hello: 3.10-3.42" or "3.10 3.42 hello"."""
    found = re.match(r"^[\"'(]*([^\W\d]+(?:['’-][^\W\d]+)*)\W", line)
    word = found[1] if found else line.rsplit(maxsplit=1)[-1]
    times = durations(line)
    if len(times) != 2 or not 0 <= times[0].value <= times[1].value:
        return None
    return word, times[0].value, times[1].value


def word_tally(gold: Sequence[Word], said: Sequence[Word], tolerance_seconds: float = 0.2) -> Tally:
    """Words hit: the same word (letters and digits, small), start and end each within the tolerance.

    Taken in order of time, each with the first of its text that is near enough and not taken yet.

    >>> word_tally([("Hi", 0.0, 0.3), ("you", 0.4, 0.6)], [("hi,", 0.1, 0.4), ("you", 0.7, 0.9)])
    Tally(hits=1, extra=1, missed=1)
    """
    waiting: dict[str, list[Word]] = defaultdict(list)
    for word in sorted(gold, key=lambda w: w[1:]):
        waiting[spelling(word[0])].append(word)
    hits = 0
    for text, start, end in sorted(said, key=lambda w: w[1:]):
        rest = waiting[spelling(text)]
        near = tolerance_seconds + 1e-9
        while rest and rest[0][1] < start - near:
            rest.pop(0)  # too early for every later one, too
        for place, (_, gold_start, gold_end) in enumerate(rest):
            if gold_start - start > near:
                break
            if abs(end - gold_end) <= near:
                del rest[place]
                hits += 1
                break
    return Tally(hits, len(said) - hits, len(gold) - hits)


def spelling(word: str) -> str:
    """What must be equal for two words to be the same; of scripts without spaces and case, the text itself."""
    return simple(word) or "".join(c for c in word.lower() if c.isalnum())
