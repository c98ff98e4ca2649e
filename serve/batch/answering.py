"""An engine as the answerer of a batch: rows become jobs, those about the same recordings one after the other."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alm.batching import Sampling
from alm.conversation import Answer
from alm.messages import from_row
from serve.batch.manifest import BatchSettings
from serve.batch.rows import Row
from serve.batch.stages import Ready
from serve.engines.jobs import Ended, Engine, Event, Failed, Job

_Done = queue.Queue[tuple[int, Answer | Exception]]


@dataclass
class BatchAnswerer:
    """Answers rows through an engine; each row is a conversation of its own, begun with the same seed.

    Each recording is encoded once, and what was read of it serves all of its questions. Satisfies
    `serve.batch.stages.Answerer`.
    """

    engine: Engine
    settings: BatchSettings

    def __call__(self, rows: Sequence[Ready]) -> Iterator[tuple[int, Answer | Exception]]:
        """Place and result of each row, as they are done; the engine has all rows before one is asked for."""
        done: _Done = queue.Queue()
        jobs: list[Job] = []
        for place in grouped(rows):
            try:
                jobs.append(self._submitted(place, rows[place], done))
            except Exception as error:  # a row must not take the other rows with it
                done.put((place, error))
        return _taken(done, len(rows), jobs)

    def _submitted(self, place: int, row: Ready, done: _Done) -> Job:
        def tell(event: Event) -> None:
            if isinstance(event, Ended):
                done.put((place, event.answer))
            elif isinstance(event, Failed):
                done.put((place, event.error))

        wishes = row.row.wishes
        job = Job(messages_of(row), tell, sampling_of(row.row, self.settings), wishes.stop, wishes.evidence)
        self.engine.submit(job)
        return job


def _taken(done: _Done, count: int, jobs: Sequence[Job]) -> Iterator[tuple[int, Answer | Exception]]:
    try:
        for _ in range(count):
            yield done.get()
    finally:
        for job in jobs:
            job.cancel()


def grouped(rows: Sequence[Ready]) -> list[int]:
    """Places of the rows, those about the same recordings one after the other."""
    return sorted(range(len(rows)), key=lambda place: (tuple(r.sha256 for r in rows[place].recordings), place))


def sampling_of(row: Row, settings: BatchSettings) -> Sampling:
    """The settings of the batch, but for what the row wishes itself."""
    own = row.wishes
    return Sampling(
        own.max_new_tokens or settings.max_new_tokens,
        settings.temperature if own.temperature is None else own.temperature,
        settings.seed if own.seed is None else own.seed,
        {} if own.top_p in (None, 1.0) else {"top_p": own.top_p},
    )


def messages_of(own: Ready) -> list[dict[str, Any]]:
    """Of a row that marks its recordings, or of one whose messages hold them."""
    if own.row.audios or not own.recordings:
        return from_row(own.row.messages, own.recordings)
    return list(own.row.messages)
