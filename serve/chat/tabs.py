"""Which tab asks, and what it is told when its question cannot be used."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from alm.errors import AlmError, ConversationError
from alm.terminal import printable
from serve.chat.cards import status

_ASLEEP = "The page lost its connection for a moment. Reload it and ask again."
#: What is shown anew: question box, conversation, recordings, status line.
Updates = tuple[Any, Any, Any, Any]


def key_of(request: gr.Request) -> str:
    """A tab of a user.

    Raises:
        ConversationError: a call without a session.
    """
    if not request.session_hash:
        raise ConversationError(_ASLEEP)
    return f"{request.username or ''}/{request.session_hash}"


def refused(error: AlmError, title: str) -> Updates:
    """Nothing changes, and the problem is told twice: beside the box and as a notice."""
    gr.Warning("<br>".join(escape(line) for line in printable(str(error)).splitlines()), title=title)
    return (gr.skip(), gr.skip(), gr.skip(), status(str(error), problem=True))


def nothing(text: str) -> Updates:
    """Only the status line changes."""
    return (gr.skip(), gr.skip(), gr.skip(), status(text))


def unchanged() -> Updates:
    return (gr.skip(), gr.skip(), gr.skip(), gr.skip())
