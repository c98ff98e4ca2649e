"""The engine on our own model: one running batch (`alm.batching`), which a waiting job joins between two tokens."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm.batching import BatchDecoder, Request
from alm.conversation import Answer, Prepared, Usage
from alm.errors import AlmError
from serve.engines.conversations import begun_conversation
from serve.engines.jobs import Ended, EngineState, Failed, Job, Pace, Piece
from serve.engines.pieces import TextPieces

if TYPE_CHECKING:
    from alm.assistant import Assistant

_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class _Running:
    job: Job
    ready: Prepared
    request: Request
    pieces: TextPieces
    encoded: int
    first: float = 0.0


class TransformersEngine:
    """One assistant, one thread, one running batch.

    Listening happens in the same thread, one job between two tokens: a second thread of tensor operations makes both
    slower on CPUs than one after the other.

    Args:
        rows: jobs that decode together.
        most_waiting: jobs that may wait beside them.
    """

    def __init__(self, assistant: Assistant, rows: int = 16, most_waiting: int = 64) -> None:
        self.assistant, self.rows, self.most_waiting = assistant, rows, most_waiting
        self.decoder = BatchDecoder(assistant)
        self._waiting: deque[Job] = deque()
        self._running: dict[Request, _Running] = {}
        self._news = threading.Condition()
        self._closed = False
        self._pace = Pace(self.rows)
        self._thread = threading.Thread(target=self._run, name="alm-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        with self._news:
            if self._closed or len(self._waiting) >= self.most_waiting:
                raise self._pace.refusal(len(self._waiting))
            self._waiting.append(job)
            self._news.notify()

    def state(self) -> EngineState:
        with self._news:
            return EngineState(len(self._running), len(self._waiting))

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                while not (self._closed or self._waiting or self.decoder.running):
                    self._news.wait()
                if self._closed:
                    break
                job = self._waiting.popleft() if self._waiting and len(self._running) < self.rows else None
            if job is not None and not job.cancelled:
                self._admit(job)
            if self.decoder.running:
                self._step()
        for left in [*self._waiting, *(r.job for r in self._running.values())]:
            left.tell(Failed(RuntimeError("the server is stopping")))

    def _admit(self, job: Job) -> None:
        before = self.assistant.ears.encoded
        try:
            chat, question = begun_conversation(self.assistant, job.messages, job.evidence)
            ready = chat.prepare_parts(question, job.sampling.max_new_tokens)
            request = Request(ready.prompt, job.sampling)
            self.decoder.add(request)
        except Exception as error:  # one job must not take the others with it
            if not isinstance(error, AlmError):
                _LOG.exception("a prompt could not be read")
            job.tell(Failed(error))
            return
        encoded = self.assistant.ears.encoded - before
        pieces = TextPieces(self.assistant.processor.tokenizer, job.stop)
        self._running[request] = _Running(job, ready, request, pieces, encoded)
        self._after_token(self._running[request])

    def _step(self) -> None:
        for one in self._running.values():
            one.request.cancelled |= one.job.cancelled
        try:
            self.decoder.step()
        except Exception as error:
            _LOG.exception("a step failed; its answers are lost")
            self.decoder.clear()
            for one in self._running.values():
                one.job.tell(Failed(error))
            self._running.clear()
            return
        for one in list(self._running.values()):
            self._after_token(one)

    def _after_token(self, one: _Running) -> None:
        """Tell what is new; let go of what is done."""
        if text := one.pieces.add(one.request.new_ids, bool(one.request.finish)):
            one.first = one.first or time.monotonic()
            one.job.tell(Piece(text))
        if one.pieces.stopped and not one.request.finish:
            one.request.cancelled = True  # the row leaves at the next step
        if not (one.request.finish or one.pieces.stopped):
            return
        del self._running[one.request]
        self._pace.ended(one.job)
        one.job.tell(Ended(self._answer(one)))

    def _answer(self, one: _Running) -> Answer:
        now = time.monotonic()
        usage = Usage.of(
            one.request.prompt,
            self.assistant.model.config.audio_token_id,
            new_tokens=len(one.request.new_ids),
            reused_tokens=one.request.reused_tokens,
            encoded_recordings=one.encoded,
            first_token_seconds=(one.first or now) - one.job.came,
            seconds=now - one.job.came,
        )
        finish = "stop" if one.pieces.stopped else one.request.finish
        return Answer(one.pieces.text.strip(), one.ready.evidence, usage, finish, one.ready.asked)
