"""AIR-Bench, its foundation and its chat part."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks import prompts
from eval.benchmarks.choosing import choice_want
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Unusable
from eval.harness.items import Clip, Item, JudgeSpec, OpenWant


def recording(source: Download, part: str, row: Row) -> Clip:
    """`TASK_DATASET/PATH`, here or in the folder of the part; recordings of grounding are .flac whatever rows say."""
    place = f"{row.text('task_name')}_{row.text('dataset_name')}/{row.text('path')}"
    flac = place.rsplit(".", 1)[0] + ".flac"
    return Clip(path=source.recording(place, flac, f"{part}/{place}", f"{part}/{flac}"))


def unique(row: Row) -> str:
    """Numbers are unique within a task of a data set only."""
    return f"{row.text('task_name')}/{row.text('dataset_name')}/{row.text('uniq_id')}"


def foundation_rows(source: Download) -> Iterator[Row]:
    """Rows of the foundation part."""
    return source.json_rows("Foundation_meta.json", "Foundation/Foundation_meta.json")


def foundation_item(source: Download, row: Row, official: str) -> Item | Unusable:
    """A question with two to four lettered options."""
    choices = [row.text(f"choice_{c}") for c in "abcd" if row.has(f"choice_{c}")]
    if (want := choice_want(choices, row.text("answer_gt", ""))) is None:
        return Unusable("the key is none of the choices")
    clip = recording(source, "Foundation", row)
    options = prompts.lettered(choices)
    return Item(
        id=unique(row),
        messages=prompts.asked(prompts.CHOICE_LETTER, question=row.text("question"), options=options),
        audios=(clip,),
        want=want,
        official=official,
        group=clip.path,
        tags={"task": row.text("task_name"), "dataset": row.text("dataset_name")},
        max_tokens=64,
    )


def _foundation(source: Download, split: str) -> Iterator[Piece]:
    for row in foundation_rows(source):
        yield foundation_item(source, row, "air-foundation")


def chat_rows(source: Download) -> Iterator[Row]:
    """Rows of the chat part."""
    return source.json_rows("Chat_meta.json", "Chat/Chat_meta.json")


def domain(row: Row) -> str:
    """`speech`, `sound`, `music` or `mixed`."""
    task = row.text("task_name")
    return "mixed" if "_and_" in task else task.split("_")[0]


def chat_item(source: Download, row: Row, official: str, judge: JudgeSpec) -> Item | Unusable:
    """An open question; a judge reads the description of the recording."""
    if not row.has("answer_gt"):
        return Unusable("question without an answer")
    clip = recording(source, "Chat", row)
    return Item(
        id=unique(row),
        messages=prompts.asked(prompts.QUESTION, question=row.text("question")),
        audios=(clip,),
        want=OpenWant(references=(row.text("answer_gt"),), context=row.text("meta_info", ""), judge=judge),
        official=official,
        group=clip.path,
        tags={"domain": domain(row), "task": row.text("task_name"), "dataset": row.text("dataset_name")},
        max_tokens=512,
    )


def _chat(source: Download, split: str) -> Iterator[Piece]:
    judge = JudgeSpec(prompt="air-chat", scale=(1.0, 10.0), swap=True)
    for row in chat_rows(source):
        yield chat_item(source, row, "air-chat", judge)


_SHARED = {
    "version": "2024-08",
    "licence": "Apache-2.0 (questions); recordings under the terms of their sources",
    "source": "https://huggingface.co/datasets/qyang1021/AIR-Bench-Dataset",
}

FOUNDATION = Benchmark(
    name="air-foundation",
    title="AIR-Bench, foundation",
    **_SHARED,
    how_to_get="the folder Foundation: Foundation_meta.json and a folder TASK_DATASET for each task",
    measures="19 tasks on speech, sound and music as choice questions with two to four options",
    kinds=("choice",),
    official=("air-foundation",),
    splits={"test": None},
    prompts={"choice": prompts.CHOICE_LETTER},
    read=_foundation,
    note="The official prompt shows the word None for options that are not there; ours does not show them.",
)
CHAT = Benchmark(
    name="air-chat",
    title="AIR-Bench, chat",
    **_SHARED,
    how_to_get="the folder Chat: Chat_meta.json and a folder TASK_DATASET for each task",
    measures="Open answers on speech, sound, music and mixtures, graded 1 to 10 beside a reference, in both orders",
    kinds=("open",),
    official=("air-chat",),
    splits={"test": None},
    prompts={"question": prompts.QUESTION},
    read=_chat,
    note="Other harnesses judge in other ways; their figures are of other tests.",
)

BENCHMARKS = (FOUNDATION, CHAT)
