"""What is done to every answer before its kind reads it: reasoning taken off, emptiness and refusals noticed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REASONING = re.compile(r"<(think|thinking|reasoning|thought)>(.*?)(</\1>|\Z)", re.IGNORECASE | re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_REFUSAL = re.compile(
    r"^\W*(?:i'?m sorry|sorry\b|i apologi[sz]e|i can(?:'|no)t|i am (?:unable|not able)|i'?m (?:unable|not able)"
    r"|as an ai\b|unfortunately,? i)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Stripped:
    """An answer without the reasoning before it."""

    text: str
    reasoning: str = ""
    cut: bool = False
    """The reasoning never ended: there is no answer."""


def stripped(text: str) -> Stripped:
    """Take the reasoning off; what stands in answer tags is the answer.

    >>> stripped("<think>A bark.</think> <answer>Dog</answer>")
    Stripped(text='Dog', reasoning='A bark.', cut=False)
    >>> stripped("<think>It could be").cut
    True
    """
    parts = [(m[2].strip(), not m[3]) for m in _REASONING.finditer(text)]
    rest = _REASONING.sub("", text).strip()
    marked = _ANSWER.findall(rest)
    reasoning = "\n".join(p for p, _ in parts)
    cut = any(open_ended for _, open_ended in parts)
    return Stripped("" if cut else (marked[-1] if marked else rest).strip(), reasoning, cut)


def refuses(text: str) -> bool:
    """Whether an answer declines to answer.

    >>> refuses("I'm sorry, but I cannot hear audio."), refuses("A dog is sorry")
    (True, False)
    """
    return bool(_REFUSAL.match(text))
