"""The chat page in headless Chromium: upload, ask, stream, ask again, stop, retry, undo, clear, errors, phone."""

from __future__ import annotations

import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from alm.audio import waveform_to_wav_bytes
from alm.testing import noise

pytest.importorskip("playwright", reason="pip install playwright")
from chat_browser import MARKS, PATIENCE, SOON_MS, STREAM_MS, TESTS, Chat, Server, serving
from playwright.sync_api import Browser, BrowserContext, expect

pytest_plugins = ["chat_browser"]
pytestmark = [*MARKS, pytest.mark.slow]


def test_upload_ask_stream_ask_again_stop_and_clear(chat: Chat, server: Server, clips: list[Path]) -> None:
    chat.shot("desktop-empty")
    chat.ask("What is this?", clips[0])
    expect(chat.bubbles("bot").last).to_contain_text("I was given", timeout=STREAM_MS)
    chat.answered("Turn 1: I was given 6.00 s. You asked: What is this?")
    expect(chat.bubbles("user").last).to_contain_text("yard at night.wav (0:06.0)")
    expect(chat.cards).to_have_count(1)
    assert len(server.players) == 1
    chat.shot("desktop-answered")

    chat.ask("And this one?", clips[1])
    chat.answered("Turn 2: I was given 2.00 s.")
    expect(chat.cards).to_have_count(2)
    chat.ask("Say more about both, without a new one")
    chat.answered("Turn 3: I was given no new recording.")

    chat.ask("A long one, please")
    expect(chat.bubbles("bot").last).to_contain_text("word2", timeout=STREAM_MS)
    chat.stop.click(force=True)
    expect(chat.send).to_be_visible(timeout=SOON_MS)
    expect(chat.bubbles("bot").last).to_contain_text("(stopped)")
    stopped = chat.bubbles("bot").last.inner_text()
    assert "word399" not in stopped
    chat.ask("Still there?")
    chat.answered("Turn 5: I was given no new recording. You asked: Still there?")
    assert stopped.split() == chat.bubbles("bot").nth(3).inner_text().split(), "nothing came after the stop"

    chat.page.locator("#clear").click()
    expect(chat.bubbles("bot")).to_have_count(0)
    expect(chat.cards).to_have_count(0)
    assert server.players == []
    chat.ask("Anew")
    chat.answered("Turn 1: I was given no new recording. You asked: Anew")


def test_retry_and_undo(chat: Chat, clips: list[Path]) -> None:
    chat.ask("First", clips[1])
    chat.answered("Turn 1")
    chat.page.locator("#retry").click()
    expect(chat.stop).to_be_visible(timeout=STREAM_MS)
    chat.answered("Turn 1: I was given 2.00 s. You asked: First")
    expect(chat.bubbles("bot")).to_have_count(1)
    chat.page.locator("#undo").click()
    expect(chat.bubbles("user")).to_have_count(0)
    expect(chat.box).to_have_value("First")
    expect(chat.page.locator("#question .thumbnail-item")).to_have_count(1)
    chat.send.click()
    chat.answered("Turn 1: I was given 2.00 s. You asked: First")
    chat.page.locator("#clear").click()
    expect(chat.bubbles("user")).to_have_count(0)
    chat.page.locator("#retry").click()
    expect(chat.status).to_contain_text("no finished answer")


def test_clear_while_it_answers(chat: Chat) -> None:
    chat.ask("A long one")
    expect(chat.bubbles("bot").last).to_contain_text("word1", timeout=STREAM_MS)
    chat.page.locator("#clear").click()
    expect(chat.bubbles("bot")).to_have_count(0)
    chat.ask("Anew")
    chat.answered("Turn 1: I was given no new recording. You asked: Anew")
    expect(chat.bubbles("user")).to_have_count(1)


