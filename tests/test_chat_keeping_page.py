"""The chat page in headless Chromium: examples, edit, export, import, thumbs, expiry, context, contrast."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alm.audio import load_audio, waveform_to_wav_bytes
from alm.testing import noise

pytest.importorskip("playwright", reason="pip install playwright")
from chat_browser import MARKS, STREAM_MS, Chat, Server, serving
from playwright.sync_api import Browser, BrowserContext, expect

pytest_plugins = ["chat_browser"]
pytestmark = [*MARKS, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As the other file's, but at full speed; the context holds three turns."""
    with serving(tmp_path_factory.mktemp("server"), "0", "", "3") as found:
        yield found


def exported(chat: Chat, folder: Path) -> Path:
    with chat.page.expect_download() as waiting:
        chat.page.locator("#export").click()
    target = folder / waiting.value.suggested_filename
    waiting.value.save_as(target)
    return target


def import_file(chat: Chat, file: Path) -> None:
    with chat.page.expect_file_chooser() as waiting:
        chat.page.locator("#import").click()
    waiting.value.set_files(str(file))


def edit_bubble(chat: Chat, place: int, text: str) -> str:
    """Change a question; what stood in the field before."""
    chat.page.locator("#conversation").get_by_label("Edit").nth(place).click()
    field = chat.page.get_by_label("Edit question")
    expect(field).to_be_visible()
    before = field.input_value()
    field.fill(text)
    chat.page.locator("#conversation").get_by_label("Submit").click()
    return before


def test_examples_fill_the_box(chat: Chat) -> None:
    chat.page.locator("#conversation .example").nth(2).focus()
    chat.page.keyboard.press("Enter")
    expect(chat.box).to_have_value("Which of the two recordings holds a bird?")
    expect(chat.page.locator("#question .thumbnail-item")).to_have_count(2, timeout=STREAM_MS)
    chat.send.click()
    chat.answered("Turn 1: I was given 4.29 s and 8.00 s.")
    expect(chat.cards).to_have_count(2)


def test_an_earlier_question_is_edited(chat: Chat, clips: list[Path]) -> None:
    typed = "What *is* this?\n  1. a_b <i>x</i> ~ `c` \\"
    chat.ask(typed, clips[0])
    chat.answered("Turn 1: I was given 6.00 s")
    chat.ask("And this?", clips[1])
    chat.answered("Turn 2: I was given 2.00 s")
    assert edit_bubble(chat, 0, "Something else?") == typed, "without escapes and without the recording's line"
    chat.answered("Turn 1: I was given 6.00 s. You asked: Something else?")
    expect(chat.bubbles("bot").last).to_contain_text("1 later question went with the edit")
    expect(chat.bubbles("user")).to_have_count(1)
    expect(chat.cards).to_have_count(1)
    chat.shot("edited")
    edit_bubble(chat, 0, "   ")
    expect(chat.status.get_by_role("alert")).to_contain_text("the question is empty")
    expect(chat.bubbles("user").last).to_contain_text("Something else?")


def test_questions_are_copied_as_typed_and_answers_without_counters(
    context: BrowserContext, server: Server, clips: list[Path]
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.address.rstrip("/"))
    chat = Chat(context.new_page(), server.address)
    chat.ask("What *is* it?", clips[1])
    chat.answered("Turn 1")
    for place, text in enumerate(("What *is* it?", "Turn 1: I was given 2.00 s. You asked: What *is* it?")):
        chat.page.get_by_label("Copy message").nth(place).click()
        chat.page.wait_for_function("text => navigator.clipboard.readText().then((t) => t === text)", arg=text)


def test_export_and_import_with_a_missing_recording(chat: Chat, clips: list[Path], tmp_path: Path) -> None:
    chat.ask("What <audio> is this?", clips[0])
    chat.answered("Turn 1")
    chat.ask("And this?", clips[1])
    chat.answered("Turn 2")
    file = exported(chat, tmp_path)
    row = json.loads(file.read_text())
    assert row["audios"] == ["yard at night.wav", "second.wav"]
    assert row["sha256"] == [load_audio(clip).sha256 for clip in clips]
    assert sum(m["content"].count("<audio>") for m in row["messages"] if m["role"] == "user") == 2
    chat.page.locator("#clear").click()
    expect(chat.cards).to_have_count(0)

    chat.attach(clips[1])
    import_file(chat, file)
    expect(chat.status.get_by_role("alert")).to_contain_text("Not here any more: yard at night.wav", timeout=STREAM_MS)
    expect(chat.page.get_by_test_id("toast-body")).to_contain_text("yard at night.wav")
    expect(chat.bubbles("user").first).to_contain_text("What <audio> is this?")
    expect(chat.page.locator(".alm-missing")).to_have_count(1)
    expect(chat.page.locator("#question .thumbnail-item")).to_have_count(0)
    chat.shot("imported-with-missing")
    chat.ask("Go on", clips[0])
    chat.answered("Turn 3: I was given no new recording")
    expect(chat.bubbles("bot").last).to_contain_text("yard at night.wav is back in its place")
    expect(chat.page.locator(".alm-missing")).to_have_count(0)
    expect(chat.page.locator(".alm-card audio")).to_have_count(2)


