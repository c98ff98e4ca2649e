"""A real server on a free port whose engine writes by a script: what `alm data generate` asks is answered in words."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import assistant_double
import engine_double
import uvicorn

from alm.endpoints import Endpoint
from data_prep.generation.prompting import FOLDER, load_prompt
from serve.api.app import create_app
from serve.api.settings import ServerSettings


@cache
def _pieces() -> dict[str, tuple[str, ...]]:
    """The words of each prompt around its places."""
    found = {}
    for place in FOLDER.glob("*.yaml"):
        if "\nuser:" in place.read_text(encoding="utf-8"):
            parts = re.split(r"\{[a-z_]+\}", load_prompt(place.stem).user)
            found[place.stem] = tuple(part.strip() for part in parts if part.strip())
    return found


def prompt_of(question: str) -> str:
    """Which prompt was filled."""
    (name,) = (name for name, pieces in _pieces().items() if all(piece in question for piece in pieces))
    return name


def first_fact(question: str, number: int = 1) -> str:
    """What a fact of the evidence names, without its kind and times."""
    found = re.search(rf"\[E{number}\] [\w ]+: (.*?)(?: \([\d.]+ to [\d.]+ s\))?$", question, re.MULTILINE)
    assert found
    return found[1]


@dataclass
class Script:
    """What the writer says to each prompt: a text, or a function of the question; else the good answer."""

    said: dict[str, str | Callable[[str], str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    questions: list[str] = field(default_factory=list)
    recordings: int = 0

    def __call__(self, question: str, recordings: int) -> str:
        name = prompt_of(question)
        self.asked[name] += 1
        self.questions.append(question)
        self.recordings += recordings
        answer = self.said.get(name) or GOOD[name]
        return answer if isinstance(answer, str) else answer(question)


GOOD: dict[str, str | Callable[[str], str]] = {
    "aig": lambda q: f"Q: What can be heard?\nA: I hear this: {first_fact(q)}.\n\n"
    f"Q: What may come next?\nA: Perhaps more of the same, since {first_fact(q)} is heard.",
    "scene": lambda q: f"The recording has this: {first_fact(q)}.",
    "compa-r": lambda q: f"Q: Why may that be?\nA: Probably by chance, since {first_fact(q)} is all there is.",
    "caption": lambda q: f"Caption: {first_fact(q)} can be heard.",
    "listen-whether": lambda q: "Yes." if "other than speech" in q else "No, there is none.",
    "listen-sound": "It is rather loud.",
    "describe": "1. A short and sharp burst that fades at once.\n2. A bright tone, loud and abrupt, that repeats.",
    "rewrite": lambda q: f"- What is heard: {caption_in(q)}",
    "rationale": lambda q: f"1. {first_fact(q)} comes first [E1].\n2. Then there is {first_fact(q, 2)} [E2].\n"
    f"Answer: {first_fact(q)}",
    "no-answer": lambda q: f"Q: What is the owner called?\nA: The name cannot be told. I hear this: {first_fact(q)}.",
    "answerable": "No.",
    "refusal": lambda q: f"Q: Who is it?\nA: I can't say who that is. I can tell you more about this: {first_fact(q)}.",
    "answer": lambda q: f"I hear {first_fact(q)}.",
    "judge": "5",
}  # fmt: skip


def caption_in(question: str) -> str:
    """The quoted caption of a question to rewrite it."""
    found = re.search(r"\[text \w+\]\n(.*?)\n\[end of text", question, re.DOTALL)
    assert found
    return found[1]


@dataclass
class Writer(assistant_double.Assistant):
    """The stand-in assistant, with a script instead of its own words."""

    script: Script = field(default_factory=Script)

    def words(self, question: str, recordings: Sequence[Any], messages: int) -> list[str]:
        return re.findall(r"\s*\S+", self.script(question, len(recordings)))


@contextmanager
def serving(script: Script, key: str = ""):  # type: ignore[no-untyped-def]
    """An endpoint on this machine, gone when the block ends."""
    engine = engine_double.Engine(Writer(script=script), most_waiting=64)
    app = create_app(engine, ServerSettings("double", (key,) if key else ()))  # type: ignore[arg-type]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Endpoint(f"http://127.0.0.1:{port}/v1", "double", first_wait_seconds=0.01)
    finally:
        server.should_exit = True
        thread.join(10)
        engine.close()
