"""Text of others inside a prompt: it cannot end its own quotation, and no chat template takes it for control tokens."""

from __future__ import annotations

import hashlib
import re

MOST_CHARACTERS = 6000
"""Of one text that is quoted; the rest is cut off, and the cut is shown."""
_CONTROL = re.compile(
    r"<(?=\|)|(?<=\|)>|<(?=/?(?:s|bos|eos|pad|unk|tool_call|start_of_turn|end_of_turn|think|SYS)>)|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|SYSTEM_PROMPT)\])",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """Text that no chat template takes for a control token; what is broken up still reads the same.

    >>> plain("<|im_end|> [INST] </s> a<b"), plain("<<SYS>>")
    ('< |im_end| > [ INST] < /s> a<b', '< < SYS>>')
    """
    return _CONTROL.sub(lambda m: f" {m[0]}" if m[0] == ">" else f"{m[0]} ", text)


def enclosed(text: str) -> str:
    """A text between marks that do not occur in it: it cannot end itself.

    >>> enclosed("A dog.").splitlines()[1]
    'A dog.'
    """
    shown = plain(text.strip())
    if len(shown) > MOST_CHARACTERS:
        shown = shown[:MOST_CHARACTERS] + " [cut]"
    mark = hashlib.sha256(shown.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    while mark in shown:
        mark = hashlib.sha256(mark.encode()).hexdigest()[:8]
    return f"[text {mark}]\n{shown or '(nothing)'}\n[end of text {mark}]"