@pytest.mark.parametrize(
    ("text", "shown"), [("{", "no JSON"), ('{"id": 1, "messages": 7}', "'messages' is int"), ("[]", "a list")]
)
def test_a_bad_import_changes_nothing(chat: Chat, tmp_path: Path, text: str, shown: str) -> None:
    chat.ask("Before")
    chat.answered("Turn 1")
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    import_file(chat, bad)
    expect(chat.status.get_by_role("alert")).to_contain_text(shown, timeout=STREAM_MS)
    chat.ask("After")
    chat.answered("Turn 2")


def test_thumbs_are_kept(chat: Chat, server: Server, clips: list[Path]) -> None:
    file = server.temporary / "feedback.jsonl"
    expect(chat.page.locator("#stored")).to_contain_text("never the sound")
    chat.ask("What?", clips[1])
    chat.answered("Turn 1")
    chat.page.get_by_label("Dislike").click()
    expect(chat.status).to_contain_text("that was kept")
    chat.page.get_by_label("What was good or wrong").fill("it is a cat")
    chat.shot("feedback")
    chat.page.get_by_label("What was good or wrong").press("Enter")
    expect(chat.page.locator("#reason")).to_be_hidden()
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(e["rating"], e["reason"]) for e in entries] == [("down", ""), ("down", "it is a cat")]
    assert entries[0]["sha256"] == [load_audio(clips[1]).sha256] and entries[0]["settings"]["max_new_tokens"] == 256
    assert entries[0]["messages"][0]["content"] == "<audio>\nWhat?" and entries[0]["preset"] == "double"
    chat.ask("Another?")
    chat.answered("Turn 2")
    expect(chat.page.get_by_label("Disliked")).to_have_count(1)
    chat.page.locator("#clear").click()
    expect(chat.bubbles("bot")).to_have_count(0)
    chat.ask("Anew")
    chat.answered("Turn 1")
    expect(chat.page.get_by_label("Disliked")).to_have_count(0)


def test_a_long_conversation_says_what_the_model_no_longer_reads(chat: Chat, clips: list[Path]) -> None:
    chat.ask("First", clips[1])
    chat.answered("Turn 1")
    for text in ("Second", "Third"):
        chat.ask(text)
        chat.answered(f"You asked: {text}")
    chat.ask("Fourth", clips[0])
    chat.answered("Turn 3: I was given 6.00 s. You asked: Fourth")
    expect(chat.status).to_contain_text("no longer reads the oldest 1 question and 1 recording")
    expect(chat.bubbles("bot").first).to_contain_text("no longer reads this")
    expect(chat.bubbles("user").last).to_contain_text("1 yard at night.wav")
    expect(chat.cards.first).to_contain_text("no longer reads it")
    chat.shot("too-long")


def test_an_expired_recording_says_so(chat: Chat, server: Server, clips: list[Path]) -> None:
    chat.ask("What?", clips[1])
    chat.answered("Turn 1")
    for player in server.players:
        player.unlink()
    for upload in server.temporary.glob("alm-chat-*/uploads/*/second.wav"):
        upload.unlink()
    chat.page.locator(".alm-card audio").evaluate("node => { node.src += '?again' }")  # past the browser's cache
    expect(chat.cards.first.get_by_role("alert")).to_contain_text("has expired on the server")
    chat.page.locator("#undo").click()
    expect(chat.status).to_contain_text("No longer here, attach again: second.wav")
    expect(chat.box).to_have_value("What?")


def test_lists_jump_to_their_time(chat: Chat, clips: list[Path]) -> None:
    chat.ask("What?", clips[0])
    chat.answered("Turn 1")
    audio = chat.page.locator(".alm-card audio")
    for name, low, high in (("Jump to 0:04.0: dog bark", 4.0, 6.1), ("Jump to 0:02.0: Good morning.", 2.0, 4.0)):
        button = chat.cards.first.locator("li").get_by_role("button", name=name)
        button.focus()
        chat.page.keyboard.press("Enter")
        expect(chat.page.locator(".alm-head")).to_have_css("opacity", "0.9")
        assert low <= audio.evaluate("node => node.currentTime") < high


