"""From a job to what decodes: its conversation is put together and listened to, ahead of the decoding."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from alm.conversation import Answer, Prepared, Usage
from alm.errors import AlmError
from serve.engines.conversations import begun_conversation
from serve.engines.jobs import Ended, Failed, Job, Pace, Piece
from serve.engines.pieces import TextPieces

if TYPE_CHECKING:
    from alm.assistant import Assistant

_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Heard:
    """A job that is ready to be answered, and the answer as far as it has come."""

    job: Job
    ready: Prepared
    audio_tokens: Tensor | None
    """Of all its recordings, `[windows, tokens_per_window, dim]`."""
    audio_token_id: int
    pieces: TextPieces
    encoded: int
    """Recordings that were not known before."""
    first: float = 0.0

    @classmethod
    def of(cls, assistant: Assistant, job: Job) -> Heard:
        """Listen to a job's recordings and put its prompt together. Raises: AlmError, whatever is wrong with it."""
        before = assistant.ears.encoded
        chat, question = begun_conversation(assistant, job.messages, job.evidence)
        ready = chat.prepare_parts(question, job.sampling.max_new_tokens)
        tokens = assistant.audio_tokens(ready.prompt)
        pieces = TextPieces(assistant.processor.tokenizer, job.stop)
        encoded = assistant.ears.encoded - before
        return cls(job, ready, tokens, assistant.model.config.audio_token_id, pieces, encoded)

    def tell(self, new_ids: Sequence[int], last: bool) -> bool:
        """Tell what can be read of the tokens so far; whether a stop sequence ended the answer."""
        if text := self.pieces.add(new_ids, last):
            self.first = self.first or time.monotonic()
            self.job.tell(Piece(text))
        return self.pieces.stopped

    def end(self, new_ids: Sequence[int], reused: int, finish: str, pace: Pace) -> None:
        """Tell the whole answer."""
        pace.ended(self.job)
        now, came = time.monotonic(), self.job.came
        usage = Usage.of(
            self.ready.prompt,
            self.audio_token_id,
            new_tokens=len(new_ids),
            reused_tokens=reused,
            encoded_recordings=self.encoded,
            first_token_seconds=(self.first or now) - came,
            seconds=now - came,
        )
        finish = "stop" if self.pieces.stopped else finish
        answer = Answer(self.pieces.text.strip(), self.ready.evidence, usage, finish, self.ready.asked)
        self.job.tell(Ended(answer))


class Listener:
    """A thread that listens to waiting jobs in their order, some of them ahead of those that decode.

    Args:
        ahead: of these, how many may be heard at a time, so that memory stays bounded.
        most_waiting: jobs that may wait, heard or not.
    """

    def __init__(self, assistant: Assistant, ahead: int, most_waiting: int, pace: Pace) -> None:
        self.assistant, self.ahead, self.most_waiting = assistant, ahead, most_waiting
        self._pace = pace
        self._waiting: deque[Job] = deque()
        self._heard: deque[Heard] = deque()
        self._busy = False
        self._closed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="alm-listener", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take a job. Raises: QueueFullError."""
        with self._news:
            waiting = self._undecoded()
            if self._closed or waiting >= self.most_waiting:
                raise self._pace.refusal(waiting)
            self._waiting = deque(other for other in self._waiting if not other.cancelled)
            self._waiting.append(job)
            self._news.notify_all()

    @property
    def waiting(self) -> int:
        """Jobs that nobody decodes yet."""
        with self._news:
            return self._undecoded()

    def _undecoded(self) -> int:
        """Those that were cancelled wait no more, even if nobody has put them away yet."""
        waiting = sum(not job.cancelled for job in self._waiting)
        return waiting + sum(not h.job.cancelled for h in self._heard) + self._busy

    @property
    def closed(self) -> bool:
        return self._closed

    def take(self, most: int, least: int = 1, wait: bool = True) -> list[Heard]:
        """Jobs that are ready, in their order; none after the end.

        Args:
            most: no more than these.
            least: none before there are so many, unless no more are on their way.
            wait: until there are, or the end; else only while more are on their way.
        """
        with self._news:
            while not (self._closed or self._enough(least)) and (wait or (least > 1 and self._on_their_way())):
                self._news.wait()
            if self._closed or not self._enough(least):
                return []
            found = [self._heard.popleft() for _ in range(min(most, len(self._heard)))]
            self._news.notify_all()
        return [h for h in found if h.job.claim()]

    def _enough(self, least: int) -> bool:
        return bool(self._heard) and (len(self._heard) >= least or not self._on_their_way())

    def _on_their_way(self) -> bool:
        return len(self._heard) < self.ahead and bool(self._waiting or self._busy)

    def close(self) -> None:
        """End; whoever still waits is told so."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join()
        for job in [h.job for h in self._heard] + list(self._waiting):
            if job.claim():
                job.tell(stopping())

    def _run(self) -> None:
        while True:
            with self._news:
                while not (self._closed or (self._waiting and len(self._heard) < self.ahead)):
                    self._news.wait()
                if self._closed:
                    return
                job, self._busy = self._waiting.popleft(), True
            heard = None if job.cancelled else self._listened(job)
            with self._news:
                self._busy = False
                if heard is not None:
                    self._heard.append(heard)
                self._news.notify_all()

    def _listened(self, job: Job) -> Heard | None:
        try:
            return Heard.of(self.assistant, job)
        except Exception as error:  # one job must not take the others with it
            if not isinstance(error, AlmError):
                _LOG.exception("a prompt could not be read")
            if job.claim():
                job.tell(Failed(error))
            return None


def stopping() -> Failed:
    """What jobs are told that are not done when an engine ends."""
    return Failed(RuntimeError("the server is stopping"))
