"""Batch question answering: a file of rows in, the same rows with answers out, resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from alm.audio import load_audio
from alm.errors import AlmError, ConfigError, RecordError
from serve.batch.index import Index, Shard
from serve.batch.journal import ROW, Journal
from serve.batch.manifest import BatchSettings, check_settings, manifest_path
from serve.batch.rows import Line, fingerprint
from serve.batch.sources import Source
from serve.batch.stages import Engine, Finished, RecordingCache, there
from serve.batch.writers import Target, open_target, pairs_of, target_of, write_output

_MAX_PROBLEMS_KEPT = 100
_VERDICTS_KEPT = 65536
_SYNCED_ROWS = 64
"""So many answers are forced to the disk together."""


@dataclass(frozen=True)
class BatchPolicy:
    """How the batch goes about its rows; may differ from run to run."""

    stop_on_error: bool = False
    retry_errors: bool = False
    details: bool = False
    """Write usage and evidence of each answer, too."""
    window: int = 256
    """Rows that are read and answered together; those about the same recordings follow each other."""
    limit_rows: int | None = None
    """Rows to answer in this run."""
    max_errors_in_a_row: int = 25
    """So many failures one after the other are no matter of single rows: stop."""
    shard: Shard = field(default_factory=Shard)
    merge: tuple[Path, ...] = ()
    """Outputs of shards that a new output begins with."""


@dataclass
class Outcome:
    """What a run did."""

    total: int = 0
    answered: int = 0
    failed: int = 0
    already: int = 0
    """Rows that the output held before."""
    failed_before: int = 0
    """Those of them that hold an error, not an answer."""
    repaired_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    audio_seconds: float = 0.0
    without_recording: int = 0
    """Rows that name none: meant so, or their column has another name."""
    cut: int = 0
    """Answers that ended at the limit of tokens."""


def run_batch(
    source: Source,
    target: Path,
    settings: BatchSettings,
    policy: BatchPolicy,
    load_engine: Callable[[], Engine],
    on_row: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Answer the rows of `source` that `target` does not hold yet.

    Args:
        load_engine: called once, and only when a row is open.
        on_row: called before the first row and after each finished one.

    Raises:
        RecordError: the input or the output is damaged, or they do not belong together.
        ConfigError: the output was begun with other settings, or another batch is writing to it.
        AlmError: with `stop_on_error`, the first failure.
    """
    output = open_target(target, source)
    outcome = Outcome()
    with Index(source, policy.shard) as index:
        index.read_input()
        with Journal(output.journal, compact=not output.direct) as journal:
            outcome.repaired_bytes = journal.repaired_bytes
            check_settings(target, settings, fresh=journal.empty)
            if policy.merge:
                _merge(policy.merge, source, output, journal, index, settings)
            if policy.retry_errors:
                journal.drop_failed()
            _take_stock(index, journal, outcome)
            on_row(outcome)
            if outcome.already < outcome.total:
                _Runner(policy, output, journal, outcome, on_row).run(index.open_lines(), load_engine())
            if not output.direct:
                _write(output, source, journal, index, policy, settings)
    return outcome


def validate(source: Source, shard: Shard = Shard(), on_row: Callable[[Outcome], None] = lambda _: None) -> Outcome:
    """Check every row and decode every recording without a model; nothing is written.

    Raises:
        RecordError: the input is damaged, or two rows have the same id.
    """
    outcome = Outcome()
    verdict = lru_cache(_VERDICTS_KEPT)(_verdict)
    with Index(source, shard) as index:
        index.read_input()
        outcome.total = index.counts().total
        for line in index.open_lines():
            try:
                seconds = _checked_seconds(line, source, verdict)
                outcome.audio_seconds += seconds
                outcome.without_recording += seconds == 0.0
                outcome.answered += 1
            except AlmError as error:
                outcome.failed += 1
                _keep_problem(outcome, line, str(error))
            on_row(outcome)
    return outcome


def _checked_seconds(line: Line, source: Source, verdict: Callable[[Path], tuple[float, str | None]]) -> float:
    """Seconds of audio of a row that is right. Raises: AlmError."""
    if source.dialect == "openai":
        return source.ready(line, RecordingCache()).seconds
    verdicts = [verdict(path) for path in source.row(line).audios]
    for _, problem in verdicts:
        if problem is not None:
            raise RecordError(problem)
    return sum(seconds for seconds, _ in verdicts)


