"""From samples to rows: which tasks are made of which sample how often, and how a row is put together.

Every row is a pure function of its sample, the survey of all samples, the plan and the seed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import soundfile

from alm.errors import RecordError
from data_prep.errors import CorpusError
from data_prep.makers import composed, intent, music, pairs, reasoning, sounds, space, speech, timing
from data_prep.makers.base import Making, Task, Turn
from data_prep.makers.checking import fault_in
from data_prep.makers.dialogue import dialogue_task
from data_prep.makers.names import load_names
from data_prep.makers.plan import TaskPlan
from data_prep.makers.survey import Survey, heard, label_key, place, survey, values_in
from data_prep.makers.wording import CLOSED_PREFIX, load_book
from data_prep.records import AUDIO_MARK, SPLITS, Message, Record
from data_prep.samples import Sample
from data_prep.scenes import rng_for

_SINGLE = (
    *sounds.TASKS, *timing.TASKS, *speech.TASKS, *intent.TASKS, *music.TASKS, *space.TASKS, *reasoning.TASKS,
    *composed.TASKS,
)  # fmt: skip
TASKS: Mapping[str, Task] = {task.name: task for task in (*_SINGLE, *pairs.TASKS, dialogue_task(_SINGLE))}
"""All tasks by name."""

ATTEMPTS = 4
"""A question that does not fit by chance, such as a moment near the start of a sound, is tried so often."""
AHEAD_SHARE = 0.8
"""Share of the questions that follow their recordings, in train; the others come first."""
BALANCE_BOUNDS = (0.05, 20.0)
MAX_PASSES = 16
LEAST_TRIED = 4.0
SPARE = 1.1
"""A pass aims at somewhat more rows than are missing: some questions never fit."""
SHOWN_LOST = 20


@dataclass
class MakeReport:
    """What was made, and what was not."""

    samples: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    """By task."""
    unfit: Counter[str] = field(default_factory=Counter)
    """By task: samples that have the fields, but that the question did not fit."""
    lost: Counter[str] = field(default_factory=Counter)
    """By reason: samples or rows that could not be used."""
    shown: list[str] = field(default_factory=list)
    """The first of each reason."""

    def lose(self, reason: str, detail: str) -> None:
        """Count a loss."""
        self.lost[reason] += 1
        if self.lost[reason] <= SHOWN_LOST:
            self.shown.append(f"{reason}: {detail[:200]}")


def chosen_tasks(plan: TaskPlan) -> list[Task]:
    """The plan's tasks, in the order of `TASKS`.

    Raises:
        CorpusError: the plan names a task that is not there.
    """
    unknown = sorted({*plan.tasks, *plan.without, *plan.rates, *plan.shares} - set(TASKS))
    if unknown:
        shown = ", ".join(map(str, unknown))[:200]
        raise CorpusError(f"task plan: no task {shown}; `alm data tasks` lists them: {', '.join(TASKS)}")
    return [t for t in TASKS.values() if (not plan.tasks or t.name in plan.tasks) and t.name not in plan.without]


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of any sample of a split, in any process."""

    survey: Survey
    plan: TaskPlan
    seed: int
    tasks: tuple[Task, ...]

    def rows(self, sample: Sample, report: MakeReport | None = None) -> Iterator[Record]:
        """All rows of one sample that the rates give, each different."""
        report = report if report is not None else MakeReport()
        seen: set[int] = set()
        for task in self.tasks:
            for index in range(self.times(sample, task)):
                record = self.row(sample, task, index, report)
                if record is not None and _new(record, seen):
                    report.rows[task.name] += 1
                    yield record

    def times(self, sample: Sample, task: Task) -> int:
        """How many rows of a task the sample is worth; 0 when it has nothing for it."""
        if not self.fits(sample, task):
            return 0
        part, whole = math.modf(self.plan.rate_of(task.name) * self.weight(sample, task))
        return int(whole) + self.chance(part, sample, task.name)

    def fits(self, sample: Sample, task: Task) -> bool:
        """Whether the plan and the sample's fields allow the task."""
        if self.plan.max_seconds and (sample.seconds or 0.0) > self.plan.max_seconds:
            return False
        return bool(self.plan.rate_of(task.name)) and task.fits(sample)

    def chance(self, part: float, sample: Sample, *key: object) -> bool:
        """True for a part of all samples, always for the same ones."""
        return place(sample, "chance", self.seed, *key) / 2.0**64 < part

    def weight(self, sample: Sample, task: Task) -> float:
        """Below 1 for frequent values and above for rare ones, by the plan's balance."""
        if not self.plan.balance or not task.by:
            return 1.0
        found = values_in(sample, task.by)
        counts = self.survey.counts(found[0][0]) if found else {}
        known = [counts[value] for _, value in found if value in counts]
        if not known:
            return 1.0
        low, high = BALANCE_BOUNDS
        return float(min(max((median(counts.values()) / min(known)) ** self.plan.balance, low), high))

    def row(self, sample: Sample, task: Task, index: int, report: MakeReport) -> Record | None:
        """Row `index` of a task on a sample, or None when the question does not fit; it is not counted yet."""
        for attempt in range(ATTEMPTS):
            key = (self.seed, self.survey.split, task.name, sample.source, sample.id, index, attempt)
            making = Making(
                rng_for("make", *key), self.survey.split, self.plan, self.survey,
                load_names(self.plan.hierarchy), load_book(),
            )  # fmt: skip
            turn = task.make(making, sample)
            if turn is not None:
                return self._assembled(making, sample, task, index, turn, report)
        report.unfit[task.name] += 1
        return None

    def _assembled(
        self, making: Making, sample: Sample, task: Task, index: int, turn: Turn, report: MakeReport
    ) -> Record | None:
        try:
            return assemble(making, sample, task, index, turn, self.seed)
        except (RecordError, CorpusError) as fault:
            report.lose("row refused", str(fault))
            return None


