"""The chat page for those who hear it or use no mouse, as Chromium tells screen readers; and the choice of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="pip install playwright")
from chat_browser import MARKS, STREAM_MS, Chat
from playwright.sync_api import expect

pytest_plugins = ["chat_browser"]
pytestmark = [*MARKS, pytest.mark.slow]

CONTROLS = {
    "button", "textbox", "checkbox", "slider", "spinbutton", "combobox", "listbox", "option", "radio", "tab", "link",
    "switch", "Audio", "image", "img",
}  # fmt: skip


def tree(chat: Chat) -> list[dict[str, Any]]:
    """What Chromium tells screen readers."""
    session = chat.page.context.new_cdp_session(chat.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [node for node in nodes if not node.get("ignored")]


def nameless(chat: Chat) -> list[Any]:
    found = [node for node in tree(chat) if node["role"]["value"] in CONTROLS]
    assert len(found) > 10, "control: there are controls"
    unnamed = [node for node in found if not node.get("name", {}).get("value", "").strip()]
    return [node["role"]["value"] for node in unnamed]


def test_every_control_has_a_name(chat: Chat, clips: list[Path]) -> None:
    assert nameless(chat) == [], "before the first question"
    chat.ask("What?", clips[1])
    chat.answered("Turn 1")
    chat.page.get_by_label("Like", exact=True).click()
    expect(chat.page.locator("#reason")).to_be_visible()
    chat.open_settings()
    assert nameless(chat) == [], "with a recording, an answer, and the settings open"
    chat.attach(clips[0])
    assert nameless(chat) == [], "with a recording in the box"
    chat.page.evaluate("document.body.append(document.createElement('button'))")
    assert nameless(chat) == ["button"], "control"


def test_status_and_answers_are_announced(chat: Chat) -> None:
    """A screen reader tells changes of a live region that was there before."""
    live = "node => { node.alm = true; return node.getAttribute('aria-live') }"
    log = chat.page.locator("#conversation [role=log]")
    assert chat.status.evaluate(live) == "polite" and log.first.evaluate(live) in ("polite", None)
    chat.ask("Hello")
    chat.answered("Turn 1")
    same = "node => node.alm === true && node.getAttribute('aria-live') === 'polite' && node.textContent"
    assert "tokens read" in chat.status.evaluate(same)
    assert {"status", "log"} <= {node["role"]["value"] for node in tree(chat)}
    assert chat.page.get_by_role("alert").count() == 0
    chat.ask("too much")
    expect(chat.status.get_by_role("alert")).to_contain_text("the limit is 8192", timeout=STREAM_MS)
    assert "the limit" in chat.status.evaluate(same), "what is urgent comes in the same region"
    chat.page.evaluate("document.querySelector('#status').outerHTML += ''")
    assert chat.status.evaluate(same) is False, "control: a region that comes with its text"


def test_the_page_says_its_language_and_has_one_heading_of_the_first_rank(chat: Chat) -> None:
    assert chat.page.evaluate("document.documentElement.lang")
    assert chat.page.get_by_role("heading", level=1).count() == 1


def test_a_model_is_chosen_by_keyboard_and_named_with_its_answers(chat: Chat, tmp_path: Path) -> None:
    chat.ask("First")
    chat.answered("Turn 1")
    chat.open_settings()
    field = chat.page.get_by_label("Model")
    expect(field).to_have_value("double \u00b7 delayed")
    field.focus()
    expect(chat.page.get_by_role("option")).to_have_count(2)
    chat.page.keyboard.press("ArrowDown")
    chat.page.keyboard.press("Enter")
    expect(field).to_have_value("other \u00b7 delayed")
    expect(chat.page.locator("#about")).to_contain_text("other")
    chat.ask("Second")
    chat.answered("Turn 2")
    expect(chat.bubbles("bot").first).to_contain_text("double \u00b7 20 tokens read")
    expect(chat.bubbles("bot").last).to_contain_text("other \u00b7 20 tokens read")
    chat.shot("two-models")
    with chat.page.expect_download() as waiting:
        chat.page.locator("#export").click()
    waiting.value.save_as(tmp_path / "kept.json")
    assert json.loads((tmp_path / "kept.json").read_text())["models"] == ["double", "other"]
