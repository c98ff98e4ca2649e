"""Batch question answering: a file of rows in, the same rows with answers out, resumable at any moment."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm.audio import AudioLimits, Waveform, load_audio
from alm.errors import AlmError, ConfigError, RecordError
from alm.terminal import plain
from serve.journal import Journal
from serve.rows import Line, Row, check_row, read_lines

if TYPE_CHECKING:
    from alm.conversation import Answer

#: Answers the questions of some rows: the place of each among them with its answer or its error, in any order.
Answerer = Callable[[Sequence["Ready"]], Iterator[tuple[int, "Answer | Exception"]]]
_MAX_PROBLEMS_KEPT = 100


@dataclass(frozen=True)
class BatchSettings:
    """What decides the answers; a resumed batch must have the same."""

    preset: str = "tiny"
    adapter: str | None = None
    evidence: bool | None = None
    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class BatchPolicy:
    """How the batch goes about its rows; may differ from run to run."""

    stop_on_error: bool = False
    retry_errors: bool = False
    details: bool = False
    """Write usage and evidence of each answer, too."""
    window: int = 64
    """Rows that are read, answered and written together; a kill costs at most so many answers."""
    limit_rows: int | None = None
    """Rows to answer in this run."""
    max_errors_in_a_row: int = 25
    """So many failures one after the other are no matter of single rows: stop."""


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


@dataclass(frozen=True)
class Ready:
    """A checked row with its recordings."""

    row: Row
    recordings: list[Waveform]

    @property
    def seconds(self) -> float:
        return sum(r.seconds for r in self.recordings)


class RecordingCache:
    """Decoded recordings of the last few rows, so that ten questions about one file decode it once."""

    def __init__(self, max_bytes: int = 256 * 2**20, limits: AudioLimits = AudioLimits()) -> None:
        self._max_bytes = max_bytes
        self._limits = limits
        self._held: OrderedDict[Path, Waveform] = OrderedDict()

    def load(self, path: Path) -> Waveform:
        """Decode, or take what was decoded before.

        Raises:
            AudioError: as `load_audio`.
        """
        if path in self._held:
            self._held.move_to_end(path)
            return self._held[path]
        recording = self._held[path] = load_audio(path, limits=self._limits)
        while len(self._held) > 1 and sum(w.samples.nbytes for w in self._held.values()) > self._max_bytes:
            self._held.popitem(last=False)
        return recording


def run_batch(
    source: Path,
    target: Path,
    settings: BatchSettings,
    policy: BatchPolicy,
    load_answerer: Callable[[], Answerer],
    on_row: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Answer the rows of `source` that `target` does not hold yet.

    Args:
        load_answerer: called once, and only when a row is open.
        on_row: called before the first row and after each finished one.

    Raises:
        RecordError: the input or the output is damaged, or they do not belong together.
        ConfigError: the output was begun with other settings, or another batch is writing to it.
        AlmError: with `stop_on_error`, the first failure.
    """
    _check_target(source, target)
    outcome = Outcome(total=sum(1 for _ in read_lines(source)))
    with Journal(target) as journal:
        outcome.repaired_bytes = journal.repaired_bytes
        check_settings(target, settings, fresh=not journal.done)
        if policy.retry_errors:
            journal.drop_failed()
        open_lines = _open_lines(source, journal, outcome)
        on_row(outcome)
        if outcome.already < outcome.total:
            _Runner(source.parent, policy, journal, outcome, on_row).run(open_lines, load_answerer())
    return outcome


def validate(source: Path, on_row: Callable[[Outcome], None] = lambda _: None) -> Outcome:
    """Check every row and decode every recording without a model; nothing is written.

    Raises:
        RecordError: the input is no file of rows with ids.
    """
    outcome = Outcome(total=sum(1 for _ in read_lines(source)))
    verdicts: dict[Path, tuple[float, str | None]] = {}
    for line in read_lines(source):
        try:
            row = check_row(line, source.parent)
            for path in row.audios:
                verdicts.setdefault(path, _verdict(path))
                if (problem := verdicts[path][1]) is not None:
                    raise RecordError(f"row {line.id!r} (line {line.number}): {problem}")
            outcome.answered += 1
        except AlmError as error:
            outcome.failed += 1
            _keep_problem(outcome, str(error))
        on_row(outcome)
    outcome.audio_seconds = sum(seconds for seconds, _ in verdicts.values())
    return outcome


def check_settings(target: Path, settings: BatchSettings, *, fresh: bool) -> None:
    """Write the settings beside a fresh output; refuse to continue one that was begun with others.

    Raises:
        ConfigError: the settings differ.
    """
    path = target.with_name(target.name + ".settings.json")
    now = asdict(settings)
    if not fresh and path.exists():
        before = _read_settings(path)
        differing = [key for key in now if before.get(key) != now[key]]
        if differing:
            changes = ", ".join(f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in differing)
            raise ConfigError(f"{target}: begun with other settings ({changes}); use the same, or another output file")
        return
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


