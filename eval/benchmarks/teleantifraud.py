"""TeleAntiFraud-Bench: three questions on one call in Mandarin, and the reasoning before the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

from eval.benchmarks import prompts
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Unusable
from eval.harness.items import Clip, Item, JudgeSpec, OpenWant, StructuredWant

SCENES = ("订餐服务", "咨询客服", "预约服务", "交通咨询", "日常购物", "打车服务", "外卖服务")
TYPES = ("投资诈骗", "钓鱼诈骗", "身份盗窃", "彩票诈骗", "银行诈骗", "绑架诈骗", "客服诈骗", "邮件诈骗")
PRESENT = ("fraud", "normal")
_FILES = ("teleantifraud_bench.json", "bench.json", "test.json", "test.jsonl", "references.json")


@dataclass(frozen=True)
class _Task:
    """One of the three questions."""

    name: str
    key: str
    """Of the JSON answer."""
    labels: tuple[str, ...]
    prompt: Template


TASKS = (
    _Task("type", "fraud_type", TYPES, prompts.FRAUD_TYPE),
    _Task("fraud", "is_fraud", PRESENT, prompts.FRAUD_PRESENT),
    _Task("scene", "scene", SCENES, prompts.FRAUD_SCENE),
)


def _task_of(row: Row) -> _Task:
    """By the key that the official question asks for."""
    asked = json.dumps(row.values.get("prompt", row.values.get("messages")), ensure_ascii=False)
    found = next((t for t in TASKS if t.key in asked), None)
    if found is None:
        raise row.fault("prompt", "asks for none of scene, is_fraud, fraud_type")
    return found


def _label(row: Row, task: _Task) -> str | None:
    """The right label: in the field `answer`, or in the JSON of the reference answer."""
    for name in ("answer", "response"):
        given = row.values.get(name)
        if isinstance(given, bool):
            return PRESENT[not given]
        if isinstance(given, Mapping):
            given = given.get(task.key)
        if isinstance(given, bool):
            return PRESENT[not given]
        if isinstance(given, str) and (found := _in_text(given, task)):
            return found
    return None


def _in_text(text: str, task: _Task) -> str | None:
    if (exact := text.strip()) in task.labels:
        return exact
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1]) if 0 <= start < end else {}
    except (ValueError, RecursionError):
        return None
    value = found.get(task.key) if isinstance(found, dict) else None
    if isinstance(value, bool):
        return PRESENT[not value]
    return value if isinstance(value, str) and value in task.labels else None


def _path(row: Row) -> str:
    """The recording: a field of its own, or in the nested question."""
    for name in ("audio", "audio_path", "audios"):
        if row.has(name):
            given = row.values[name]
            return row.text(name) if isinstance(given, str) else row.texts(name)[0]
    if found := _nested(row.values.get("prompt", row.values.get("messages")), 0):
        return found
    raise row.fault("audio", "must name the recording")


def _nested(value: Any, depth: int) -> str:
    if depth > 8:
        return ""
    if isinstance(value, Mapping):
        direct = next((value[k] for k in ("audio_url", "audio") if isinstance(value.get(k), str)), "")
        return direct or next((f for v in value.values() if (f := _nested(v, depth + 1))), "")
    if isinstance(value, list):
        return next((f for v in value[:64] if (f := _nested(v, depth + 1))), "")
    return ""


def _rows(source: Download) -> Iterator[tuple[int, Row, _Task, Clip]]:
    for number, row in enumerate(source.json_rows(*_FILES), start=1):
        path = _path(row).replace("\\", "/").removeprefix("file://").lstrip("/")
        name = path.rpartition("/")[2]
        yield number, row, _task_of(row), Clip(path=source.recording(path, f"audio/{path}", f"audio/{name}"))


def _labels(source: Download, split: str) -> Iterator[Piece]:
    for number, row, task, clip in _rows(source):
        if (label := _label(row, task)) is None:
            yield Unusable("the key is none of the labels")
            continue
        yield Item(
            id=f"{number:05d}-{task.name}",
            messages=prompts.asked(task.prompt, labels="、".join(task.labels)),
            audios=(clip,),
            want=StructuredWant(form="labels", answer={task.key: label}, options={"labels": {task.key: task.labels}}),
            official=f"teleantifraud-{task.name}",
            group=clip.path,
            tags={"task": task.name, "language": "zh"},
            max_tokens=1024,
        )


def _reasoning(source: Download, split: str) -> Iterator[Piece]:
    for number, row, task, clip in _rows(source):
        if not row.has("reasoning"):
            yield Unusable("no reference reasoning")
            continue
        yield Item(
            id=f"{number:05d}-{task.name}",
            messages=prompts.asked(task.prompt, labels="、".join(task.labels)),
            audios=(clip,),
            want=OpenWant(
                references=(row.text("response", row.text("answer", "")),),
                context=row.text("reasoning"),
                judge=JudgeSpec(prompt="teleantifraud", scale=(0.0, 5.0)),
            ),
            official="teleantifraud-reasoning",
            group=clip.path,
            tags={"task": task.name, "language": "zh"},
            max_tokens=1024,
        )


_SHARED = {
    "version": "2026-04",
    "licence": "Apache-2.0",
    "source": "https://huggingface.co/datasets/JimmyMa99/TeleAntiFraud",
    "how_to_get": "the list of the bench as test.json (rows with prompt, response, reasoning, answer) beside the "
    "unpacked audio.zip (folder audio/)",
}
_PROMPTS = {t.name: t.prompt for t in TASKS}

BENCHMARKS = (
    Benchmark(
        name="teleantifraud",
        title="TeleAntiFraud-Bench",
        **_SHARED,
        measures="Scene, fraud or not, and kind of fraud of a telephone call",
        kinds=("structured",),
        official=tuple(f"teleantifraud-{t.name}" for t in TASKS),
        splits={"test": 7021},
        prompts=_PROMPTS,
        read=_labels,
        note="The official script takes an unreadable answer for a normal call; the robust rule takes it for wrong.",
    ),
    Benchmark(
        name="teleantifraud-reasoning",
        title="TeleAntiFraud-Bench, reasoning",
        **_SHARED,
        measures="Logic, practical value and expression of the reasoning, 5 points each, by a judge",
        kinds=("open",),
        official=("teleantifraud-reasoning",),
        splits={"test": 7021},
        prompts=_PROMPTS,
        read=_reasoning,
    ),
)
