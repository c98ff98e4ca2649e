"""MMAU and MMAU-Pro."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eval.benchmarks import prompts
from eval.benchmarks.choosing import choice_want
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Unusable
from eval.harness.items import Clip, Item, JudgeSpec, Message, OpenWant, Want


def _mmau(source: Download, split: str) -> Iterator[Piece]:
    for row in source.json_rows("mmau-test-mini.json", "test-mini.json"):
        choices = row.texts("choices")
        if (want := choice_want(choices, row.text("answer", ""))) is None:
            yield Unusable("the key is none of the choices")
            continue
        path = source.recording(row.text("audio_id"))
        yield Item(
            id=row.text("id"),
            messages=prompts.asked(prompts.CHOICE, question=row.text("question"), options=prompts.lines(choices)),
            audios=(Clip(path=path),),
            want=want,
            official="mmau",
            group=path,
            tags={
                "task": row.text("task"),
                "difficulty": row.text("difficulty", "unknown"),
                "category": row.text("category", "unknown").strip("[]'\""),
                "skill": row.text("sub-category", "unknown"),
            },
        )


MMAU = Benchmark(
    name="mmau",
    title="MMAU",
    version="v05.15.25",
    licence="Apache-2.0 (questions); recordings under the terms of their sources",
    source="https://github.com/Sakshi113/MMAU, https://huggingface.co/datasets/gamma-lab-umd/MMAU-test-mini",
    how_to_get="mmau-test-mini.json of the official repository beside the unpacked folder test-mini-audios/",
    measures="Choice questions on sound, music and speech, by difficulty and skill",
    kinds=("choice",),
    official=("mmau",),
    splits={"test-mini": 1000},
    prompts={"choice": prompts.CHOICE},
    read=_mmau,
    note="The answers of the 9,000 questions of split test are withheld. Figures from before May 2025 are of another "
    "test. In test-mini the right option is the first in 39.5 % of the questions.",
)


def _mmau_pro(source: Download, split: str) -> Iterator[Piece]:
    for number, row in enumerate(source.parquet_rows("test.parquet", "data/test.parquet"), start=1):
        clips = tuple(Clip(path=source.recording(p, f"data/{p}")) for p in _paths(row))
        if (made := _route(row, len(clips))) is None:
            yield Unusable("fewer than two choices, or no key that fits")
            continue
        messages, want, official, max_tokens = made
        yield Item(
            id=row.text("id", str(number)),
            messages=messages,
            audios=clips,
            want=want,
            official=official,
            group=clips[0].path if clips else "",
            tags={"category": row.text("category"), "length": row.text("length_type", "unknown")},
            max_tokens=max_tokens,
        )


def _paths(row: Row) -> tuple[str, ...]:
    """One recording is written as text in some releases, as a list in others."""
    single = isinstance(row.values.get("audio_path"), str)
    return (row.text("audio_path"),) if single and row.has("audio_path") else row.texts("audio_path")


def _route(row: Row, recordings: int) -> tuple[tuple[Message, ...], Want, str, int] | None:
    """Turns, what is wanted, official rule and tokens, by category; None where nothing can be scored."""
    question, answer = row.text("question"), row.text("answer", "")
    opened = prompts.asked(prompts.QUESTION, recordings, question=question)
    if row.text("category") == "instruction following":
        return opened, OpenWant(references=(answer,) * bool(answer), rules=(_rule(row),)), "mmau-pro-if", 1024
    if row.text("category") == "open":
        judge = JudgeSpec(prompt="mmau-pro-open", scale=(1.0, 5.0), bar=4.0)
        return (opened, OpenWant(references=(answer,), judge=judge), "mmau-pro-open", 512) if answer else None
    choices = row.texts("choices")
    if (chosen := choice_want(choices, answer)) is None:
        return None
    listed = prompts.asked(prompts.CHOICE, recordings, question=question, options=prompts.lines(choices))
    return listed, chosen, "mmau-pro", 256


def _rule(row: Row) -> dict[str, object]:
    """The verifiable constraint: `Number Words (at most)` with its arguments becomes `number-words-at-most`."""
    name = re.sub(r"[^a-z0-9]+", "-", row.text("task_identifier").lower()).strip("-")
    arguments = row.row("kwargs").values if row.has("kwargs") else {}
    return {"rule": name, **{str(k): v for k, v in arguments.items() if v is not None}}


MMAU_PRO = Benchmark(
    name="mmau-pro",
    title="MMAU-Pro",
    version="2025-08",
    licence="see the data set's page; recordings under the terms of their sources",
    source="https://huggingface.co/datasets/gamma-lab-umd/MMAU-Pro",
    how_to_get="test.parquet beside the unpacked data.zip (folder data/)",
    measures="49 skills on speech, sound, music and mixtures, several recordings and long ones among them: "
    "choices, open answers, instructions that a program can check",
    kinds=("choice", "open"),
    official=("mmau-pro", "mmau-pro-open", "mmau-pro-if"),
    splits={"test": 5305},
    prompts={"choice": prompts.CHOICE, "open": prompts.QUESTION},
    read=_mmau_pro,
    note="The official script leaves out questions with fewer than two choices; ours counts them as unusable.",
)

BENCHMARKS = (MMAU, MMAU_PRO)
