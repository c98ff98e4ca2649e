"""What rules count in an answer: each a small function of the text."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"[.!?。！？]+[\"'”’)\]]*(?=\s|$)|[。！？]")
_ABBREVIATION = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|fig|jr|sr|approx|[a-z])\.$", re.IGNORECASE
)


def words(text: str) -> int:
    """Pieces between blanks.

    >>> words("A dog, twice.")
    3
    """
    return len(text.split())


def sentences(text: str) -> int:
    """Ends of sentences, and a last one without an end; common abbreviations and initials end none.

    >>> sentences("Dr. Lee hears a dog. Does it bark?  Yes"), sentences("At 3.5 s, e.g. here!")
    (3, 1)
    """
    count, last = 0, 0
    for end in _SENTENCE_END.finditer(text):
        if end[0] == "." and _ABBREVIATION.search(text[max(0, end.end() - 8) : end.end()]) and end.end() < len(text):
            continue
        count, last = count + bool(text[last : end.start()].strip()), end.end()
    return count + bool(re.search(r"\w", text[last:]))


def starred_paragraphs(text: str) -> int:
    """Parts between ***.

    >>> starred_paragraphs("One.\\n***\\nTwo.")
    2
    """
    return sum(bool(part.strip()) for part in text.split("***"))


def paragraphs(text: str) -> int:
    """Parts between empty lines.

    >>> paragraphs("One.\\nStill one.\\n\\nTwo.")
    2
    """
    return sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text))


def bullets(text: str) -> int:
    """Lines that begin with a star and a blank.

    >>> bullets("* one\\n * two\\n- three")
    2
    """
    return len(re.findall(r"^[ \t]*\*[ \t]+", text, re.MULTILINE))


def highlights(text: str) -> int:
    """Stretches between stars.

    >>> highlights("A *loud* dog and a **quiet** cat")
    2
    """
    return len(re.findall(r"\*+[^*\n]+\*+", text))


def placeholders(text: str) -> int:
    """Stretches in square brackets.

    >>> placeholders("Dear [name], at [time]")
    2
    """
    return len(re.findall(r"\[[^\]\[]+\]", text))


def capital_words(text: str) -> int:
    """Words all in capitals.

    >>> capital_words("A LOUD dog, LOUD!")
    3
    """
    return sum(word.isupper() for word in text.split())


def occurrences(text: str, phrase: str) -> int:
    """How often a phrase stands in the text as whole words, whatever the case.

    >>> occurrences("Dog, dog and hotdog", "dog")
    2
    """
    return len(re.findall(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)", text.lower())) if phrase else 0


def letters(text: str) -> str:
    """Letters and blanks alone, in lower case, blanks as one.

    >>> letters("P.S.: Call   me!")
    'ps call me'
    """
    return " ".join("".join(c for c in text.lower() if c.isalpha() or c.isspace()).split())
