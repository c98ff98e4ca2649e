"""Jobs that are taken back before anything decodes: told at once, whoever holds them, and only once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import tiny_model

from alm.batching import Sampling
from serve.engines.hearing import Heard
from serve.engines.jobs import Ended, Failed, Job, JobCancelledError, QueueFullError
from serve.engines.transformers import TransformersEngine


def job(told: list[Any], most: int = 8) -> Job:
    return Job([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], told.append, Sampling(most))


def ends(told: list[Any]) -> list[type[Any]]:
    return [type(e.error) if isinstance(e, Failed) else type(e) for e in told if isinstance(e, Ended | Failed)]


def soon(condition: Any) -> None:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


class Held:
    """An engine of one row whose decoder waits until it may go on."""

    def __init__(self) -> None:
        self.engine = TransformersEngine(tiny_model.assistant(), rows=1, most_waiting=2)
        self.go_on, decoder = threading.Event(), self.engine._lanes[0]._decoder
        read = decoder.add
        decoder.add = lambda *requests: (self.go_on.wait(60), read(*requests))[1]  # type: ignore[method-assign]
        self.first: list[Any] = []
        self.decoded = job(self.first)
        self.engine.submit(self.decoded)
        soon(lambda: not self.engine.state().waiting)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go_on.set()
    made.engine.close()


def test_a_job_that_waits_is_told_at_once_and_its_place_is_free(held: Held) -> None:
    told: list[list[Any]] = [[], []]
    jobs = [job(t) for t in told]
    for one in jobs:
        held.engine.submit(one)
    with pytest.raises(QueueFullError):
        held.engine.submit(job([]))
    soon(lambda: len(held.engine._listener._heard) == 1)
    for one in jobs:  # one is heard already, the other one is not
        one.cancel()
    assert [ends(t) for t in told] == [[JobCancelledError]] * 2 and held.engine.state().waiting == 0
    assert ends(held.first) == [], "control: nothing else has moved"
    late: list[Any] = []
    held.engine.submit(job(late))
    held.go_on.set()
    soon(lambda: ends(late) == [Ended] and ends(held.first) == [Ended])
    jobs[0].cancel()
    assert [ends(t) for t in told] == [[JobCancelledError]] * 2, "once"


def test_a_job_that_decodes_ends_with_what_was_said(held: Held) -> None:
    held.decoded.cancel()
    assert ends(held.first) == [], "the engine tells its end"
    held.go_on.set()
    soon(lambda: ends(held.first) == [Ended])
    assert held.first[-1].answer.finish == "cancelled"


def test_a_job_that_is_done_stays_so(held: Held) -> None:
    held.go_on.set()
    soon(lambda: ends(held.first) == [Ended])
    held.decoded.cancel()
    assert ends(held.first) == [Ended] and held.first[-1].answer.finish in ("stop", "length")


def test_a_job_that_fails_while_it_is_cancelled_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    own, listening = job(told), threading.Event()

    def failing(*_: Any) -> Heard:
        listening.set()
        while not own.cancelled:
            time.sleep(0.01)
        raise RuntimeError("no ears")

    monkeypatch.setattr(Heard, "of", failing)
    engine = TransformersEngine(tiny_model.assistant(), rows=1)
    engine.submit(own)
    assert listening.wait(60)
    own.cancel()
    engine.close()
    assert ends(told) == [JobCancelledError]


def test_who_waits_at_the_end_is_told_once(held: Held) -> None:
    told: list[list[Any]] = [[], []]
    jobs = [job(t) for t in told]
    for one in jobs:
        held.engine.submit(one)
    jobs[0].cancel()
    held.go_on.set()
    held.engine.close()
    assert ends(told[0]) == [JobCancelledError] and len(ends(told[1])) == 1