def _new(record: Record, seen: set[int]) -> bool:
    """Whether the same recordings with the same words have not been seen yet."""
    mark = hash((record.audios, record.messages))
    if mark in seen:
        return False
    seen.add(mark)
    return True


def sound(samples: Iterable[Sample], report: MakeReport) -> Iterator[Sample]:
    """The samples whose fields hold what they should; the others are counted as lost."""
    for sample in samples:
        fault = fault_in(sample)
        if fault:
            report.lose("bad sample", f"sample '{sample.id[:80]}' of {sample.source[:40]}: {fault}")
        else:
            yield sample


def row_maker(samples: Iterable[Sample], plan: TaskPlan, seed: int, split: str) -> RowMaker:
    """Look at all samples once; the maker that comes of it may be given to workers.

    Samples of unsure origin go through `sound` first, here and before `RowMaker.rows`.

    Raises:
        CorpusError: the plan names a task that is not there, or the split is none.
    """
    if split not in SPLITS:
        raise CorpusError(f"split {split[:40]!r}: must be one of {', '.join(SPLITS)}")
    tasks = tuple(chosen_tasks(plan))
    load_names(plan.hierarchy)
    return RowMaker(survey(samples, split, plan.partners), plan, seed, tasks)


def make_records(
    samples: Iterable[Sample], plan: TaskPlan, seed: int, split: str, report: MakeReport | None = None
) -> Iterator[Record]:
    """Rows of all samples of one split, in an order that depends on the seed and not on that of the samples.

    Samples of other splits only tell what train has: labels that it lacks are not asked for. All samples are held in
    memory; `row_maker` works on streams.
    """
    report = report if report is not None else MakeReport()
    items = list(sound(samples, report))
    maker = row_maker(items, plan, seed, split)
    own = sorted((one for one in items if one.split == split), key=lambda one: (place(one, seed), one.id, one.source))
    report.samples += len(own)
    if plan.rows:
        yield from _shared_out(maker, own, report)
        return
    seen: set[int] = set()
    for index in range(max((maker.times(one, task) for one in own for task in maker.tasks), default=0)):
        for sample in own:
            for task in maker.tasks:
                record = maker.row(sample, task, index, report) if index < maker.times(sample, task) else None
                if record is not None and _new(record, seen):
                    report.rows[task.name] += 1
                    yield record


def _shared_out(maker: RowMaker, own: Sequence[Sample], report: MakeReport) -> Iterator[Record]:
    """As many rows as the plan wants, each task spread evenly over all samples that fit it.

    A pass takes every sample with the chance that brings the rows that are still missing, and a few at least; questions
    that do not fit are made up for by the next pass.
    """
    able = [[(task, maker.weight(one, task)) for task in maker.tasks if maker.fits(one, task)] for one in own]
    weights: Counter[str] = Counter()
    for pairs_of_one in able:
        weights.update({task.name: weight for task, weight in pairs_of_one})
    left = quotas(maker.plan, [task for task in maker.tasks if weights[task.name]])
    seen: set[int] = set()
    for index in range(MAX_PASSES):
        chances = {name: max(SPARE * count, LEAST_TRIED) / weights[name] for name, count in left.items() if count > 0}
        for sample, pairs_of_one in zip(own, able, strict=True):
            for task, weight in pairs_of_one:
                chance = chances.get(task.name, 0.0) * weight
                if left[task.name] <= 0 or not maker.chance(chance, sample, task.name, index):
                    continue
                record = maker.row(sample, task, index, report)
                if record is not None and _new(record, seen):
                    left[task.name] -= 1
                    report.rows[task.name] += 1
                    yield record
        if not chances:
            return