CONTRASTS = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (node) => { for (let n = node; n; n = n.parentElement) {
    const c = rgb(getComputedStyle(n).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
    return document.body.classList.contains("dark") ? [11, 15, 25] : [255, 255, 255]; };
  const found = [];
  for (const node of document.querySelectorAll(QUERY)) {
    if (!node.offsetParent || !node.textContent.trim()) continue;
    const a = light(rgb(getComputedStyle(node).color)), b = light(under(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([node.className || node.tagName, node.textContent.slice(0, 30), ratio]);
  }
  return found;
}"""
TEXTS = (
    "#title p, #settings [data-testid=block-info], #settings [class*=info], #actions button, #settings button, "
    "#status div, #conversation p, #conversation small, .alm-card h3 span, .alm-card li, .alm-card li button, "
    ".alm-card li small, .alm-card summary, .alm-note, .alm-label, .alm-time span"
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_enough_contrast(chat: Chat, server: Server, clips: list[Path], theme: str) -> None:
    chat.page.goto(f"{server.address}?__theme={theme}")
    expect(chat.box).to_be_visible(timeout=STREAM_MS)
    chat.ask("What?", clips[0])
    chat.answered("Turn 1")
    chat.open_settings()
    look = CONTRASTS.replace("QUERY", json.dumps(TEXTS))
    assert chat.page.evaluate(look) == []
    chat.shot(f"contrast-{theme}")
    chat.page.add_style_tag(content=".alm-note, .alm-card summary { color: #888 !important; background: #777 }")
    assert chat.page.evaluate(look), "control: grey on grey is seen"


def test_a_phone_shows_all_of_it(context: BrowserContext, server: Server, clips: list[Path]) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    chat = Chat(page, server.address)
    chat.shot("phone-empty")
    chat.ask("What is this?", clips[0])
    chat.answered("Turn 1")
    page.get_by_label("Like", exact=True).click()
    expect(page.locator("#reason")).to_be_visible()
    chat.open_settings()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("#export", "#import", "#reason", "#reason button", "#system textarea"):
        box = page.locator(name).first.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390, name
    chat.shot("phone-all")


def test_the_system_prompt_travels(chat: Chat, tmp_path: Path) -> None:
    chat.open_settings()
    chat.page.locator("#system textarea").fill("Answer like a pirate.")
    chat.ask("Hello")
    chat.answered("Turn 1")
    file = exported(chat, tmp_path)
    assert json.loads(file.read_text())["messages"][0] == {"role": "system", "content": "Answer like a pirate."}
    chat.page.locator("#system textarea").fill("")
    import_file(chat, file)
    expect(chat.page.locator("#system textarea")).to_have_value("Answer like a pirate.", timeout=STREAM_MS)
    chat.page.locator("#system textarea").fill("")
    import_file(chat, file)
    expect(chat.page.locator("#system textarea")).to_have_value("Answer like a pirate.", timeout=STREAM_MS)


def test_an_imported_file_is_text(chat: Chat, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    messages = [{"role": "user", "content": f"<audio>\n{evil}"}, {"role": "assistant", "content": evil}]
    file = tmp_path / "evil.json"
    row = {"id": evil, "messages": messages, "audios": [f"{evil}.wav"], "sha256": [evil]}
    file.write_text(json.dumps(row))
    import_file(chat, file)
    expect(chat.page.locator(".alm-missing")).to_have_count(1, timeout=STREAM_MS)
    expect(chat.page.get_by_test_id("toast-body")).to_contain_text(evil)
    expect(chat.bubbles("user")).to_contain_text(evil)
    assert chat.page.locator("img[src=x]").count() == 0


def test_one_persons_error_leaves_the_other_alone(
    browser: Browser, server: Server, clips: list[Path], tmp_path: Path
) -> None:
    contexts = [browser.new_context(), browser.new_context()]
    first, second = (Chat(context.new_page(), server.address) for context in contexts)
    second.ask("Mine", clips[1])
    second.answered("Turn 1")
    bad = tmp_path / "bad.wav"
    bad.write_bytes(waveform_to_wav_bytes(noise(1.0))[:40])
    first.ask("What?", bad)
    expect(first.status.get_by_role("alert")).to_contain_text("bad.wav", timeout=STREAM_MS)
    first.page.locator("#question").get_by_label("Remove file").first.click()
    file = exported(second, tmp_path)
    import_file(first, file)
    expect(first.status.get_by_role("alert")).to_contain_text(re.compile("Not here any more: second.wav"))
    second.ask("Still mine?")
    second.answered("Turn 2")
    expect(second.cards).to_have_count(1)
    for context in contexts:
        context.close()
