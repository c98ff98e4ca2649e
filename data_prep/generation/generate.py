"""Samples in, checked records out, in the order of the samples whatever the threads do.

Every answer is kept before it is used, so that a run that was killed goes on by running again: what was answered comes
from the cache, and the files are those of a run that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from alm.endpoints import Chat, Endpoint, EndpointError
from alm.errors import AudioError, ConfigError, RecordError
from data_prep.atomic import write_text, writing_text
from data_prep.generation.asking import Asker
from data_prep.generation.cache import Cache
from data_prep.generation.facts import facts_of
from data_prep.generation.kinds import KINDS
from data_prep.generation.meter import BudgetSpentError, Meter
from data_prep.generation.plan import GenerationPlan
from data_prep.generation.report import KindCount, Report
from data_prep.generation.similarity import Similarity
from data_prep.generation.wording import MOST_ANSWER, MOST_QUESTION, echoes, fault_of
from data_prep.generation.work import Made, Rejected, Servers, Work
from data_prep.records import AUDIO_MARK, Message, Record
from data_prep.samples import Sample

T = TypeVar("T")
R = TypeVar("R")
SHOWN_FAILURES = 20
FAILURES_IN_A_ROW = 25
"""So many samples without one answer, and the server is taken to be gone."""
CACHE_FILE, REJECTED_FILE, DESCRIPTIONS_FILE = "answers.sqlite", "rejected.jsonl", "descriptions.json"


@dataclass(frozen=True)
class Done:
    """What one kind brought for one sample."""

    kind: str
    sample: Sample
    results: tuple[Made | Rejected, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Generation:
    """One run over samples; `report` fills while the records are taken.

    Args:
        endpoint: who writes.
        out: folder of the cache, the rejected texts and the report.
        judge, listener: other servers than the writer's; without a listener nothing is asked about the sound itself.
        hear: adds what can be heard to a sample's evidence.
    """

    plan: GenerationPlan
    endpoint: Endpoint
    out: Path
    judge: Endpoint | None = None
    listener: Endpoint | None = None
    similarity: Similarity | None = None
    hear: Callable[[Sample], Sample] | None = None
    transport: httpx.BaseTransport | None = None
    report: Report = field(init=False)
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        self.cache = Cache(self.out / CACHE_FILE)
        self._meter = Meter(self.plan.budget, self.plan.pace)
        roles = {"writer": self.endpoint, "judge": self.judge, "listener": self.listener}
        self._askers = {role: self._asker(one) for role, one in roles.items() if one is not None}
        self._servers = Servers(
            self._askers["writer"], self._askers.get("judge"), self._askers.get("listener"), self.similarity
        )
        names = {role: asker.model for role, asker in self._askers.items()}
        kinds = {name: KindCount() for name in self.plan.kinds}
        self.report = Report(models=names, kinds=kinds, spent=self._meter.spent)
        self._described: dict[str, set[str]] = {}
        self._in_a_row = 0

    def _asker(self, endpoint: Endpoint) -> Asker:
        return Asker(Chat(endpoint, self.transport), self.cache, self._meter, self.plan.tokens_field)

    def records(self, samples: Iterable[Sample]) -> Iterator[Record]:
        """Checked records; afterwards the folder has the rejected texts and the report, too.

        Raises:
            BudgetSpentError: a limit was reached; what was done before came out, and is in the report.
            ConfigError: the server refuses all, or does not answer at all.
        """
        ended: BudgetSpentError | ConfigError | None = None
        try:
            with writing_text(self.out / REJECTED_FILE) as rejected:
                try:
                    for done in in_order(self._all_kinds, samples, self.plan.pace.concurrency):
                        yield from self._taken(done, rejected)
                except (BudgetSpentError, ConfigError) as fault:
                    ended, self.report.stopped = fault, str(fault)
            self._write()
        finally:
            self.close()
        if ended:
            raise ended

    def close(self) -> None:
        for asker in self._askers.values():
            asker.chat.close()
        self.cache.close()

    def _write(self) -> None:
        write_text(self.out / "report.json", json.dumps(self.report.to_json(), indent=1, sort_keys=True) + "\n")
        write_text(self.out / "report.md", self.report.markdown())
        if self._described:
            said = {label: sorted(texts) for label, texts in sorted(self._described.items())}
            write_text(self.out / DESCRIPTIONS_FILE, json.dumps(said, indent=1, ensure_ascii=False) + "\n")

    def _all_kinds(self, sample: Sample) -> list[Done]:
        try:
            heard = self.hear(sample) if self.hear else sample
            facts = facts_of(heard, self.plan.descriptions)
        except (AudioError, RecordError) as fault:
            return [Done(name, sample, failure=str(fault)) for name in self.plan.kinds]
        works = [
            Work(heard, name, facts, self.plan, self._servers)
            for name in self.plan.kinds
            if KINDS[name].wants(heard, facts)
        ]
        return [_worked(work) for work in works]

    def _taken(self, several: list[Done], rejected: Any) -> Iterator[Record]:
        self.report.samples += 1
        for done in several:
            count = self.report.kinds[done.kind]
            count.samples += 1
            count.prompts |= done.prompts
            if done.failure:
                self._failed(done, count)
                continue
            self._in_a_row = 0
            for number, one in enumerate(done.results):
                if isinstance(one, Rejected):
                    count.rejected[one.reason] += 1
                    rejected.write(_rejected_line(done, one))
                else:
                    count.made += 1
                    self._note(one)
                    yield self._record(done, number, one)
        self.report.done += not any(done.failure for done in several)

    def _failed(self, done: Done, count: KindCount) -> None:
        count.failed += 1
        self._in_a_row += 1
        if len(self.report.failures) < SHOWN_FAILURES:
            self.report.failures.append(f"{done.sample.id} ({done.kind}): {done.failure[:300]}")
        if self._in_a_row >= FAILURES_IN_A_ROW:
            raise ConfigError(f"{self._in_a_row} failures in a row, the last one: {done.failure[:300]}")

    def _note(self, made: Made) -> None:
        for label, text in made.meta.get("descriptions", {}).items():
            self._described.setdefault(label, set()).add(text)

    def _record(self, done: Done, number: int, made: Made) -> Record:
        sample = done.sample
        part = {"start": sample.start, "seconds": sample.seconds} if sample.start is not None else {}
        by = {**self.report.models, "kind": done.kind, "prompts": done.prompts}
        digest = hashlib.sha256(f"{made.question}\0{made.answer}".encode()).hexdigest()[:8]
        return Record(
            id=f"{sample.source}-{sample.id}-{done.kind}-{number}-{digest}",
            messages=(Message("user", AUDIO_MARK + made.question), Message("assistant", made.answer)),
            audios=(sample.audio,),
            source=sample.source,
            task=f"generated_{done.kind.replace('-', '_')}",
            split=sample.split,
            licence=sample.licence,
            duration=float(sample.seconds or 0.0),
            meta={"answer": made.answer, **made.meta, **part, "generated": by},
        )


def generate(samples: Iterable[Sample], plan: GenerationPlan, endpoint: Endpoint, out: Path) -> Iterator[Record]:
    """Records that a model wrote about samples, checked; see `Generation` for judges, listeners and the report."""
    yield from Generation(plan, endpoint, out).records(samples)


def _worked(work: Work) -> Done:
    """A failure of one sample is told; a spent budget and a wrong key end the run."""
    try:
        results = tuple(_fit_for_a_record(one, work) for one in KINDS[work.kind].make(work))
    except (EndpointError, AudioError) as fault:
        return Done(work.kind, work.sample, failure=str(fault))
    return Done(work.kind, work.sample, results, dict(sorted(work.prompts.items())))


def _fit_for_a_record(one: Made | Rejected, work: Work) -> Made | Rejected:
    """What holds for every kind. Parts of a record may come from the sample, such as a label: they are no exception."""
    if isinstance(one, Rejected):
        return one
    fault = fault_of(one.question, MOST_QUESTION) or fault_of(one.answer, MOST_ANSWER)
    if not fault and any(echoes(text, work.asked_words) for text in (one.question, one.answer)):
        fault = "repeats the prompt"
    return Rejected(fault, "", f"Q: {one.question}\nA: {one.answer}"[:MOST_ANSWER]) if fault else one


def _rejected_line(done: Done, one: Rejected) -> str:
    row = {"sample": done.sample.id, "kind": done.kind, "reason": one.reason, "detail": one.detail, "text": one.text}
    return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"


def in_order(work: Callable[[T], R], values: Iterable[T], threads: int) -> Iterator[R]:
    """Results in the order of the values; at most twice as many are taken ahead as there are threads."""
    pool, open_ones = ThreadPoolExecutor(threads, thread_name_prefix="alm-generate"), deque[Future[R]]()
    try:
        for value in values:
            open_ones.append(pool.submit(work, value))
            if len(open_ones) >= 2 * threads:
                yield open_ones.popleft().result()
        while open_ones:
            yield open_ones.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
