"""What may stand in a written text, whatever the recording: checks of the words alone."""

from __future__ import annotations

import re

from alm.quoting import plain
from data_prep.records import AUDIO_MARK

MOST_QUESTION = 600
MOST_ANSWER = 4000
_UNKNOWN = re.compile(
    r"\b(?:can ?not|can't|could not|couldn't|impossible to|not possible to|unable to|no way to|hard to) (?:be )?"
    r"(?:determined?|know|known|tell|told|say|said|identify|identified|infer(?:red)?|concluded?|answer(?:ed)?)\b"
    r"|\bnot (?:enough|sufficient) (?:information|detail|evidence)|\binsufficient (?:information|evidence)"
    r"|\b(?:is|are|was|were) not (?:provided|specified|mentioned|given|stated|known|clear|indicated|told)\b"
    r"|\b(?:isn't|aren't|wasn't) (?:provided|specified|mentioned|given|stated|known|clear|told)\b"
    r"|\b(?:does|do|did) not (?:say|tell|specify|mention|provide|reveal|indicate|state)\b"
    r"|\b(?:doesn't|don't|didn't) (?:say|tell|specify|mention|provide|reveal|indicate|state)\b"
    r"|\bno (?:information|indication|mention) (?:about|of|on|as|that|is)\b|\bunknown\b|\bi do(?: not|n't) know\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:i|we) (?:can ?not|can't|won't|will not|must not|should not|am not able to|am unable to)\b"
    r"|\bi'm (?:not able|unable) to\b"
    r"|\bi(?:'m| am) (?:sorry|afraid)\b|\bi (?:have to|must) decline\b|\bnot something i can\b",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"\b(?:the|this|these|given|provided|above) (?:captions?|labels?|tags?|metadata|evidence|facts?|texts?|lists?|"
    r"transcripts?|descriptions?|annotations?|timestamps?)\b|\[?\bE\d{1,3}\]|\bas an? (?:ai|language model)\b"
    r"|\baccording to the (?:data|information)\b|\[(?:end of )?text\b|\bas (?:provided|listed|given)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\{[a-z_]+\}|<(?:question|answer|caption)[^>]*>|\[(?:insert|your|question|answer)\b", re.IGNORECASE
)


def is_unknown(text: str) -> bool:
    """Whether a text says that something cannot be told.

    >>> is_unknown("It cannot be determined."), is_unknown("The make is not specified."), is_unknown("A dog barks.")
    (True, True, False)
    """
    return bool(_UNKNOWN.search(text))


def is_refusal(text: str) -> bool:
    """
    >>> is_refusal("I'm sorry, I can't name people by their voice."), is_refusal("A man speaks.")
    (True, False)
    """
    return bool(_REFUSED.search(text))


def speaks_of_source(text: str) -> str:
    """The words by which a text betrays that its writer read a list and heard nothing.

    >>> speaks_of_source("According to the caption, a dog barks."), speaks_of_source("I hear a dog.")
    ('the caption', '')
    """
    found = _SOURCE.search(text)
    return found[0] if found else ""


def fault_of(text: str, most_letters: int) -> str:
    """Why a text cannot stand in a record at all; empty where it can."""
    if not text.strip():
        return "empty"
    if len(text) > most_letters:
        return "too long"
    if AUDIO_MARK in text or plain(text) != text or _PLACE.search(text):
        return "marks or places in the text"
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        return "control characters"
    return "repeats itself" if _repeats(text) else ""


def _repeats(text: str) -> bool:
    """A weak writer's loop: five words in a row three times, in a text where that is a good part of it."""
    words = normal(text).split()
    runs = [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]
    most = max((runs.count(run) for run in set(runs)), default=0) if len(runs) < 2000 else 3
    return most >= 3 and most * 5 >= len(words) / 5


def echoes(text: str, prompt: str) -> bool:
    """Whether half of a text is the prompt's own words, four in a row: a weak writer gives back what it was told.

    >>> echoes("Name the most prominent sounds in it.", "Name the most prominent sounds, their order and so on")
    True
    """
    words, source = normal(text).split(), f" {normal(prompt)} "
    runs = [f" {' '.join(words[i : i + 4])} " for i in range(len(words) - 3)]
    return bool(runs) and 2 * sum(run in source for run in runs) >= len(runs)


def normal(text: str) -> str:
    """
    >>> normal("The  Dog, barks!")
    'the dog barks'
    """
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def agreement(one: str, other: str) -> float:
    """F1 of the words of two answers, those that carry no meaning left out; 1 where both have none.

    >>> agreement("A dog barks.", "the dog barks loudly") > 0.7, agreement("yes", "no")
    (True, 0.0)
    """
    first, second = (_content(text) for text in (one, other))
    if not first or not second:
        return float(normal(one) == normal(other))
    return 2 * len(first & second) / (len(first) + len(second))


_EMPTY = frozenset(
    "a an the is are was were be been it its this that there of in on at to and or as by with for from then so i "
    "you we they he she can could may might will would do does did has have had".split()
)


def _content(text: str) -> frozenset[str]:
    return frozenset(word for word in normal(text).split() if word not in _EMPTY)
