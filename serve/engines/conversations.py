"""Conversations that a request or a row brings whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alm.conversation import Conversation
from alm.messages import parts_of

if TYPE_CHECKING:
    from alm.assistant import Assistant


def begun_conversation(
    assistant: Assistant, messages: Sequence[dict[str, Any]], evidence: bool | None = None
) -> tuple[Conversation, list[dict[str, Any]]]:
    """A conversation that holds all but the last message, and the parts of that one.

    Args:
        messages: roles and content parts, with opened recordings; the last one is the user's question.
    """
    earlier, question = list(messages[:-1]), messages[-1]
    system = earlier.pop(0)["content"] if earlier and earlier[0]["role"] == "system" else None
    chat = assistant.conversation(system, evidence)
    for message in earlier:
        chat.remember(message)
    return chat, parts_of(question)
