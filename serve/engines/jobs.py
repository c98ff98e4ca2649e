"""What a server answers with: jobs, and the interface of the engines that take them.

An engine takes jobs from any thread and tells each job's listener what happens: pieces of text, then the end or an
error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from alm.batching import Sampling
from alm.conversation import Answer


class QueueFullError(Exception):
    """No more jobs may wait; try again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many requests wait; try again in {seconds:.0f} s")
        self.seconds = seconds


class JobCancelledError(Exception):
    """The asker took the question back before anything was decoded."""


@dataclass(frozen=True)
class Piece:
    """A bit of an answer."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The whole answer."""

    answer: Answer


@dataclass(frozen=True)
class Failed:
    """Why there is no answer: an `AlmError` is the asker's to mend, anything else is ours."""

    error: Exception


Event = Piece | Ended | Failed


@dataclass(eq=False)
class Job:
    """One question, from any thread."""

    messages: Sequence[dict[str, Any]]
    """Roles and content parts with opened recordings; the last one is the user's question."""
    tell: Callable[[Event], None]
    """Called from any thread; must not block. The last event is an end or an error, and comes once."""
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""
    evidence: bool | None = None
    came: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    claimed: bool = False
    """An engine decodes it, and will tell its end."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        """Nobody waits for the answer any more.

        A job that nobody decodes yet is told [`JobCancelledError`] at once. One that is decoded ends with what was
        said until then, and one that is done stays as it is.
        """
        with self._turn:
            news, self.cancelled = not self.cancelled, True
            told = news and not self.claimed
        if told:
            self.tell(Failed(JobCancelledError("the question was taken back before it was answered")))

    def claim(self) -> bool:
        """Take on the job's end: whoever gets True must tell it. False for a job that was cancelled before."""
        with self._turn:
            self.claimed = not self.cancelled
            return self.claimed


@dataclass(frozen=True)
class EngineState:
    """For the gauges of `/metrics`."""

    running: int
    waiting: int


@dataclass
class Pace:
    """How long a job usually takes, to tell who must wait when to come again."""

    rows: int
    """Jobs that are answered at the same time."""
    seconds: float = 2.0

    def ended(self, job: Job) -> None:
        """Take a job that is done into account."""
        self.seconds += 0.1 * (time.monotonic() - job.came - self.seconds)

    def refusal(self, waiting: int) -> QueueFullError:
        """What a job is told that finds so many others waiting."""
        return QueueFullError(max(1.0, self.seconds * waiting / self.rows))


class Engine(Protocol):
    """What the server needs of an engine."""

    def submit(self, job: Job) -> None:
        """Take a job. Raises [`QueueFullError`]."""

    def state(self) -> EngineState:
        """How much there is to do."""

    def close(self) -> None:
        """End; jobs that are not done are told so."""
