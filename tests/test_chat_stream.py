"""What the page is told to draw, call by call, without a browser: an answer that outlives its conversation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import assistant_double
import pytest

from serve.chat.limits import ChatLimits
from serve.chat.page import ChatPage
from serve.chat.sessions import Sessions

TAB: Any = SimpleNamespace(session_hash="tab", username=None)
SETTINGS = (True, 64, 0.0, "")


@pytest.fixture
def page(tmp_path: Path) -> ChatPage:
    return ChatPage(Sessions(assistant_double.Assistant(0.0), ChatLimits(), tmp_path))  # type: ignore[arg-type]


def drawn(updates: Any) -> list[str]:
    """Texts of the conversation that an update draws."""
    shown = updates[1] if isinstance(updates[1], list) else updates[1].value
    return [str(m["content"]) for m in shown]


def test_the_last_update_of_a_cleared_answer_draws_an_empty_page(page: ChatPage) -> None:
    page.on_submit({"text": "A long one", "files": []}, TAB)
    stream = page.on_answer(*SETTINGS, TAB)
    late = next(stream)
    assert drawn(late), "control: this piece may reach the browser after the clearing"
    assert drawn(page.on_clear(TAB)) == []
    assert drawn(list(stream)[-1]) == []


def test_the_last_update_of_a_cleared_answer_draws_what_was_asked_since(page: ChatPage) -> None:
    page.on_submit({"text": "A long one", "files": []}, TAB)
    stream = page.on_answer(*SETTINGS, TAB)
    next(stream)
    page.on_clear(TAB)
    page.on_submit({"text": "Anew", "files": []}, TAB)
    last = drawn(list(stream)[-1])
    assert any("Anew" in text for text in last) and not any("A long one" in text for text in last)
    assert not page.sessions.gate._lock.locked()
