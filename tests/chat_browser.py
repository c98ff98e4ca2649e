"""A chat page in a process of its own, a browser, and a person at it: what the browser tests share.

Screenshots go to the folder named by ALM_SCREENSHOTS, so that they can be looked at. ALM_TEST_PATIENCE multiplies
every time limit, for machines that are busy with other things.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from alm.audio import waveform_to_wav_bytes
from alm.testing import two_tone_scene

TESTS = Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]  # fmt: skip
PATIENCE = float(os.environ.get("ALM_TEST_PATIENCE", "1"))
SOON_MS, STREAM_MS = 5_000 * PATIENCE, 30_000 * PATIENCE
expect.set_options(timeout=SOON_MS)
MARKS = [
    pytest.mark.browser,
    pytest.mark.timeout(300 * PATIENCE),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)"),
]


@dataclass(frozen=True)
class Server:
    address: str
    temporary: Path
    process: subprocess.Popen[bytes]

    @property
    def players(self) -> list[Path]:
        return list(self.temporary.glob("alm-chat-*/players/*"))


@contextmanager
def serving(temporary: Path, *args: str) -> Iterator[Server]:
    """The page in a process of its own; what it writes lies in `temporary`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        "TMPDIR": str(temporary),
    }
    command = [sys.executable, str(TESTS / "chat_server.py"), str(port), *args]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, cwd=temporary)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield Server(f"http://127.0.0.1:{port}/", temporary, process)
    finally:
        process.kill()
        process.wait(10)


def wait_for(address: str, process: subprocess.Popen[bytes], seconds: float = 120.0 * PATIENCE) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address} within {seconds} s")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), str(min(1.0, 0.03 * PATIENCE))) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(STREAM_MS)
    yield made
    made.close()


class Chat:
    """What a person does on the page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}") or dialog.dismiss())
        page.goto(address)
        expect(self.box).to_be_visible(timeout=STREAM_MS)

    @property
    def box(self) -> Locator:
        return self.page.locator("#question textarea")

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    @property
    def cards(self) -> Locator:
        return self.page.locator(".alm-card")

    @property
    def send(self) -> Locator:
        return self.page.locator("#question .submit-button")

    @property
    def stop(self) -> Locator:
        return self.page.locator("#question .stop-button")

    def bubbles(self, kind: str) -> Locator:
        return self.page.locator(f"#conversation .message.{kind}")

    def attach(self, *files: Path) -> None:
        with self.page.expect_file_chooser() as waiting:
            self.page.locator("#question").get_by_test_id("upload-button").click()
        waiting.value.set_files([str(file) for file in files])
        expect(self.page.locator("#question .thumbnail-item")).to_have_count(len(files), timeout=STREAM_MS)

    def ask(self, question: str, *files: Path) -> None:
        if files:
            self.attach(*files)
        self.box.fill(question)
        self.send.click()

    def answered(self, text: str) -> None:
        """Wait for the end of the answer that holds `text`."""
        expect(self.bubbles("bot").last).to_contain_text(text, timeout=STREAM_MS)
        expect(self.send).to_be_visible(timeout=STREAM_MS)
        expect(self.status).to_contain_text("tokens read")

    def open_settings(self) -> None:
        """Gradio makes what is inside at the first opening, and draws it once more a moment later."""
        self.page.locator("#settings").get_by_role("button").first.click()
        expect(self.page.locator("#system textarea")).to_be_visible()
        self.page.wait_for_timeout(500)

    def shot(self, name: str) -> None:
        if folder := os.environ.get("ALM_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


@pytest.fixture
def chat(context: BrowserContext, server: Server) -> Iterator[Chat]:
    opened = Chat(context.new_page(), server.address)
    yield opened
    assert not opened.problems, opened.problems


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    made = [folder / "yard at night.wav", folder / "second.wav"]
    for path, seconds in zip(made, (6.0, 2.0), strict=True):
        path.write_bytes(waveform_to_wav_bytes(two_tone_scene(seconds)))
    return made