def _verdict(path: Path) -> tuple[float, str | None]:
    try:
        there(path)
        return load_audio(path).seconds, None
    except AlmError as error:
        return 0.0, str(error)


def _take_stock(index: Index, journal: Journal, outcome: Outcome) -> None:
    """What of the input the output holds already. Raises: RecordError if they do not belong together."""
    index.read_done(journal.entries())
    index.check(journal.path)
    counts = index.counts()
    outcome.total, outcome.already, outcome.failed_before = counts.total, counts.done, counts.failed


def _merge(
    parts: tuple[Path, ...], source: Source, output: Target, journal: Journal, index: Index, settings: BatchSettings
) -> None:
    """Begin the output with the rows of other outputs, in the order of the input.

    Raises:
        ConfigError: the output is begun already, or a part is missing or was made with other settings.
        RecordError: a part is damaged, or belongs to another input.
    """
    if not journal.empty:
        raise ConfigError(f"{output.path}: holds rows already; --merge begins a new output")
    with ExitStack() as opened:
        journals = []
        for number, path in enumerate(dict.fromkeys(parts)):
            part = target_of(path, source)
            if part.direct != output.direct or not (part.journal.is_file() and manifest_path(path).is_file()):
                raise ConfigError(f"{path}: no output of a batch that {output.path.name} can begin with")
            check_settings(path, settings, fresh=False)
            journals.append(opened.enter_context(Journal(part.journal, compact=not part.direct)))
            index.read_done(journals[-1].entries(), number)
            index.check(part.journal)
        journal.rewrite(journals[number].raw_at(place) for number, place in index.done_places())
    index.forget_done()


def _write(
    output: Target, source: Source, journal: Journal, index: Index, policy: BatchPolicy, settings: BatchSettings
) -> None:
    index.forget_done()
    index.read_done(journal.entries())
    pairs = pairs_of(index.done_lines(), journal.row_at)
    write_output(output, source, index.columns, pairs, policy.details, settings.preset)


@dataclass
class _Runner:
    """One pass over the open rows."""

    policy: BatchPolicy
    output: Target
    journal: Journal
    outcome: Outcome
    on_row: Callable[[Outcome], None]
    errors_in_a_row: int = 0

    def run(self, lines: Iterator[Line], engine: Engine) -> None:
        started = time.monotonic()
        with closing(engine(islice(lines, self.policy.limit_rows))) as results:
            try:
                for number, (line, finished) in enumerate(results, start=1):
                    if finished.problem is not None and self.policy.stop_on_error:
                        raise finished.cause or RecordError(f"{line.where}: {finished.problem}")
                    self.journal.append(self._output_row(line, finished))
                    if number % min(_SYNCED_ROWS, self.policy.window) == 0:
                        self.journal.sync()
                    self.outcome.seconds = time.monotonic() - started
                    self._count(line, finished)
            finally:
                self.journal.sync()

    def _output_row(self, line: Line, finished: Finished) -> dict[str, Any]:
        """The input row and either the answer or the error; or what stands for it until the output is written."""
        if self.output.direct:
            return {**line.fields, **finished.added}
        about = {"id": line.id, ROW: fingerprint(line.fields), "seconds": finished.seconds, "time": int(time.time())}
        return {**about, **finished.added}

    def _count(self, line: Line, finished: Finished) -> None:
        if finished.problem is None:
            self.errors_in_a_row = 0
            self.outcome.answered += 1
            self.outcome.audio_seconds += finished.seconds
            self.outcome.without_recording += finished.seconds == 0.0
            self.outcome.cut += finished.cut
        else:
            self.errors_in_a_row += 1
            self.outcome.failed += 1
            _keep_problem(self.outcome, line, finished.problem)
        self.on_row(self.outcome)
        if self.errors_in_a_row >= self.policy.max_errors_in_a_row:
            raise ConfigError(
                f"{self.errors_in_a_row} rows failed one after the other, the last one so: "
                f"{self.outcome.problems[-1]}; mend the cause and run again with --retry-errors"
            )


def _keep_problem(outcome: Outcome, line: Line, text: str) -> None:
    if len(outcome.problems) >= _MAX_PROBLEMS_KEPT:
        del outcome.problems[_MAX_PROBLEMS_KEPT // 2]  # the first ones and the latest ones tell most
    outcome.problems.append(text if line.where in text else f"{line.where}: {text}")
