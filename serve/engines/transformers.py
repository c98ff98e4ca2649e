"""The engine on our own model: one running batch (`alm.batching`), which waiting jobs join between two tokens."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from alm.batching import BatchDecoder, Request
from alm.errors import AlmError
from serve.engines.hearing import Heard, Listener, stopping
from serve.engines.jobs import EngineState, Failed, Job, Pace

if TYPE_CHECKING:
    from alm.assistant import Assistant

_LOG = logging.getLogger(__name__)


class TransformersEngine:
    """One assistant, one thread that listens, one that decodes. Satisfies `serve.engines.jobs.Engine`.

    Args:
        rows: jobs that decode together.
        most_waiting: jobs that may wait beside them.
        a_batch: all jobs count, not the single one: they join in groups, which are read faster, and nothing is kept
            for a next turn.
    """

    def __init__(
        self, assistant: Assistant, rows: int = 16, most_waiting: int = 64, a_batch: bool = False
    ) -> None:
        self.assistant, self.rows = assistant, rows
        self.decoder = BatchDecoder(assistant, remember_answers=not a_batch)
        self._group = max(1, rows // 4) if a_batch else 1
        self._running: dict[Request, Heard] = {}
        self._pace = Pace(self.rows)
        self._listener = Listener(assistant, rows, most_waiting, self._pace)
        self._thread = threading.Thread(target=self._run, name="alm-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._listener.submit(job)

    def state(self) -> EngineState:
        return EngineState(len(self._running), self._listener.waiting)

    def close(self) -> None:
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._listener.closed:
            free = self.rows - len(self._running)
            if free >= self._group:
                self._admit(self._listener.take(free, self._group, wait=not self._running))
            if self._running:
                self._step()
        for heard in self._running.values():
            heard.job.tell(stopping())

    def _admit(self, jobs: list[Heard]) -> None:
        joined = {Request(h.ready.prompt, h.job.sampling, h.audio_tokens): h for h in jobs}
        self._running.update(joined)
        self.decoder.add(*joined)
        for request in joined:
            self._after_token(request)

    def _step(self) -> None:
        for request, heard in self._running.items():
            request.cancelled |= heard.job.cancelled
        try:
            self.decoder.step()
        except Exception as error:
            _LOG.exception("a step failed; its answers are lost")
            self.decoder.clear()
            for heard in self._running.values():
                heard.job.tell(Failed(error))
            self._running.clear()
            return
        for request in list(self._running):
            self._after_token(request)

    def _after_token(self, request: Request) -> None:
        """Tell what is new; let go of what is done."""
        heard = self._running[request]
        if request.error is not None:
            if not isinstance(request.error, AlmError):
                _LOG.error("a prompt could not be read", exc_info=request.error)
            del self._running[request]
            heard.job.tell(Failed(request.error))
            return
        stopped = heard.tell(request.new_ids, bool(request.finish))
        if stopped and not request.finish:
            request.cancelled = True  # the row leaves at the next step
        if request.finish or stopped:
            del self._running[request]
            heard.end(request.new_ids, request.reused_tokens, request.finish, self._pace)