@dataclass
class _Runner:
    """One pass over the open rows."""

    folder: Path
    policy: BatchPolicy
    journal: Journal
    outcome: Outcome
    on_row: Callable[[Outcome], None]
    recordings: RecordingCache = field(default_factory=RecordingCache)
    errors_in_a_row: int = 0

    def run(self, lines: Iterator[Line], answer: Answerer) -> None:
        started = time.monotonic()
        lines = islice(lines, self.policy.limit_rows)
        while window := list(islice(lines, self.policy.window)):
            ready = [self._ready(line) for line in window]
            for line, own, result in zip(window, ready, self._results(ready, answer), strict=True):
                if isinstance(result, Exception) and self.policy.stop_on_error:
                    raise result
                self.journal.append(self._finished(line, own, result), line.id)
                self.outcome.seconds = time.monotonic() - started
                self.on_row(self.outcome)
                self._check_errors()

    def _ready(self, line: Line) -> Ready | Exception:
        try:
            row = check_row(line, self.folder)
            return Ready(row, [self.recordings.load(path) for path in row.audios])
        except Exception as error:  # a row must not take the other rows with it
            return error

    @staticmethod
    def _results(ready: list[Ready | Exception], answer: Answerer) -> Iterator[Answer | Exception]:
        """Results in the order of the rows, each as soon as those before it are there."""
        places = [i for i, r in enumerate(ready) if isinstance(r, Ready)]
        done: dict[int, Answer | Exception] = {i: r for i, r in enumerate(ready) if isinstance(r, Exception)}
        answers = answer([r for r in ready if isinstance(r, Ready)])
        for index in range(len(ready)):
            while index not in done:
                place, result = next(answers)
                done[places[place]] = result
            yield done.pop(index)

    def _finished(self, line: Line, ready: Ready | Exception, result: Answer | Exception) -> dict[str, Any]:
        """The output row: the input row and either the answer or the error."""
        if isinstance(result, Exception):
            return {**line.fields, "error": self._failed(line, result)}
        assert isinstance(ready, Ready)
        self.errors_in_a_row = 0
        self.outcome.answered += 1
        self.outcome.audio_seconds += ready.seconds
        return {**line.fields, "answer": result.text, **self._details(result)}

    def _check_errors(self) -> None:
        if self.errors_in_a_row >= self.policy.max_errors_in_a_row:
            raise ConfigError(
                f"{self.errors_in_a_row} rows failed one after the other, the last one so: "
                f"{self.outcome.problems[-1]}; mend the cause and run again with --retry-errors"
            )

    def _failed(self, line: Line, error: Exception) -> dict[str, str]:
        self.errors_in_a_row += 1
        self.outcome.failed += 1
        text = str(error) or type(error).__name__
        _keep_problem(self.outcome, text if repr(line.id) in text else f"row {line.id!r}: {text}")
        return {"type": type(error).__name__, "message": text}

    def _details(self, result: Answer) -> dict[str, Any]:
        if not self.policy.details:
            return {}
        return {
            "finish": result.finish,
            "usage": plain(result.usage),
            "evidence": plain(result.evidence),
            "asked": plain(result.asked),
        }


def _open_lines(source: Path, journal: Journal, outcome: Outcome) -> Iterator[Line]:
    """Lines that the output does not hold; counts the others first, and checks that they are the same.

    Raises:
        RecordError: the output holds an id that was answered from another row, or is not in the input.
    """
    known = 0
    for line in read_lines(source):
        done = journal.done.get(line.id)
        if done is None:
            continue
        known += 1
        outcome.failed_before += done.failed
        if done.fingerprint != line.fingerprint:
            raise RecordError(
                f"{journal.path}: the row {line.id!r} was answered from another row than line {line.number} "
                f"of {source.name} holds now; use another output file, or another id for the changed row"
            )
    if known < len(journal.done):
        stranger = next(iter(journal.done.keys() - {line.id for line in read_lines(source)}))
        raise RecordError(
            f"{journal.path}: holds the row {stranger!r}, which {source.name} does not; choose another output file"
        )
    outcome.already = known
    return (line for line in read_lines(source) if line.id not in journal.done)


def _check_target(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise ConfigError(f"{target}: input and output are the same file; choose another output")
    if target.exists() and not target.is_file():
        raise ConfigError(f"{target}: no regular file; answers are kept in one so that a batch can go on")


def _verdict(path: Path) -> tuple[float, str | None]:
    try:
        return load_audio(path).seconds, None
    except AlmError as error:
        return 0.0, str(error)


def _keep_problem(outcome: Outcome, text: str) -> None:
    if len(outcome.problems) >= _MAX_PROBLEMS_KEPT:
        del outcome.problems[_MAX_PROBLEMS_KEPT // 2]  # the first ones and the latest ones tell most
    outcome.problems.append(text)


def _read_settings(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
    raise ConfigError(f"{path}: damaged; remove it if you know that the output was made with these settings")
