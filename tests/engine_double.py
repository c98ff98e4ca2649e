"""A stand-in for the engines of `serve.engines`, around the stand-in assistant: jobs share steps of a word each.

It answers with what it was given, and keeps the rules of an engine: events in their order, one end for each job,
places that are bounded, jobs that are cancelled at any time.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import assistant_double
from assistant_double import Answer, Usage

from alm.errors import ContextError, ConversationError
from alm.messages import parts_of, recordings_of
from serve.chat.models import Models, Offer, Served
from serve.engines.jobs import Ended, EngineState, Failed, Job, Pace, Piece


@dataclass
class Running:
    """A job that is being answered."""

    job: Job
    words: list[str]
    recordings: int
    said: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)


class Engine:
    """Satisfies `serve.engines.jobs.Engine`.

    Args:
        rows: jobs that are answered at a time.
        mixes: tell everybody the first one's words; for controls.
    """

    def __init__(
        self, assistant: assistant_double.Assistant, rows: int = 4, most_waiting: int = 8, mixes: bool = False
    ) -> None:
        self.assistant, self.rows, self.most_waiting, self.mixes = assistant, rows, most_waiting, mixes
        self.most_at_once = 0
        """Jobs that were answered in the same step, at most."""
        self.jobs: list[Job] = []
        """All that came."""
        self._waiting: list[Job] = []
        self._running: list[Running] = []
        self._closed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        with self._news:
            self._waiting = [other for other in self._waiting if not other.cancelled]
            if len(self._waiting) >= self.most_waiting:
                raise Pace(self.rows, 20.0).refusal(len(self._waiting))
            self.jobs.append(job)
            self._waiting.append(job)
            self._news.notify()

    def state(self) -> EngineState:
        return EngineState(len(self._running), len(self._waiting))

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                while not (self._closed or self._waiting or self._running):
                    self._news.wait()
                if self._closed:
                    return
                free = self.rows - len(self._running)
                joining, self._waiting = self._waiting[:free], self._waiting[free:]
            self._running += [begun for job in joining if job.claim() and (begun := self._begun(job))]
            self.most_at_once = max(self.most_at_once, len(self._running))
            self._step()

    def _begun(self, job: Job) -> Running | None:
        question = parts_of(job.messages[-1])[-1]["text"]
        turns = [m for m in job.messages if m["role"] != "system"]
        if (error := self._problem(question, len(turns))) is not None:
            job.tell(Failed(error))
            return None
        recordings = recordings_of(job.messages[-1])
        return Running(job, self.assistant.words(question, recordings, len(turns)), len(recordings))

    def _problem(self, question: str, messages: int) -> Exception | None:
        if "too much" in question:
            return ConversationError("the conversation would take 9999 tokens; the limit is 8192. Use clear()")
        if messages > 2 * self.assistant.most_turns:
            return ContextError("the conversation would take 9000 tokens; the limit is 8192. Use clear()")
        return RuntimeError("a bug inside /some/server/path") if "explode" in question else None

    def _step(self) -> None:
        for one in list(self._running):
            most = one.job.sampling.max_new_tokens
            if one.job.cancelled:
                self._end(one, "cancelled")
            elif len(one.said) == min(most, len(one.words)):
                self._end(one, "length" if len(one.words) > most else "stop")
            else:
                source = self._running[0] if self.mixes else one
                word = source.words[len(one.said) % len(source.words)]
                one.said.append(word)
                one.job.tell(Piece(word))
        if self._running:
            time.sleep(self.assistant.delay_seconds)

    def _end(self, one: Running, finish: str) -> None:
        self._running.remove(one)
        seconds, count = time.perf_counter() - one.began, one.recordings
        usage = Usage(20 + 16 * count, 16 * count, len(one.said), 0, count, 0.1, seconds)
        text = "".join(one.said).strip()
        one.job.tell(Ended(Answer(text, (), usage, finish)))  # type: ignore[arg-type]


def offer(name: str = "double", **changes: Any) -> Offer:
    values: dict[str, Any] = {"preset": name, "adapter": None, "scheme": "delayed", "context_tokens": 8192, **changes}
    return Offer(name, **values)


def models(
    assistant: assistant_double.Assistant | None = None, offers: tuple[str, ...] = ("double",), **engine: Any
) -> Models:
    """Models as the page has them; each with an engine of its own."""
    made = assistant or assistant_double.Assistant()

    def start(chosen: Offer) -> Served:
        return Served(made, Engine(made, **engine))  # type: ignore[arg-type]

    return Models([offer(name) for name in offers], start)


def engine_of(found: Models, name: str = "double") -> Engine:
    engine: Any = found.get(name).engine
    return engine  # type: ignore[no-any-return]
