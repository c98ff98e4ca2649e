"""Ask a running chat page one question about a made-up recording, the way a browser does, without a browser.

`python tools/ask_page.py http://127.0.0.1:7860 [--pid SERVER] [--wait-seconds 120]` waits for the page, uploads a
tone, submits a question, follows the stream, prints the answer, and asks again in the same conversation. Exit code 0
when both answers have text. Standard library only.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import secrets
import struct
import sys
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator
from typing import Any

COUNTERS = re.compile(r"\s*<small>[^<]*</small>$")
JSON_HEADERS = {"Content-Type": "application/json"}


class PageError(Exception):
    """The page did not do what a page does; the message says which step failed."""


def tone(seconds: float = 2.0, frequency_hz: float = 440.0, rate_hz: int = 16_000) -> bytes:
    """A WAV file with a sine."""
    held = io.BytesIO()
    with wave.open(held, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        turn = 2 * math.pi * frequency_hz / rate_hz
        count = round(seconds * rate_hz)
        out.writeframes(b"".join(struct.pack("<h", round(9000 * math.sin(turn * i))) for i in range(count)))
    return held.getvalue()


class Page:
    """One tab: its session, and the page's own description of itself."""

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self.address, self.timeout = address.rstrip("/"), timeout_seconds
        self.session = secrets.token_hex(6)
        self.config: dict[str, Any] = json.loads(self._open("/config"))
        self.prefix = self.config.get("api_prefix", "")

    def _open(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        request = urllib.request.Request(self.address + path, body, headers or {})
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            return bytes(answer.read())

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """Send a file; what the page's inputs call it."""
        mark = secrets.token_hex(16)
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        )
        body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        path = json.loads(self._open(f"{self.prefix}/upload?upload_id={mark}", body, kind))[0]
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def component(self, element: str) -> int:
        """Number of the component with this element id."""
        for found in self.config["components"]:
            if found["props"].get("elem_id") == element:
                return int(found["id"])
        raise PageError(f"the page has no element '{element}'")

    def chain(self, element: str, event: str) -> list[dict[str, Any]]:
        """What happens on an event: the first function, then those that follow it."""
        target, steps = self.component(element), self.config["dependencies"]
        chain = [step for step in steps if [target, event] in step["targets"]]
        if not chain:
            raise PageError(f"nothing happens on {event} of '{element}'")
        while following := [step for step in steps if step["trigger_after"] == chain[-1]["id"]]:
            chain.append(following[0])
        return chain

    def defaults(self, step: dict[str, Any]) -> list[Any]:
        """The values that the step's inputs show when the page opens."""
        values = {found["id"]: found["props"].get("value") for found in self.config["components"]}
        return [values[number] for number in step["inputs"]]

    def call(self, step: dict[str, Any], values: list[Any]) -> list[Any]:
        """Run one step; the values of its outputs at the end."""
        order = {"data": values, "fn_index": step["id"], "session_hash": self.session}
        self._open(f"{self.prefix}/queue/join?", json.dumps(order).encode(), JSON_HEADERS)
        for message in self._events():
            if message["msg"] == "process_completed":
                if not message["success"]:
                    raise PageError(f"{step['api_name']} failed: {message['output'].get('error')}")
                return list(message["output"]["data"])
        raise PageError(f"{step['api_name']} ended without a result")

    def _events(self) -> Iterator[dict[str, Any]]:
        source = f"{self.address}{self.prefix}/queue/data?session_hash={self.session}"
        with urllib.request.urlopen(source, timeout=self.timeout) as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    message = json.loads(line[5:])
                    yield message
                    if message["msg"] == "close_stream":
                        return

    def ask(self, question: str, files: list[dict[str, Any]]) -> str:
        """Submit a question with recordings; the last answer in the conversation."""
        first, *rest = self.chain("question", "submit")
        shown = self.call(first, [{"text": question, "files": files}])
        for step in rest:
            shown = self.call(step, self.defaults(step))
        turns = shown[first["outputs"].index(self.component("conversation"))]
        if not turns or turns[-1]["role"] != "assistant":
            raise PageError(f"the conversation has no answer: {turns!r}")
        return COUNTERS.sub("", text_of(turns[-1]["content"]).strip())


def text_of(content: Any) -> str:
    """The words of a message, whatever it is wrapped in."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(map(text_of, content))
    return text_of(content["text"]) if isinstance(content, dict) and "text" in content else ""


def wait_for(address: str, seconds: float, pid: int | None) -> Page:
    """The page, as soon as it answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return Page(address, timeout_seconds=300)
        except (urllib.error.URLError, ConnectionError, ValueError):
            time.sleep(1)
        if pid is not None:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                raise PageError("the server ended before it answered") from None
    raise PageError(f"no answer from {address} within {seconds:.0f} s")


def main() -> None:
    """Wait, ask twice, print."""
    parser = argparse.ArgumentParser(description="Ask a running chat page a question about a tone.")
    parser.add_argument("address")
    parser.add_argument("--pid", type=int, help="process of the server: give up when it ends")
    parser.add_argument("--wait-seconds", type=float, default=120)
    asked = parser.parse_args()
    started = time.monotonic()
    try:
        page = wait_for(asked.address, asked.wait_seconds, asked.pid)
        print(f"the page answers after {time.monotonic() - started:.0f} s")
        clip = page.upload("tone.wav", tone())
        for question, files in (("What do you hear?", [clip]), ("Is it a dog?", [])):
            answer = page.ask(question, files)
            print(f"{question} -> {answer}  ({time.monotonic() - started:.0f} s)")
            if not answer:
                raise PageError(f"the answer to {question!r} is empty")
    except (PageError, urllib.error.URLError) as error:
        sys.exit(f"ask_page: {error}")


if __name__ == "__main__":
    main()