def test_bad_files_are_explained_and_good_ones_still_work(chat: Chat, clips: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "notes.wav"
    bad.write_text("no audio")
    chat.ask("What?", bad, clips[1])
    expect(chat.status.get_by_role("alert")).to_contain_text("notes.wav: ", timeout=STREAM_MS)
    expect(chat.page.get_by_test_id("toast-body")).to_contain_text("notes.wav: ")
    text = chat.page.locator("body").inner_text()
    assert "Traceback" not in text and str(tmp_path) not in text and "/alm-chat-" not in text
    expect(chat.box).to_have_value("What?")
    chat.shot("desktop-bad-file")
    chat.page.locator("#question").get_by_label("Remove file").first.click()
    expect(chat.page.locator("#question .thumbnail-item")).to_have_count(1)
    chat.send.click()
    chat.answered("Turn 1: I was given 2.00 s.")

    for question, shown in (("too much", "the limit is 8192"), ("please explode", "Something went wrong inside")):
        chat.ask(question)
        expect(chat.status.get_by_role("alert")).to_contain_text(shown, timeout=STREAM_MS)
        chat.page.wait_for_timeout(1000)  # the box may still hold what was typed, before it is emptied and refilled
        expect(chat.box).to_have_value(question)
    assert "/some/server/path" not in chat.page.locator("body").inner_text()
    chat.ask("Fine again?")
    chat.answered("Turn 2")


def test_a_too_large_upload_is_refused(chat: Chat, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(waveform_to_wav_bytes(noise(70.0)))  # 2.2 MB, the limit here is 2
    chat.page.locator("#question input[type=file]").set_input_files(str(large))
    expect(chat.page.get_by_test_id("toast-body")).to_be_visible(timeout=STREAM_MS)
    expect(chat.page.locator("#question .thumbnail-item")).to_have_count(0)


def emptied(server: Server) -> bool:
    """Wait until no player is left of tabs that were closed."""
    ends = time.monotonic() + 20 * PATIENCE
    while server.players and time.monotonic() < ends:
        time.sleep(0.1)
    return not server.players


def test_two_people_do_not_mix(browser: Browser, server: Server, clips: list[Path]) -> None:
    assert emptied(server), "tabs of earlier tests"
    contexts = [browser.new_context(), browser.new_context()]
    first, second = (Chat(context.new_page(), server.address) for context in contexts)
    first.attach(clips[0])
    second.attach(clips[1])
    first.ask("long from the first")
    second.ask("from the second")
    expect(first.bubbles("bot").last).to_contain_text("Turn 1: I was given 6.00 s.", timeout=STREAM_MS)
    expect(first.bubbles("bot").last).to_contain_text("word1")
    second.answered("Turn 1: I was given 2.00 s. You asked: from the second")
    expect(first.stop).to_be_visible()  # the long answer, begun before, is still being written
    first.stop.click()
    expect(first.send).to_be_visible(timeout=SOON_MS)
    assert "second" not in first.bubbles("bot").last.inner_text()
    assert len(server.players) == 2
    for context in contexts:
        context.close()
    assert emptied(server), "closed tabs leave no recordings behind"


def test_players_jump_to_events(chat: Chat, clips: list[Path]) -> None:
    chat.ask("What?", clips[0])
    chat.answered("Turn 1")
    card = chat.cards.first
    audio = card.locator("audio")
    playable = """node => new Promise(done => node.readyState ? done(node.duration)
      : node.onloadedmetadata = () => done(node.duration))"""
    assert audio.evaluate(playable) == pytest.approx(6.0, abs=0.05)
    bars = card.locator(".alm-lane button")
    assert [bar.get_attribute("data-seek") for bar in bars.all()] == ["0.000", "4.000", "2.000", "2.000", "4.000"]
    bars.nth(1).click()
    expect(card.locator(".alm-head")).to_have_css("opacity", "0.9")
    assert 4.0 <= audio.evaluate("node => node.currentTime") < 6.1
    card.locator(".alm-spectrogram").click(position={"x": 2, "y": 10})
    assert audio.evaluate("node => node.currentTime") < 2.0
    card.get_by_text("Good morning.").locator("..").get_by_role("button").first.click()
    assert 2.0 <= audio.evaluate("node => node.currentTime") < 4.0
    bars.nth(1).focus()
    chat.page.keyboard.press("Enter")
    assert 4.0 <= audio.evaluate("node => node.currentTime") < 6.1, "by keyboard"
    picture = card.locator(".alm-spectrogram img")
    assert picture.evaluate("node => [node.naturalWidth > 300, node.naturalHeight]") == [True, 96]


def test_what_people_type_is_text(chat: Chat, clips: list[Path]) -> None:
    evil = '<img src=x onerror="alert(1)"> **not bold** ![x](https://example.org/x.png) <audio>'
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    chat.ask(evil)
    chat.answered("Turn 1")
    expect(chat.bubbles("user").last).to_contain_text(evil)
    assert chat.bubbles("user").locator("img, b, strong, audio").count() == 0
    assert chat.bubbles("bot").locator("img, audio").count() == 0
    assert chat.bubbles("bot").locator("strong").count() == 1, "control: answers keep their bold words"
    assert not [url for url in asked if "example.org" in url]


def test_nothing_is_fetched_from_elsewhere(context: BrowserContext, server: Server, clips: list[Path]) -> None:
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    chat = Chat(page, server.address)
    chat.ask("What?", clips[0])
    chat.answered("Turn 1")
    elsewhere = [url for url in asked if not url.startswith((server.address, "data:", "blob:"))]
    assert asked and not elsewhere, elsewhere
    with urllib.request.urlopen(server.address) as reply:
        assert "default-src 'self'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
    blocked = "fetch('https://example.org/x').then(() => 'sent', () => 'blocked')"
    assert page.evaluate(blocked) == "blocked"


def test_files_of_the_server_are_not_served(server: Server) -> None:
    for path in ("/etc/passwd", str(TESTS / "conftest.py"), str(server.temporary)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.address}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_phone_size(context: BrowserContext, server: Server, clips: list[Path]) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    chat = Chat(page, server.address)
    chat.ask("What is this? " + "averylongwordwithoutanybreak" * 4, clips[0])
    chat.answered("Turn 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("#question", "#retry", "#undo", "#clear", ".alm-card", ".alm-card audio"):
        box = page.locator(name).first.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390, name
    chat.shot("phone-answered")


def test_keyboard_only_and_names_of_controls(chat: Chat, clips: list[Path]) -> None:
    chat.attach(clips[1])
    chat.box.focus()
    chat.page.keyboard.type("By keyboard")
    chat.page.keyboard.press("Enter")
    chat.answered("Turn 1: I was given 2.00 s. You asked: By keyboard")
    nameless = """() => [...document.querySelectorAll("button, textarea, audio, input")]
      .filter(n => n.offsetParent && !n.ariaLabel && !n.textContent?.trim() && !n.title && !n.labels?.length && !n.alt
        && n.type !== "file")
      .map(n => n.outerHTML.slice(0, 120))"""
    assert chat.page.evaluate(nameless) == []
    around = """() => { const ids = [];
      for (let n = document.activeElement; n; n = n.parentElement) ids.push(n.id); return ids }"""
    reached: set[str] = set()
    for _ in range(40):
        chat.page.keyboard.press("Tab")
        reached |= set(chat.page.evaluate(around))
    assert {"retry", "undo", "clear", "recordings"} <= reached


def test_settings_reach_the_answer(chat: Chat, clips: list[Path]) -> None:
    chat.open_settings()
    expect(chat.page.locator("#about")).to_contain_text("delayed")
    number, handle = (chat.page.locator(f"#max-new-tokens input[type={kind}]") for kind in ("number", "range"))
    expect(number).to_be_editable()
    for _ in range(20):  # a slider that has just been drawn takes its first value back
        number.fill("8")
        number.press("Tab")
        chat.page.wait_for_timeout(200)
        if number.input_value() == handle.input_value() == "8":
            break
    expect(handle).to_have_value("8")
    chat.page.locator("#evidence input").uncheck()
    expect(number).to_have_value("8")
    chat.ask("a long one", clips[1])
    chat.answered("cut at the longest answer")
    assert "word0" not in chat.bubbles("bot").last.inner_text()
    expect(chat.cards.first).to_contain_text("evidence is off")
    chat.shot("desktop-settings")


def test_dark_theme(chat: Chat, server: Server, clips: list[Path]) -> None:
    chat.page.goto(f"{server.address}?__theme=dark")
    expect(chat.box).to_be_visible(timeout=STREAM_MS)
    chat.ask("What?", clips[0])
    chat.answered("Turn 1")
    chat.shot("desktop-dark")


def test_microphone(context: BrowserContext, server: Server) -> None:
    """The fake device beeps; that the recording arrives as audio is what counts."""
    context.grant_permissions(["microphone"], origin=server.address.rstrip("/"))
    chat = Chat(context.new_page(), server.address)
    chat.page.get_by_test_id("microphone-button").click()
    chat.page.locator("#question").get_by_role("button", name="Start recording").click()
    chat.page.wait_for_timeout(1_200)  # the length of the recording
    chat.page.locator("#question").get_by_role("button", name=re.compile("^stop", re.I)).first.click()
    chat.page.locator("#question").get_by_role("button", name="Attach audio").click()
    chat.box.fill("What did I say?")
    expect(chat.send).to_be_enabled(timeout=STREAM_MS)
    chat.send.click()
    chat.answered("You asked: What did I say?")
    expect(chat.bubbles("bot").last).to_contain_text(re.compile(r"I was given [01]\.\d\d s|I was given 2\.\d\d s"))
    chat.shot("desktop-microphone")


def test_password_and_clean_up(tmp_path: Path, browser: Browser, clips: list[Path]) -> None:
    with serving(tmp_path, "0", "me:secret") as server:
        page = browser.new_page()
        page.goto(server.address)
        expect(page.locator("#question")).to_have_count(0)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{server.address}gradio_api/info")
        fields = page.locator("input")
        fields.nth(0).fill("me")
        fields.nth(1).fill("secret")
        page.get_by_role("button", name="Login").click()
        expect(page.locator("#question textarea")).to_be_visible(timeout=STREAM_MS)
        chat = Chat(page, server.address)
        chat.ask("What?", clips[1])
        chat.answered("Turn 1: I was given 2.00 s.")
        assert server.players
        assert list(tmp_path.glob("alm-chat-*/uploads/*/second.wav")), "uploads lie in the folder that will go"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30 * PATIENCE) in (0, 130)
        # Gradio makes empty folders of its own when it is imported; what counts is that no file is left.
        left = [p for kind in ("alm*", "gradio*") for p in tmp_path.glob(f"{kind}/**/*") if p.is_file()]
        assert left == [], "uploads and players are gone with the server"
        page.close()


@pytest.mark.weights
def test_the_real_assistant_on_the_page(
    tmp_path: Path, context: BrowserContext, clips: list[Path], weights: Any
) -> None:
    with serving(tmp_path, "-1") as server:
        chat = Chat(context.new_page(), server.address)
        # Without a recording the language model answers as it was, at length: there is something to stop.
        chat.ask("Write a long story about a lighthouse and the sea.")
        expect(chat.stop).to_be_visible(timeout=STREAM_MS)
        expect(chat.bubbles("bot").last).to_contain_text(re.compile(r"(\S+\s+){8}"), timeout=6 * STREAM_MS)
        chat.stop.click()
        expect(chat.send).to_be_visible(timeout=SOON_MS)
        expect(chat.bubbles("bot").last).to_contain_text("stopped")
        chat.shot("real-stopped")
        chat.ask("What do you hear?", clips[0])
        expect(chat.bubbles("bot")).to_have_count(2, timeout=6 * STREAM_MS)
        expect(chat.send).to_be_visible(timeout=6 * STREAM_MS)
        expect(chat.status).to_contain_text("tokens read")
        assert chat.bubbles("bot").last.inner_text().strip()
        chat.shot("real-heard")
        chat.page.locator("#clear").click()
        expect(chat.bubbles("bot")).to_have_count(0)
