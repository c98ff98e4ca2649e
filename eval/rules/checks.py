"""The constraints by name: those of MMAU-Pro's instruction following, and a few of their kin.

Names are MMAU-Pro's task identifiers in lower case with hyphens; arguments are called as there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from eval.rules import counting

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]


def _number(arguments: Arguments, name: str = "N") -> int:
    return int(arguments[name])


def _exactly(count: Callable[[str], int]) -> Check:
    return lambda text, a: count(text) == _number(a)


def _at_least(count: Callable[[str], int]) -> Check:
    return lambda text, a: count(text) >= _number(a)


def _at_most(count: Callable[[str], int]) -> Check:
    return lambda text, a: count(text) <= _number(a)


def _within(count: Callable[[str], int]) -> Check:
    return lambda text, a: _number(a, "N1") <= count(text) <= _number(a, "N2")


def _listed(arguments: Arguments, name: str) -> list[str]:
    """A list, or a text with commas between."""
    given = arguments[name]
    parts = given if isinstance(given, list | tuple) else str(given).split(",")
    return [p.strip().lower() for p in map(str, parts) if p.strip()]


def include_keywords(text: str, arguments: Arguments) -> bool:
    return all(word in text.lower() for word in _listed(arguments, "keywords"))


def forbidden_words(text: str, arguments: Arguments) -> bool:
    """None of the words as a whole: "art" does not forbid "start"."""
    return not any(counting.occurrences(text, word) for word in _listed(arguments, "forbidden_words"))


def keyword_frequency(text: str, arguments: Arguments) -> bool:
    return counting.occurrences(text, str(arguments["keyword"])) == _number(arguments)


def postscript(text: str, arguments: Arguments) -> bool:
    """A line near the end that begins with the marker."""
    marker = counting.letters(str(arguments["postscript_marker"])).replace(" ", "")
    return any(counting.letters(line).replace(" ", "").startswith(marker) for line in text.splitlines())


def start_checker(text: str, arguments: Arguments) -> bool:
    return counting.letters(text).startswith(counting.letters(str(arguments["start_phrase"])))


def end_checker(text: str, arguments: Arguments) -> bool:
    return counting.letters(text).endswith(counting.letters(str(arguments["end_phrase"])))


def multiple_sections(text: str, arguments: Arguments) -> bool:
    """As many parts between the splitter; numbered splitters ("Section 1") count by their beginnings."""
    splitter = str(arguments["section_splitter"])
    parts = [p for p in re.split(rf"\s*{re.escape(splitter)}\s*", text.strip()) if p.strip()] if splitter else [text]
    return len(parts) == _number(arguments)


def repeat_prompt(text: str, arguments: Arguments) -> bool:
    prompt = str(arguments.get("prompt_transcription", arguments.get("prompt", ""))).strip().lower()
    return bool(prompt) and text.strip().lower().startswith(prompt)


def two_responses(text: str, arguments: Arguments) -> bool:
    """Two different answers with six stars between."""
    parts = [p.strip().lower() for p in text.split("******")]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def title(text: str, arguments: Arguments) -> bool:
    return bool(re.search(r"<<[^<>\n]+>>", text))


def quotation(text: str, arguments: Arguments) -> bool:
    plain = text.strip()
    return len(plain) > 1 and plain[0] in "\"“" and plain[-1] in "\"”"


def word_set_choice(text: str, arguments: Arguments) -> bool:
    """The right one of the choices by MMAU's matcher: all its words, and none that only wrong ones have."""
    from eval.official.wordsets import word_set_match

    choices = [str(c) for c in arguments["choices"]]
    return word_set_match(choices[int(arguments["answer"])], text, choices)


def json_format(text: str, arguments: Arguments) -> bool:
    """The whole answer is JSON, in a fence or not."""
    plain = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(plain)
    except (ValueError, RecursionError):
        return False
    return True


CHECKS: dict[str, Check] = {
    "include-keywords": include_keywords,
    "forbidden-words": forbidden_words,
    "keyword-frequency": keyword_frequency,
    "number-paragraphs": _exactly(counting.starred_paragraphs),
    "number-plain-paragraphs": _exactly(counting.paragraphs),
    "number-words-at-least": _at_least(counting.words),
    "number-words-at-most": _at_most(counting.words),
    "number-words-range": _within(counting.words),
    "number-sentences-at-least": _at_least(counting.sentences),
    "number-sentences-at-most": _at_most(counting.sentences),
    "number-sentences-range": _within(counting.sentences),
    "postscript": postscript,
    "number-placeholder": _at_least(counting.placeholders),
    "number-bullets": _exactly(counting.bullets),
    "title": title,
    "minimum-number-highlighted-section": _at_least(counting.highlights),
    "multiple-sections": multiple_sections,
    "repeat-prompt": repeat_prompt,
    "two-responses": two_responses,
    "all-uppercase": lambda text, a: text.isupper(),
    "all-lowercase": lambda text, a: text.islower(),
    "all-capital-words-at-least": _at_least(counting.capital_words),
    "all-capital-words-at-most": _at_most(counting.capital_words),
    "all-capital-words-range": _within(counting.capital_words),
    "start-checker": start_checker,
    "end-checker": end_checker,
    "quotation": quotation,
    "no-commas": lambda text, a: "," not in text,
    "json-format": json_format,
    "word-set-choice": word_set_choice,
}
