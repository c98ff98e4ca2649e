"""MMAR, and its rubrics for the reasoning that leads to an answer."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks import prompts
from eval.benchmarks.choosing import choice_want
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Unusable
from eval.harness.items import Clip, Item, JudgeSpec, OpenWant

_FILES = ("MMAR-meta.jsonl", "MMAR-meta.json")


def _tags(row: Row) -> dict[str, str]:
    return {
        "modality": row.text("modality"),
        "layer": row.text("category", "unknown"),
        "skill": row.text("sub-category", "unknown"),
        "language": row.text("language", "unknown"),
    }


def _mmar(source: Download, split: str) -> Iterator[Piece]:
    for row in source.json_rows(*_FILES):
        choices = row.texts("choices")
        if (want := choice_want(choices, row.text("answer", ""))) is None:
            yield Unusable("the key is none of the choices")
            continue
        path = source.recording(row.text("audio_path"))
        yield Item(
            id=row.text("id"),
            messages=prompts.asked(prompts.CHOICE, question=row.text("question"), options=prompts.lines(choices)),
            audios=(Clip(path=path),),
            want=want,
            official="mmar",
            group=path,
            tags=_tags(row),
        )


def _rubrics(source: Download, split: str) -> Iterator[Piece]:
    for row in source.json_rows(*_FILES):
        choices, question = row.texts("choices"), row.text("question")
        points = tuple(r.text("scoring_point") for r in row.rows("rubric"))
        right = choice_want(choices, row.text("answer", ""))
        if right is None or not points:
            yield Unusable("the key is none of the choices, or there is no rubric")
            continue
        gate = {"rule": "word-set-choice", "choices": list(choices), "answer": right.answer}
        judge = JudgeSpec(prompt="mmar-rubrics", scale=(0.0, 1.0))
        path = source.recording(row.text("audio_path"))
        yield Item(
            id=row.text("id"),
            messages=prompts.asked(prompts.REASONED_CHOICE, question=question, options=prompts.lines(choices)),
            audios=(Clip(path=path),),
            want=OpenWant(
                references=(choices[right.answer],),
                context=f"Question: {question}\nOptions:\n{prompts.lines(choices)}",
                rubric=points,
                rules=(gate,),
                judge=judge,
            ),
            official="mmar-rubrics",
            group=path,
            tags=_tags(row),
            max_tokens=1024,
        )


_SHARED = {
    "version": "2025-05",
    "licence": "CC BY-NC 4.0",
    "source": "https://huggingface.co/datasets/BoJack/MMAR",
    "how_to_get": "MMAR-meta.jsonl beside the unpacked mmar-audio.tar.gz (folder audio/)",
}

MMAR = Benchmark(
    name="mmar",
    title="MMAR",
    **_SHARED,
    measures="Choice questions that need reasoning, on sound, music, speech and their mixtures, in four layers",
    kinds=("choice",),
    official=("mmar",),
    splits={"test": 1000},
    prompts={"choice": prompts.CHOICE},
    read=_mmar,
)
RUBRICS = Benchmark(
    name="mmar-rubrics",
    title="MMAR-Rubrics",
    **_SHARED,
    measures="Whether the reasoning before a right answer meets five criteria of each question",
    kinds=("open",),
    official=("mmar-rubrics",),
    splits={"test": 1000},
    prompts={"reasoned choice": prompts.REASONED_CHOICE},
    read=_rubrics,
    note="A wrong answer scores 0 whatever its reasoning; the published procedure grades five times and drops the best "
    "and the worst grade.",
)

BENCHMARKS = (MMAR, RUBRICS)
