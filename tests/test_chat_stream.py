"""What the page is told to draw, call by call, without a browser: an answer that outlives its conversation."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import assistant_double
import engine_double
import pytest

from serve.chat.limits import ChatLimits
from serve.chat.page import ChatPage
from serve.chat.sessions import Sessions

TAB: Any = SimpleNamespace(session_hash="tab", username=None)
SETTINGS = (True, 64, 0.0, "", "double")


@pytest.fixture
def page(tmp_path: Path) -> ChatPage:
    models = engine_double.models(assistant_double.Assistant(0.005), offers=("double", "other"), rows=1, most_waiting=1)
    return ChatPage(Sessions(models, ChatLimits(), tmp_path))


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
    engine = engine_double.engine_of(page.sessions.models)
    assert engine.jobs[0].cancelled and not engine.state().running, "nobody decodes for nobody"


def test_a_full_queue_is_told_kindly_and_the_question_comes_back(page: ChatPage) -> None:
    people: list[Any] = [SimpleNamespace(session_hash=name, username=None) for name in "abc"]
    streams = []
    for person in people[:2]:
        page.on_submit({"text": "A long one", "files": []}, person)
        streams.append(page.on_answer(*SETTINGS, person))
    next(streams[0])
    waiting = threading.Thread(target=next, args=[streams[1]])
    waiting.start()
    while not engine_double.engine_of(page.sessions.models).state().waiting:
        time.sleep(0.01)
    page.on_submit({"text": "And I?", "files": []}, people[2])
    with pytest.warns(UserWarning, match="Many people are asking"):
        *_, last = page.on_answer(*SETTINGS, people[2])
    assert "send it again in about 20 s" in last[3] and last[0].value == {"text": "And I?", "files": []}
    page.on_stop(people[0])
    waiting.join(30)
    for stream in streams:
        stream.close()


def test_a_model_that_is_loaded_first_says_so(page: ChatPage) -> None:
    page.on_submit({"text": "Hello", "files": []}, TAB)
    first, *_, last = page.on_answer(*SETTINGS[:4], "other", TAB)
    assert "Loading other" in first[3] and "Loading" not in last[3]
    assert "delayed" in page.on_model("other")