def quotas(plan: TaskPlan, tasks: Sequence[Task]) -> dict[str, int]:
    """Rows of each task, `plan.rows` together, by largest remainder."""
    shares = {task.name: float(plan.shares.get(task.name, task.share)) for task in tasks}
    whole = sum(shares.values()) or 1.0
    exact = {name: plan.rows * share / whole for name, share in shares.items()}
    found = {name: int(value) for name, value in exact.items()}
    first = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in first[: plan.rows - sum(found.values())]:
        found[name] += 1
    return found


def seconds_of(sample: Sample) -> float:
    """Length in seconds, of the file's header where the source does not tell.

    Raises:
        RecordError: it cannot be known.
    """
    if sample.seconds is not None:
        return sample.seconds
    try:
        whole = float(soundfile.info(Path(sample.audio)).duration)
    except (OSError, RuntimeError, ValueError) as fault:
        rule = "give the sample its seconds"
        raise RecordError(f"sample '{sample.id[:80]}': {sample.audio[:200]}: no length ({fault}); {rule}") from fault
    return max(0.0, whole - (sample.start or 0.0))


def assemble(making: Making, sample: Sample, task: Task, index: int, turn: Turn, seed: int) -> Record:
    """The row of a turn.

    Raises:
        RecordError: a text is too long, or the length of a recording is not known.
    """
    samples = turn.samples or (sample,)
    turns = (turn, *turn.then)
    messages: list[Message] = []
    for number, one in enumerate(turns):
        content = one.question if number else _dressed(making, task, samples, one.question)
        messages += [Message("user", content), Message("assistant", one.answer)]
    metas = [one.meta | ({"task": one.task} if one.task else {}) for one in turns]
    meta: dict[str, Any] = {"turns": metas} if turn.then else dict(turn.meta)
    return Record(
        id="/".join((making.split, task.name, str(seed), *_names(sample), str(index))),
        messages=tuple(messages),
        audios=tuple(one.audio for one in samples),
        source=_joined(" + ", (name for one in samples for name in one.packages)),
        task=task.name,
        split=making.split,
        licence=_joined(" AND ", (one.licence for one in samples)),
        duration=round(sum(seconds_of(one) for one in samples), 3),
        meta=meta | _about(making, task, samples),
    )


def _names(sample: Sample) -> tuple[str, str]:
    return sample.source, sample.id


def _joined(mark: str, names: Iterable[str]) -> str:
    return mark.join(dict.fromkeys(names))


def _about(making: Making, task: Task, samples: Sequence[Sample]) -> dict[str, Any]:
    """What the row is about, for reports, leak checks and cutting."""
    classes = list(dict.fromkeys(label for one in samples for label in heard(one)))
    facts: dict[str, Any] = {"family": task.family, "classes": classes, "recordings": [one.id for one in samples]}
    if making.survey.seen is not None:
        facts["seen"] = all(making.survey.known(label_key(one), label) for one in samples for label in heard(one))
    if any(one.group for one in samples):
        facts["groups"] = [one.group for one in samples]
    if any(one.start is not None for one in samples):
        facts["spans"] = [None if one.start is None else [one.start, one.seconds] for one in samples]
    if any(one.channels for one in samples):
        facts["channels"] = [one.channels for one in samples]
    if making.plan.tags:
        facts["tags"] = list(task_tags(task, samples[0]))
    return facts


def task_tags(task: Task, sample: Sample) -> tuple[str, ...]:
    """Qwen-Audio's tags from the general to the special: task group, language heard, task, language said, times."""
    heard_language = sample.language.split("-")[0].lower() or ("en" if sample.transcript else "unknown")
    spoken = task.kind in ("transcribe", "translate")
    said = heard_language if task.kind == "transcribe" else "en"
    group = "startoftranscripts" if spoken else "startofanalysis"
    return group, heard_language, task.kind, said, "timestamps" if task.times else "notimestamps"


def _dressed(making: Making, task: Task, samples: Sequence[Sample], question: str) -> str:
    """The question with the marks of its recordings, and what the plan puts ahead of it."""
    train = making.split == "train"
    if train and making.coin(making.plan.closed_prefix):
        question = CLOSED_PREFIX + question
    if making.plan.tags:
        question = "".join(f"<|{tag}|>" for tag in task_tags(task, samples[0])) + question
    if AUDIO_MARK in question:
        return question
    marks = AUDIO_MARK * len(samples)
    return f"{marks}{question}" if not train or making.coin(AHEAD_SHARE) else f"{question}{marks}"

