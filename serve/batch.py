"""Batch question answering: a file of rows in, the same rows with answers out, resumable at any moment."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
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
    from alm.assistant import Assistant
    from alm.conversation import Answer, Conversation

#: Answers the question of a row; the recordings are the row's, decoded, in order.
Answerer = Callable[[Row, list[Waveform]], "Answer"]
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


def answerer(assistant: Assistant, settings: BatchSettings) -> Answerer:
    """Answers with the assistant; each row is a conversation of its own, begun with the same seed."""
    import torch

    def answer(row: Row, recordings: list[Waveform]) -> Answer:
        torch.manual_seed(settings.seed)
        chat, question, new = begun_conversation(assistant, row, recordings)
        return chat.ask(question, audio=new, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature)

    return answer


def begun_conversation(
    assistant: Assistant, row: Row, recordings: list[Waveform]
) -> tuple[Conversation, str, list[Waveform]]:
    """A conversation that holds the row's earlier turns, its last question, and the recordings of that one."""
    from alm.evidence import evidence_text
    from alm.messages import from_row

    messages = from_row(row.messages, recordings)
    system = messages.pop(0)["content"] if messages[0]["role"] == "system" else None
    chat = assistant.conversation(system)
    parts = messages.pop()["content"]
    for message in messages:
        told = message
        if chat.use_evidence and message["role"] == "user":
            for part in message["content"]:
                if part["type"] == "audio":
                    heard = assistant.analyse(part["audio"])
                    part["evidence"] = evidence_text(heard, heard.transcript, assistant.model.config.tag_phrases)
            told, _ = assistant.with_asked(message, chat._messages)
        chat._messages.append(told)
    new = [part["audio"] for part in parts if part["type"] == "audio"]
    return chat, "\n".join(part["text"] for part in parts if part["type"] == "text"), new


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
        for line in islice(lines, self.policy.limit_rows):
            self.journal.append(self._finished(line, answer), line.id)
            self.outcome.seconds = time.monotonic() - started
            self.on_row(self.outcome)
            if self.errors_in_a_row >= self.policy.max_errors_in_a_row:
                raise ConfigError(
                    f"{self.errors_in_a_row} rows failed one after the other, the last one so: "
                    f"{self.outcome.problems[-1]}; mend the cause and run again with --retry-errors"
                )

    def _finished(self, line: Line, answer: Answerer) -> dict[str, Any]:
        """The output row: the input row and either the answer or the error."""
        try:
            row = check_row(line, self.folder)
            recordings = [self.recordings.load(path) for path in row.audios]
            result = answer(row, recordings)
        except Exception as error:  # a row must not take the other rows with it
            if self.policy.stop_on_error:
                raise
            return {**line.fields, "error": self._failed(line, error)}
        self.errors_in_a_row = 0
        self.outcome.answered += 1
        self.outcome.audio_seconds += sum(recording.seconds for recording in recordings)
        return {**line.fields, "answer": result.text, **self._details(result)}

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
