"""Clotho-AQA, in the four conventions whose figures must not be mixed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from eval.benchmarks import prompts
from eval.benchmarks.download import Download
from eval.benchmarks.records import Benchmark, Piece
from eval.harness.items import Clip, Item, JudgeSpec, LabelWant, OpenWant, Want
from eval.kinds.base import LabelSet

YES_NO = LabelSet("yes-no", {"yes": (), "no": ()})
RULE = "clotho-aqa-exact"


@dataclass(frozen=True)
class _Asked:
    """One question about one clip with the answers of its annotators, three as a rule."""

    number: int
    clip: Clip
    question: str
    answers: tuple[str, ...]

    @property
    def binary(self) -> tuple[bool, ...]:
        return tuple(a in YES_NO.labels for a in self.answers)


def _questions(source: Download) -> list[_Asked]:
    """One row an annotator in the official table, which is latin-1."""
    answers: dict[tuple[str, str], list[str]] = {}
    for row in source.csv_rows("clotho_aqa_test.csv", "metadata/clotho_aqa_test.csv", encoding="latin-1"):
        key = row.text("file_name"), row.text("QuestionText")
        answers.setdefault(key, []).append(row.text("answer").lower())
    return [
        _Asked(n, Clip(path=source.recording(f"audio_files/{file}", file, f"audio/{file}")), question, tuple(given))
        for n, ((file, question), given) in enumerate(answers.items(), start=1)
    ]


def _word_item(name: str, clip: Clip, question: str, answers: tuple[str, ...], kind: str) -> Item:
    """Yes or no as a closed set, other words as accepted answers."""
    want: Want = OpenWant(references=answers)
    if answers[0] in YES_NO.labels and len(answers) == 1:
        want = LabelWant(labels=answers, label_set=YES_NO.name)
    template = prompts.QUESTION_YES_NO if want.kind == "label" else prompts.QUESTION_SHORT
    return Item(
        id=name,
        messages=prompts.asked(template, question=question),
        audios=(clip,),
        want=want,
        official=RULE,
        group=clip.path,
        tags={"answers": kind},
        max_tokens=32,
    )


def _aquanet(source: Download, split: str) -> Iterator[Piece]:
    yield YES_NO
    for asked in _questions(source):
        for voice, (answer, binary) in enumerate(zip(asked.answers, asked.binary, strict=True), start=1):
            if binary == (split == "binary"):
                yield _word_item(f"{asked.number}-{voice}", asked.clip, asked.question, (answer,), split)


def _unanimous(source: Download, split: str) -> Iterator[Piece]:
    yield YES_NO
    for asked in _questions(source):
        different = tuple(dict.fromkeys(asked.answers))
        if split == "unanimous" and len(different) == 1:
            kind = "yes or no" if asked.binary[0] else "word"
            yield _word_item(str(asked.number), asked.clip, asked.question, different, kind)
        elif split == "non-binary" and not any(asked.binary):
            yield _word_item(str(asked.number), asked.clip, asked.question, different, "word")


_ASK = re.compile(r"<[^<>]{0,40}>")
"""Marks that Qwen's lists hold for their own template."""


def _qwen(source: Download, split: str) -> Iterator[Piece]:
    yield YES_NO
    for number, row in enumerate(source.json_rows("clothoaqa_eval.jsonl", "clotho_aqa_eval.jsonl"), start=1):
        file = row.text("audio").replace("\\", "/").rpartition("/")[2]
        clip = Clip(path=source.recording(f"audio_files/{file}", file, f"audio/{file}"))
        question, answer = _ASK.sub("", row.text("question")).strip(), row.text("gt")
        kind = "yes or no" if answer in YES_NO.labels else "word"
        yield _word_item(str(number), clip, question, (answer,), kind)


def _judged(source: Download, split: str) -> Iterator[Piece]:
    for asked in _questions(source):
        yield Item(
            id=str(asked.number),
            messages=prompts.asked(prompts.QUESTION, question=asked.question),
            audios=(asked.clip,),
            want=OpenWant(
                references=tuple(dict.fromkeys(asked.answers)),
                judge=JudgeSpec(prompt="clotho-aqa", scale=(0.0, 5.0)),
            ),
            official="clotho-aqa-judge",
            group=asked.clip.path,
            max_tokens=128,
        )


_CSV = "clotho_aqa_test.csv beside the unpacked folder audio_files/"
_SHARED = {
    "version": "2022-04",
    "licence": "MIT (questions); each clip by its Freesound licence",
    "source": "https://zenodo.org/records/6473207",
}
_WORDS = {"yes or no": prompts.QUESTION_YES_NO, "word": prompts.QUESTION_SHORT}

BENCHMARKS = (
    Benchmark(
        name="clotho-aqa-aquanet",
        title="Clotho-AQA, as AquaNet counts",
        **_SHARED,
        how_to_get=_CSV,
        measures="Each annotator's answer by itself, yes-or-no answers and single words apart",
        kinds=("label", "open"),
        official=(RULE,),
        splits={"binary": None, "single-word": None},
        prompts=_WORDS,
        read=_aquanet,
        note="The three annotators of a question may differ, so that no model can be right on all. AquaNet chooses "
        "among 828 words of the training part; ours may say any word.",
    ),
    Benchmark(
        name="clotho-aqa-unanimous",
        title="Clotho-AQA, unanimous and non-binary",
        **_SHARED,
        how_to_get=_CSV,
        measures="Questions on which the three annotators agree; or those that nobody answers by yes or no",
        kinds=("label", "open"),
        official=(RULE,),
        splits={"unanimous": None, "non-binary": None},
        prompts=_WORDS,
        read=_unanimous,
        note="Where annotators differ on a non-binary question, each of their answers counts; how the published "
        "figures deal with that is not said.",
    ),
    Benchmark(
        name="clotho-aqa-qwen",
        title="Clotho-AQA, by Qwen-Audio's list",
        version="Qwen-Audio's clothoaqa_eval.jsonl",
        licence=_SHARED["licence"],
        source="https://github.com/QwenLM/Qwen-Audio",
        how_to_get="clothoaqa_eval.jsonl beside the unpacked folder audio_files/",
        measures="One answer a question, character by character",
        kinds=("label", "open"),
        official=(RULE,),
        splits={"test": None},
        prompts=_WORDS,
        read=_qwen,
    ),
    Benchmark(
        name="clotho-aqa-judge",
        title="Clotho-AQA, judged",
        **_SHARED,
        how_to_get=_CSV,
        measures="Free answers graded 0 to 5 beside the annotators' words",
        kinds=("open",),
        official=("clotho-aqa-judge",),
        splits={"test": None},
        prompts={"question": prompts.QUESTION},
        read=_judged,
        note="AudioBench grades like this, on its own subset with one reference each.",
    ),
)
