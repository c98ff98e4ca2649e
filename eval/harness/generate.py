"""The generate stage: every item that has no answer yet is asked; what was answered is kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from alm.errors import AlmError, AudioError, ConfigError, ConversationError
from eval.harness.answers import Answered
from eval.harness.asking import Asked, candidates_of
from eval.harness.conditions import condition
from eval.harness.items import Item
from eval.harness.models import Model
from eval.harness.ours import error_text
from eval.harness.recordings import Opener, TooLongError, check_files
from eval.harness.runs import Run
from eval.harness.store import StageWriter

ERRORS_IN_A_ROW = 25
"""So many questions in a row without an answer: something is wrong with the model, not with them."""


class GenerateError(AlmError):
    """The model gives nothing but errors."""


@dataclass(frozen=True)
class Part:
    """One of several parts of the items, such as `2/4`; items of one group stay together."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """
        Raises:
            ConfigError: not I/N with I from 1 to N.
        """
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ConfigError(f"--shard {text!r}: give I/N with I from 1 to N, such as 1/4")
        return cls(int(first), int(second))

    @property
    def suffix(self) -> str:
        """What tells the shard's file from the others'."""
        return "" if self.of == 1 else f".{self.number}of{self.of}"

    def of_items(self, items: Sequence[Item]) -> list[Item]:
        places = {name: n for n, name in enumerate(dict.fromkeys(i.cluster for i in items))}
        return [i for i in items if places[i.cluster] % self.of == self.number - 1]


@dataclass
class Outcome:
    """How far a stage is."""

    total: int = 0
    already: int = 0
    done: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    seconds: float = 0.0
    recordings: int = 0
    repaired_bytes: int = 0

    @property
    def left(self) -> int:
        return self.total - self.already - self.done - self.failed


Report = Callable[[Outcome], None]


def quiet(outcome: Outcome) -> None:
    """Progress that nobody sees."""


def generate(
    run: Run,
    model: Model,
    condition_name: str = "heard",
    part: Part = Part(),
    dry_run: bool = False,
    report: Report = quiet,
) -> Outcome:
    """Ask what has no answer under its key of today, or only an error.

    Args:
        dry_run: check that recordings are there and count; nothing is asked or written.

    Raises:
        RecordError: recordings are missing.
        GenerateError: the model gives nothing but errors.
        ConfigError: another process writes to the same file, or the model cannot be asked at all.
    """
    items = part.of_items(run.asked_items(condition_name))
    keys = run.keys(condition_name, items)
    there = run.answers(condition_name, keys)
    open_items = [i for i in items if i.id not in there or there[i.id].error]
    outcome = Outcome(len(items), len(items) - len(open_items), recordings=check_files(run.prepared, open_items))
    report(outcome)
    if dry_run or not open_items:
        return outcome
    with StageWriter[Answered](run.place("generate", condition_name, part.suffix)) as writer:
        outcome.repaired_bytes = writer.repaired_bytes
        started, in_a_row = time.monotonic(), 0
        for answered in _answers(run, model, condition_name, _beside_each_other(open_items), keys):
            writer.add(answered)
            _count(outcome, answered, started)
            report(outcome)
            in_a_row = in_a_row + 1 if answered.error else 0
            if in_a_row >= ERRORS_IN_A_ROW:
                raise GenerateError(
                    f"{in_a_row} questions in a row failed, the last one with: {answered.error}; mend that and run "
                    "the same command again, which asks only what has no answer"
                )
    return outcome


def _count(outcome: Outcome, answered: Answered, started: float) -> None:
    outcome.failed += bool(answered.error)
    outcome.done += not answered.error
    outcome.audio_seconds += answered.audio_seconds
    outcome.seconds = time.monotonic() - started


def _beside_each_other(items: Sequence[Item]) -> list[Item]:
    """Those about the same recordings follow each other, so that each is opened and listened to once."""
    first: dict[tuple[str, ...], int] = {}
    for place, item in enumerate(items):
        first.setdefault(tuple(c.path for c in item.audios), place)
    return sorted(items, key=lambda i: first[tuple(c.path for c in i.audios)])


def _answers(
    run: Run, model: Model, condition_name: str, items: Sequence[Item], keys: dict[str, str]
) -> Iterator[Answered]:
    asking, failed = run.asking, list[Answered]()
    opener = Opener(run.prepared, asking, condition_name, condition(condition_name).sound)

    def questions() -> Iterator[Asked]:
        for item in items:
            try:
                yield opener.asked(item, keys[item.id], candidates_of(item, run.prepared.around, asking))
            except (AudioError, ConversationError) as error:
                long = "refuse" if isinstance(error, TooLongError) else ""
                failed.append(Answered(id=item.id, key=keys[item.id], error=error_text(error), long=long))

    for answered in model.answers(questions()):
        while failed:
            yield failed.pop()
        yield answered
    yield from failed
