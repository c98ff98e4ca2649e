"""Constraints that a program checks: each kept and broken, and where MMAU-Pro's script sees it otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alm.errors import RecordError
from eval.official.opened import PRO_CHECKS, pro_passes
from eval.rules import CHECKS, passes

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "include-keywords": ({"keywords": "dog, rain"}, "A Dog in the rain", "a dog"),
    "forbidden-words": ({"forbidden_words": "art, sing"}, "A start", "Art!"),
    "keyword-frequency": ({"keyword": "dog", "N": 2}, "Dog and dog, no hotdog", "dog dog dog"),
    "number-paragraphs": ({"N": 2}, "one *** two", "one\n\ntwo"),
    "number-plain-paragraphs": ({"N": 2}, "one\n\ntwo", "one\ntwo"),
    "number-words-at-least": ({"N": 3}, "a b c", "a b"),
    "number-words-at-most": ({"N": 3}, "a b c", "a b c d"),
    "number-words-range": ({"N1": 2, "N2": 3}, "a b", "a"),
    "number-sentences-at-least": ({"N": 2}, "One. Two!", "Dr. Lee came."),
    "number-sentences-at-most": ({"N": 1}, "At 3.5 s a dog barks.", "One. Two."),
    "number-sentences-range": ({"N1": 2, "N2": 2}, "One. Two?", "One"),
    "postscript": ({"postscript_marker": "P.S."}, "Hello.\nP.S. Bye", "Ups and downs"),
    "number-placeholder": ({"N": 2}, "[name] at [time]", "[name]"),
    "number-bullets": ({"N": 2}, "* a\n* b", "- a\n- b"),
    "title": ({}, "<<Rain>>\nIt rains", "Rain\nIt rains"),
    "minimum-number-highlighted-section": ({"N": 2}, "*a* and *b*", "*a*"),
    "multiple-sections": ({"N": 2, "section_splitter": "SECTION"}, "SECTION a SECTION b", "a"),
    "repeat-prompt": ({"prompt_transcription": "What barks?"}, "What barks? A dog.", "A dog."),
    "two-responses": ({}, "a ****** b", "a ****** A"),
    "all-uppercase": ({}, "A DOG", "A dog"),
    "all-lowercase": ({}, "a dog", "A dog"),
    "all-capital-words-at-least": ({"N": 2}, "A LOUD dog", "a LOUD dog"),
    "all-capital-words-at-most": ({"N": 1}, "a LOUD dog", "A LOUD dog"),
    "all-capital-words-range": ({"N1": 1, "N2": 1}, "a LOUD dog", "a dog"),
    "start-checker": ({"start_phrase": "Well, then"}, "well then: a dog", "A dog, well then"),
    "end-checker": ({"end_phrase": "That is all."}, "A dog. That is all", "That is all. Bye"),
    "quotation": ({}, '"A dog."', '"A dog.'),
    "no-commas": ({}, "a dog", "a dog, a cat"),
    "json-format": ({}, '```json\n{"a": 1}\n```', "{a: 1}"),
    "word-set-choice": ({"choices": ["dog", "owl"], "answer": 1}, "an owl", "owl or dog"),
}


def test_every_rule_has_a_case() -> None:
    assert CASES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CASES)
def test_kept_and_broken(name: str) -> None:
    arguments, kept, broken = CASES[name]
    assert passes(kept, {"rule": name, **arguments}) and not passes(broken, {"rule": name, **arguments})


@pytest.mark.parametrize(
    ("rule", "text", "theirs"),
    [
        ({"rule": "forbidden-words", "forbidden_words": "art"}, "a start", False),
        ({"rule": "postscript", "postscript_marker": "P.S."}, "ups and downs", True),
        ({"rule": "two-responses"}, "****** a", True),
        ({"rule": "number-words-at-most"}, "a", False),
    ],
)
def test_where_the_published_script_sees_it_otherwise(rule: dict[str, Any], text: str, theirs: bool) -> None:
    assert pro_passes(text, rule) == theirs


def test_unknown_rules_and_missing_arguments_are_named() -> None:
    with pytest.raises(RecordError, match="rule 'number-cats' is none of"):
        passes("a", {"rule": "number-cats"})
    with pytest.raises(RecordError, match="number-bullets.*'N'"):
        passes("a", {"rule": "number-bullets"})


@given(st.text(max_size=200), st.sampled_from(sorted(CASES)))
def test_any_text_is_judged(text: str, name: str) -> None:
    assert passes(text, {"rule": name, **CASES[name][0]}) in (True, False)
    assert pro_passes(text, {"rule": name, **CASES[name][0]}) in (True, False)
    assert name in PRO_CHECKS
