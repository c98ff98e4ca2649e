"""The engine on our own model: running batches (`alm.batching`), which waiting jobs join between two tokens.

On CPUs several threads with a batch each, and a core or more for each, are faster than one thread with all cores: most
of a small model's operations are too small to be shared out. They work on the same weights.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import torch

from alm.batching import BatchDecoder, Request
from alm.cores import usable_cores
from alm.errors import AlmError
from alm.prefix_cache import PrefixCache
from serve.engines.hearing import Heard, Listener, stopping
from serve.engines.jobs import EngineState, Failed, Job, Pace

if TYPE_CHECKING:
    from alm.assistant import Assistant

_LOG = logging.getLogger(__name__)
PREFIX_BYTES = {False: 512 * 2**20, True: 128 * 2**20}
"""Room for what was read of earlier prompts; in a batch questions about one recording follow each other."""
MOST_LANES = 4


class TransformersEngine:
    """One assistant, one thread that listens, others that decode. Satisfies `serve.engines.jobs.Engine`.

    Args:
        rows: jobs that decode together, in all threads.
        most_waiting: jobs that may wait beside them.
        a_batch: all jobs count, not the single one: they join in groups, which are read faster, and nothing is kept
            for a next turn.
        lanes: threads that decode; None: as many as the machine has cores for, or one for a GPU.
    """

    def __init__(
        self,
        assistant: Assistant,
        rows: int = 16,
        most_waiting: int = 64,
        a_batch: bool = False,
        lanes: int | None = None,
    ) -> None:
        self.assistant = assistant
        self._pace = Pace(rows)
        self._listener = Listener(assistant, rows, most_waiting, self._pace)
        prefixes = PrefixCache(assistant.model.config, PREFIX_BYTES[a_batch])
        count = min(lanes or _usual_lanes(assistant), rows)
        shares = [rows // count + (lane < rows % count) for lane in range(count)]
        cores = max(1, usable_cores() // count)
        self._lanes = [
            _Lane(BatchDecoder(assistant, prefixes, not a_batch), self._listener, self._pace, share, a_batch, cores)
            for share in shares
        ]

    def submit(self, job: Job) -> None:
        self._listener.submit(job)

    def state(self) -> EngineState:
        return EngineState(sum(lane.jobs for lane in self._lanes), self._listener.waiting)

    def close(self) -> None:
        self._listener.close()
        for lane in self._lanes:
            lane.join()


def _usual_lanes(assistant: Assistant) -> int:
    return min(usable_cores(), MOST_LANES) if assistant.model.device.type == "cpu" else 1


class _Lane:
    """A thread with a batch of its own."""

    def __init__(
        self, decoder: BatchDecoder, listener: Listener, pace: Pace, rows: int, a_batch: bool, cores: int
    ) -> None:
        self._decoder, self._listener, self._pace, self._rows, self._cores = decoder, listener, pace, rows, cores
        self._group = max(1, rows // 2) if a_batch else 1
        self._running: dict[Request, Heard] = {}
        self._thread = threading.Thread(target=self._run, name="alm-engine", daemon=True)
        self._thread.start()

    @property
    def jobs(self) -> int:
        """That are being answered."""
        return len(self._running)

    def join(self) -> None:
        """Wait for the end, which the listener's end brings."""
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._cores)  # with OpenMP, of this thread
        while not self._listener.closed:
            free = self._rows - len(self._running)
            if free >= self._group:
                self._admit(self._listener.take(free, self._group, wait=not self._running))
            if self._running:
                self._step()
        for heard in self._running.values():
            heard.job.tell(stopping())

    def _admit(self, jobs: list[Heard]) -> None:
        joined = {Request(h.ready.prompt, h.job.sampling, h.audio_tokens): h for h in jobs}
        self._running.update(joined)
        self._decoder.add(*joined)
        for request in joined:
            self._after_token(request)

    def _step(self) -> None:
        for request, heard in self._running.items():
            request.cancelled |= heard.job.cancelled
        try:
            self._decoder.step()
        except Exception as error:
            _LOG.exception("a step failed; its answers are lost")
            self._decoder.clear()
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
