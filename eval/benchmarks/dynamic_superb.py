"""Dynamic-SUPERB Phase-2, by the table of its tasks that is part of the package."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from alm.errors import RecordError
from eval.benchmarks import prompts
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Unusable
from eval.harness.items import Clip, Item, JudgeSpec, Lost, OpenWant, StructuredWant, TranscriptWant, Want

_FOLDERS = ("", "DynamicSUPERB_TextGeneration_Tasks/")


@dataclass(frozen=True)
class Task:
    """A line of the table."""

    task: str
    """Data set of the organisation DynamicSuperb on Hugging Face."""
    revision: str
    """Commit that the organisers confirmed; empty for the third of the tasks where they name none."""
    form: str
    """`classification`, `text`, `regression` or `audio`."""
    domain: str
    """`speech`, `sound` or `music`: our reading of the name, where the organisers' table leaves it open."""
    metric: str
    """`match`: a judge says whether answer and label mean the same; `error`: of a number; else of a transcript."""
    language: str


@cache
def table() -> tuple[Task, ...]:
    """All tasks that are answered in words."""
    text = (files("eval") / "data" / "dynamic_superb.csv").read_text(encoding="utf-8")
    tasks = (Task(**row) for row in csv.DictReader(text.splitlines()))
    return tuple(t for t in tasks if t.form != "audio")


def _read(source: Download, split: str) -> Iterator[Piece]:
    tasks = [t for t in table() if split in ("all", t.domain)]
    absent = 0
    for task in tasks:
        names = [f"{folder}{task.task}/metadata.json" for folder in _FOLDERS]
        if not any(source.has(n) for n in names):
            absent += 1
            continue
        found, place = source.json(*names)
        yield from _items(source, task, found, place)
    if absent:
        yield Lost(reason="task missing in the download", count=absent)


def _items(source: Download, task: Task, found: Any, place: str) -> Iterator[Piece]:
    """Of one task: instructions by name of the first recording."""
    if not isinstance(found, Mapping):
        raise Row(place, {"file": found}).fault("file", "must be an object with a row for each recording")
    folder = PurePosixPath(place).parent.as_posix()
    for name in found:
        row = Row(place, found).row(name)
        if (want := _want(task, row)) is None:
            yield Unusable("the label is no number")
            continue
        clips = _clips(source, folder, name)
        yield Item(
            id=f"{task.task}/{name}",
            messages=prompts.asked(prompts.QUESTION, len(clips), question=row.text("instruction")),
            audios=clips,
            want=want,
            official=_RULES.get(task.metric, "dynamic-superb-text"),
            group=clips[0].path if clips else "",
            tags={"task": task.task, "domain": task.domain, "form": task.form},
            max_tokens=256,
        )


_RULES = {"match": "dynamic-superb-classification", "error": ""}
"""By metric; transcripts have the third one, and numbers none that works without the organisers' language model."""


def _clips(source: Download, folder: str, name: str) -> tuple[Clip, ...]:
    """The recording, and others of the same question by the endings `_pair2`, `_pair3` ...; one task has none."""
    stem = source.inside(f"{folder}/{name}").removesuffix(".wav")
    places = [f"{stem}.wav"]
    while source.has(further := f"{stem}_pair{len(places) + 1}.wav"):
        places.append(further)
    without = "NBestCorrection" in folder
    return () if without else tuple(Clip(path=p) for p in places)


def _want(task: Task, row: Row) -> Want | None:
    label = ", ".join(row.texts("label")) if isinstance(row.values.get("label"), list) else row.text("label")
    if task.metric == "error":
        try:
            return StructuredWant(form="number", answer=row.number("label"))
        except RecordError:
            return None
    if task.metric == "match":
        judge = JudgeSpec(prompt="dynamic-superb", scale=(0.0, 1.0))
        return OpenWant(references=(label,), context=row.text("instruction"), judge=judge)
    normaliser = "none" if task.metric == "bleu" else "whisper-en" if task.language == "en" else "whisper-basic"
    return TranscriptWant(
        reference=label, language=task.language, normaliser=normaliser, metric=task.metric  # type: ignore[arg-type]
    )


DYNAMIC_SUPERB = Benchmark(
    name="dynamic-superb",
    title="Dynamic-SUPERB Phase-2",
    version="task table of dynamic-superb-utils, with the revisions that it confirms",
    licence="each task by the licence of its corpus",
    source="https://huggingface.co/DynamicSuperb, https://github.com/figisiwirf/dynamic-superb-utils",
    how_to_get="what the organisers' preprocess.py writes: a folder for each task with metadata.json and recordings",
    measures="Instructions on speech, sound and music: classes, numbers, transcripts and other text",
    kinds=("open", "structured", "transcript"),
    official=("dynamic-superb-classification", "dynamic-superb-text"),
    splits={"all": None, "speech": None, "sound": None, "music": None},
    prompts={"instruction": prompts.QUESTION},
    read=_read,
    note="Tasks whose answer is a recording are left out. Numbers are read by our reader alone: the organisers let a "
    "language model find them. `eval/data/dynamic_superb.csv` is the table of tasks.",
)

BENCHMARKS = (DYNAMIC_SUPERB,)
