"""A deterministic stand-in for the assistant, for tests of what is around it: no weights, no torch.

It answers with what it was given (how many recordings, how long, which question), word by word, and keeps the
rules of a conversation: history, undo, stop, limits, evidence. `test_cli.py` compares its shape with the real one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from alm.audio import Waveform, load_audio
from alm.errors import ContextError, ConversationError
from alm.evidence import Evidence, Segment, Tag


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    audio_tokens: int
    new_tokens: int
    reused_tokens: int
    encoded_recordings: int
    first_token_seconds: float
    seconds: float


@dataclass(frozen=True)
class Answer:
    text: str
    evidence: tuple[Evidence, ...]
    usage: Usage
    finish: str
    asked: tuple[Any, ...] = ()


@dataclass
class Conversation:
    assistant: Assistant
    system: str
    use_evidence: bool
    last: Answer | None = None
    _messages: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, question: str, audio: Any = None, **options: Any) -> Answer:
        for _ in self.stream(question, audio, **options):
            pass
        assert self.last is not None
        return self.last

    def stream(
        self,
        question: str,
        audio: Any = None,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        stop: threading.Event | None = None,
    ) -> Generator[str, None, None]:
        self.assistant.enter()
        try:
            yield from self._answer(question, _as_list(audio), max_new_tokens, stop or threading.Event())
        finally:
            self.assistant.leave()

    def _answer(self, question: str, audio: list[Any], most: int, stop: threading.Event) -> Generator[str, None, None]:
        started = time.perf_counter()
        recordings = [load_audio(a) for a in audio]
        heard = [self.assistant.analyse(r) if self.use_evidence else _bare(r) for r in recordings]
        self._messages.append({"role": "user", "content": question, "audio": recordings})
        if "too much" in question:
            self._messages.pop()
            raise ConversationError("the conversation would take 9999 tokens; the limit is 8192. Use clear()")
        if len(self._messages) > 2 * self.assistant.most_turns:
            self._messages.pop()
            raise ContextError("the conversation would take 9000 tokens; the limit is 8192. Use clear()")
        if "explode" in question:
            self._messages.pop()
            raise RuntimeError("a bug inside /some/server/path")
        words = self.assistant.words(question, recordings, len(self.history))
        said, count = "", 0
        for word in words[:most]:
            if stop.is_set():
                break
            said, count = said + word, count + 1
            try:
                yield word
            except GeneratorExit:
                stop.set()
            if self.assistant.delay_seconds:
                stop.wait(self.assistant.delay_seconds)
        if not said:
            self._messages.pop()
            return
        finish = "cancelled" if stop.is_set() else "length" if len(words) > most else "stop"
        self._messages.append({"role": "assistant", "content": said})
        seconds = time.perf_counter() - started
        usage = Usage(20 + 16 * len(recordings), 16 * len(recordings), count, 0, len(recordings), 0.1, seconds)
        self.last = Answer(said.strip(), tuple(heard), usage, finish)

    def remember(self, message: dict[str, Any]) -> None:
        parts = message["content"]
        if message["role"] == "user":
            audio = [p["audio"] for p in parts if p["type"] == "audio"]
            self._messages.append({"role": "user", "content": parts[-1]["text"], "audio": audio})
        else:
            self._messages.append(dict(message))

    @property
    def history(self) -> list[dict[str, Any]]:
        return [{"role": m["role"], "content": m["content"]} for m in self._messages]

    def undo(self) -> None:
        while self._messages and self._messages.pop()["role"] != "user":
            pass

    def clear(self) -> None:
        self._messages.clear()
        self.last = None


def batch_answerer(assistant: Assistant) -> Any:
    """As `serve.batch.answering.BatchAnswerer`, row by row."""

    def answer(rows: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for place, ready in enumerate(rows):
            content = ready.row.messages[-1]["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            question = "".join(p["text"] for p in parts if p["type"] == "text").replace("<audio>", "")
            try:
                yield place, assistant.conversation().ask(question, ready.recordings)
            except Exception as error:
                yield place, error

    return answer


@dataclass
class Assistant:
    delay_seconds: float = 0.0
    use_evidence: bool = True
    preset: str = "double"
    most_turns: int = 1000
    """Turns that the context holds, the new question included."""
    most_at_once: int = 0
    """Answers that were written at the same time, at most; the page must keep this at one."""
    _active: int = 0
    _count: threading.Lock = field(default_factory=threading.Lock)

    def conversation(self, system: str | None = None, evidence: bool | None = None) -> Conversation:
        return Conversation(self, system or "Listen.", self.use_evidence if evidence is None else evidence)

    def analyse(self, recording: Waveform) -> Evidence:
        third = recording.seconds / 3
        tags = (
            Tag("dog bark", 0.0, third, 0.91),
            Tag("rain <b>heavy</b>", third, 3 * third, 0.44),
            Tag("dog bark", 2 * third, 3 * third, 0.66),
        )
        parts = (Segment(third, 2 * third, "Good morning."), Segment(2 * third, 3 * third, "<i>Who</i> is there?"))
        text = "Good morning. <i>Who</i> is there?"
        return Evidence(recording.source, recording.seconds, recording.sha256, tags, text, parts)

    def info(self) -> dict[str, Any]:
        return {"preset": self.preset, "fusion": [{"scheme": "delayed"}], "limits": {"context_tokens": 8192}}

    def words(self, question: str, recordings: Sequence[Waveform], messages: int) -> list[str]:
        """What it will say; a question for a long answer gets one."""
        lengths = " and ".join(f"{r.seconds:.2f} s" for r in recordings) or "no new recording"
        text = f"Turn {(messages + 1) // 2}: I was given {lengths}. You asked: {question}"
        if "long" in question:
            text += " " + " ".join(f"word{i}" for i in range(400))
        words = text.split(" ")
        return [words[0], *(f" {word}" for word in words[1:])]

    def enter(self) -> None:
        with self._count:
            self._active += 1
            self.most_at_once = max(self.most_at_once, self._active)

    def leave(self) -> None:
        with self._count:
            self._active -= 1


def _bare(recording: Waveform) -> Evidence:
    return Evidence(recording.source, recording.seconds, recording.sha256)


def _as_list(audio: Any) -> list[Any]:
    return [] if audio is None else list(audio) if isinstance(audio, list | tuple) else [audio]
