"""The page of `alm data inspect` in headless Chromium: choose, listen, flag, statistics, copies, keys, phone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from inspect_store import record, store
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.records import write_records

pytest.importorskip("playwright", reason="pip install playwright")
from chat_browser import MARKS, PATIENCE, STREAM_MS, TESTS, wait_for
from playwright.sync_api import BrowserContext, Page, expect

pytest_plugins = ["chat_browser"]
pytestmark = [*MARKS, pytest.mark.slow]
EVIL = '<img src=x onerror="alert(1)">'
LENGTH = """node => new Promise(done => node.readyState ? done(node.duration)
  : node.onloadedmetadata = () => done(node.duration))"""
NAMELESS = """() => [...document.querySelectorAll("button, textarea, audio, input")]
  .filter(n => n.offsetParent && !n.ariaLabel && !n.textContent?.trim() && !n.title && !n.labels?.length && !n.alt)
  .map(n => n.outerHTML.slice(0, 120))"""


@dataclass(frozen=True)
class Inspected:
    """A page over a small set of records."""

    address: str
    folder: Path
    temporary: Path
    process: subprocess.Popen[bytes]

    @property
    def flags(self) -> list[dict[str, str]]:
        path = self.folder / "flags.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspected]:
    folder, temporary = store(tmp_path_factory.mktemp("records")), tmp_path_factory.mktemp("temporary")
    evil = record("dev-evil", "audio/0.wav", EVIL, EVIL, split="dev")
    write_records([evil, record("dev-lost", "audio/lost.wav", split="dev")], folder / "dev.jsonl")
    assert CliRunner().invoke(app, ["copies", str(folder)]).exit_code == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "data_prep", "inspect", str(folder), "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=temporary)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield Inspected(f"http://127.0.0.1:{port}/", folder, temporary, process)
    finally:
        process.kill()
        process.wait(10)


class Visitor:
    """What a person does on the page."""

    def __init__(self, page: Page, inspected: Inspected) -> None:
        self.page = page
        self.problems: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}") or dialog.dismiss())
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(inspected.address)
        expect(page.locator("#record .alm-record")).to_be_visible(timeout=STREAM_MS)
        expect(page.locator("html[data-alm-keys]")).to_be_attached(timeout=STREAM_MS)
        page.locator("#record audio").evaluate(LENGTH)
        page.wait_for_timeout(500)  # Gradio drops what is pressed before it has connected

    def shows(self, name: str, place: str) -> None:
        expect(self.page.locator("#record .alm-facts")).to_contain_text(name)
        expect(self.page.locator("#place")).to_contain_text(place)

    def choose(self, facet: str, word: str) -> None:
        self.page.locator(f"#facet-{facet} input").click()
        self.page.get_by_role("option", name=word, exact=True).click()

    def shot(self, name: str) -> None:
        if folder := os.environ.get("ALM_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


@pytest.fixture
def visitor(context: BrowserContext, inspected: Inspected) -> Iterator[Visitor]:
    opened = Visitor(context.new_page(), inspected)
    yield opened
    assert not opened.problems, opened.problems


def test_choose_listen_and_flag(visitor: Visitor, inspected: Inspected) -> None:
    page = visitor.page
    visitor.shows("train-0", "Record 1 of 9")
    assert page.locator("#record audio").evaluate(LENGTH) == pytest.approx(3.0, abs=0.05)
    assert page.locator("#record .alm-sound img").evaluate("node => node.naturalWidth") > 300
    page.locator("#next").click()
    visitor.shows("train-1", "Record 2 of 9")
    page.locator("#previous").click()
    visitor.shows("train-0", "Record 1 of 9")
    visitor.choose("task", "count")
    visitor.shows("train-0", "Record 1 of 2, chosen from 9")
    page.locator("#next").click()
    visitor.shows("train-3", "Record 2 of 2")
    page.locator("#next").click()
    visitor.shows("train-0", "Record 1 of 2")
    visitor.choose("task", "all")
    page.locator("#search textarea, #search input").first.fill("rings in 4")
    page.keyboard.press("Enter")
    visitor.shows("train-4", "Record 1 of 1, chosen from 9")
    page.locator("#reason").get_by_label("wrong label").check()
    page.locator("#note textarea, #note input").first.fill("a gong")
    page.locator("#flag").click()
    expect(page.locator("#record .alm-flag")).to_contain_text("flagged, wrong label: a gong")
    assert (inspected.flags[-1]["id"], inspected.flags[-1]["reason"]) == ("train-4", "wrong label")
    visitor.shot("inspect-record")
    page.locator("#unflag").click()
    expect(page.locator("#record .alm-flag")).to_have_count(0)
    assert inspected.flags[-1]["reason"] == ""


def test_what_records_say_is_text(visitor: Visitor) -> None:
    visitor.choose("split", "dev")
    visitor.shows("dev-evil", "Record 1 of 2")
    expect(visitor.page.locator(".alm-messages")).to_contain_text(EVIL)
    assert visitor.page.locator(".alm-messages img").count() == 0
    visitor.page.locator("#next").click()
    visitor.shows("dev-lost", "Record 2 of 2")
    expect(visitor.page.locator("#record .alm-problem")).to_be_visible()


def test_statistics_and_copies(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("tab", name="Statistics").click()
    expect(page.locator("#facts")).to_contain_text("9 with 9 answers")
    expect(page.locator("#plots img").first).to_be_visible()
    assert page.locator("#plots img").count() >= 8
    visitor.shot("inspect-statistics")
    page.get_by_role("tab", name="Copies and leaks").click()
    expect(page.locator("#pair")).to_contain_text("Pair 1 of 1: score")
    expect(page.locator("#pair audio")).to_have_count(2)
    page.locator("#pair-next").click()
    expect(page.locator("#pair")).to_contain_text("In train and test")
    visitor.shot("inspect-copies")


def test_keyboard_alone(visitor: Visitor, inspected: Inspected) -> None:
    page = visitor.page
    visitor.shows("train-0", "Record 1 of 9")
    page.keyboard.press("j")
    visitor.shows("train-1", "Record 2 of 9")
    page.keyboard.press("k")
    visitor.shows("train-0", "Record 1 of 9")
    page.keyboard.press("p")
    expect(page.locator("#record audio")).to_have_js_property("paused", False)
    page.keyboard.press("/")
    page.keyboard.type("jk rings in 2")  # letters of shortcuts are letters in a field
    visitor.shows("train-0", "Record 1 of 9")
    for _ in "jk rings in 2":
        page.keyboard.press("Backspace")
    page.keyboard.type("rings in 2")
    page.keyboard.press("Enter")
    visitor.shows("train-2", "Record 1 of 1")
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    page.keyboard.press("Tab")  # each of Gradio's radio buttons is a stop of its own
    page.keyboard.press("Space")
    reached: set[str] = set()
    around = """() => { const ids = [];
      for (let n = document.activeElement; n; n = n.parentElement) ids.push(n.id); return ids }"""
    for _ in range(12):
        page.keyboard.press("Tab")
        ids = page.evaluate(around)
        reached |= set(ids)
        if "note" in ids:
            page.keyboard.type("by keyboard")
        if "flag" in ids:
            page.keyboard.press("Enter")
            break
    assert {"note", "flag"} <= reached
    expect(page.locator("#record .alm-flag")).to_contain_text("by keyboard")
    assert inspected.flags[-1]["id"] == "train-2" and inspected.flags[-1]["reason"] == "wrong label"
    assert page.evaluate(NAMELESS) == []


def test_phone_size(context: BrowserContext, inspected: Inspected) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    visitor = Visitor(page, inspected)
    for tab, part in (("Records", "#record"), ("Statistics", "#plots"), ("Copies and leaks", "#pair")):
        if tab != "Records":
            shown = page.get_by_role("tab", name=tab)
            if not shown.is_visible():
                page.locator(".overflow-menu button").first.click()
            page.get_by_role("tab", name=tab).or_(page.locator(".overflow-dropdown button", has_text=tab)).first.click()
        expect(page.locator(part)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
        if tab == "Records":
            for name in ("#previous", "#next", "#flag", "#record audio", "#search"):
                box = page.locator(name).first.bounding_box()
                assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390, name
        visitor.shot(f"inspect-phone-{tab.split()[0].lower()}")
    assert not visitor.problems


def test_nothing_is_fetched_from_elsewhere_and_no_file_is_served(visitor: Visitor, inspected: Inspected) -> None:
    visitor.page.locator("#next").click()
    visitor.shows("train-1", "Record 2 of 9")
    elsewhere = [url for url in visitor.asked if not url.startswith((inspected.address, "data:", "blob:"))]
    assert visitor.asked and not elsewhere, elsewhere
    blocked = "fetch('https://example.org/x').then(() => 'sent', () => 'blocked')"
    assert visitor.page.evaluate(blocked) == "blocked"
    for path in ("/etc/passwd", inspected.folder / "train.jsonl", inspected.folder / "audio/0.wav"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{inspected.address}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_nothing_is_left_behind(inspected: Inspected) -> None:
    """The last test: the page ends."""
    assert list(inspected.temporary.glob("alm-inspect-*/*.wav"))
    inspected.process.send_signal(signal.SIGTERM)
    assert inspected.process.wait(30 * PATIENCE) in (0, 1, 130)
    assert not list(inspected.temporary.glob("alm-inspect-*/*.wav"))
