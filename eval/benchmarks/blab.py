"""BLAB, eight tasks on recordings of an hour."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from string import Template

from eval.benchmarks import prompts
from eval.benchmarks.choosing import choice_want
from eval.benchmarks.download import Download, Row
from eval.benchmarks.records import Benchmark, Piece, Reader, Unusable
from eval.harness.items import Clip, Item, Message, StructuredWant, Want

TOLERANCE_SECONDS = 2.0
WORD_SECONDS = 0.2
FRAME_SECONDS = 0.01
_LETTERED = re.compile(r"^\s*\(?([A-Z])[).:]\s*")

Asked = tuple[tuple[Message, ...], Want]


def _reader(task: str, official: str, make: Callable[[Row], Asked | None], max_tokens: int) -> Reader:
    def read(source: Download, split: str) -> Iterator[Piece]:
        for number, row in enumerate(source.json_rows(f"{task}.json"), start=1):
            name = PurePosixPath(row.text("audio").replace("\\", "/")).name
            clip = Clip(path=source.recording(f"audio/{name}", name, f"audios/{name}", f"{task}/{name}"))
            if (made := make(row)) is None:
                yield Unusable("row without a key that can be read")
                continue
            messages, want = made
            yield Item(
                id=f"{number:04d}-{name}",
                messages=messages,
                audios=(clip,),
                want=want,
                official=official,
                group=clip.path,
                tags={"task": task},
                max_tokens=max_tokens,
            )

    return read


def _times(row: Row) -> dict[str, float]:
    return {"start": row.number("start"), "end": row.number("end")}


def _words(row: Row) -> Asked:
    answer = [{"word": w.text("word"), **_times(w)} for w in row.rows("groundtruth")]
    want = StructuredWant(form="words", answer=answer, unit="s", tolerance=WORD_SECONDS)
    return prompts.asked(prompts.WORDS, question=row.text("question")), want


def _spans(list_name: str, text_name: str, key: str) -> Callable[[Row], Asked]:
    def make(row: Row) -> Asked:
        key_row = row.row("groundtruth")
        answer = [{"text": s.text(text_name, ""), **_times(s)} for s in key_row.rows(list_name)]
        words_end = max((w.number("end") for w in key_row.rows("word_timestamp") if w.has("end")), default=0.0)
        options = {"frame_seconds": FRAME_SECONDS, "words_end": words_end}
        want = StructuredWant(form="spans", answer=answer, unit="s", options=options)
        return prompts.asked(prompts.SPANS, question=row.text("question"), key=key), want

    return make


def _speakers(row: Row) -> Asked:
    """A number, or the range within which annotators differ."""
    messages = prompts.asked(prompts.NUMBER, question=row.text("question"), unit="")
    key = row.values.get("groundtruth")
    if isinstance(key, list) or str(key).lstrip().startswith("["):
        ends = [Row(row.where, {"groundtruth": v}).number("groundtruth") for v in row.entries("groundtruth")]
        if len(ends) != 2 or ends[0] > ends[1]:
            raise row.fault("groundtruth", "must be a number or the two ends of a range")
        return messages, StructuredWant(form="range", answer=ends)
    return messages, StructuredWant(form="number", answer=row.number("groundtruth"))


def _duration(row: Row) -> Asked:
    want = StructuredWant(form="number", answer=row.number("groundtruth"), unit="s", tolerance=TOLERANCE_SECONDS)
    return prompts.asked(prompts.NUMBER, question=row.text("question"), unit=" in seconds"), want


def _event(row: Row) -> Asked:
    """Asked for in seconds or minutes; the key is kept in seconds."""
    unit = row.text("answer_type", "seconds")
    if unit not in ("seconds", "minutes"):
        raise row.fault("answer_type", "must be seconds or minutes")
    key = row.text("groundtruth").rstrip(". ")
    parts = [Row(row.where, {"groundtruth": p}).number("groundtruth") for p in key.split(":")]
    seconds = parts[0] * (60 if unit == "minutes" else 1) if len(parts) == 1 else _clock(parts)
    want = StructuredWant(
        form="number", answer=seconds, unit="s", tolerance=TOLERANCE_SECONDS, options={"asked_unit": unit}
    )
    return prompts.asked(prompts.NUMBER, question=row.text("question"), unit=f" of {unit}"), want


def _clock(parts: list[float]) -> float:
    """`12:34` and `1:02:03` in seconds."""
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def _emotion(row: Row) -> Asked | None:
    """Options with letters; the answer is the last letter in brackets."""
    given = row.values.get("options")
    texts = tuple(map(str, given.values())) if isinstance(given, dict) else row.texts("options")
    choices = tuple(_LETTERED.sub("", t) for t in texts)
    letter = row.text("correct_option", "").strip("() ")[:1].upper()
    index = ord(letter) - ord("A") if letter else -1
    if not 0 <= index < len(choices) or (want := choice_want(choices, choices[index])) is None:
        return None
    options = prompts.lettered(choices, "({}) {}")
    asked = prompts.asked(prompts.CHOICE_LETTER, question=row.text("question"), options=options)
    return asked, want.model_copy(update={"answer": index})


def _benchmark(
    task: str, title: str, measures: str, official: str, make: Callable[[Row], Asked | None], prompt: Template
) -> Benchmark:
    return Benchmark(
        name=f"blab-{task.replace('_', '-')}",
        title=f"BLAB, {title}",
        version="2025-05",
        licence="CC BY 4.0 (annotations); recordings are fetched by the user from where the rows say",
        source="https://huggingface.co/datasets/oreva/blab_long_audio",
        how_to_get=f"{task}.json beside a folder audio/ with the recordings that its rows name",
        measures=measures,
        kinds=("choice" if make is _emotion else "structured",),
        official=(official,),
        splits={"test": None},
        prompts={"question": prompt},
        read=_reader(task, official, make, 8192 if official in ("blab-words", "blab-spans") else 64),
        note="Mean length 51 minutes: what a model cuts off is marked.",
    )


_ENTITIES, _ADVERTS = _spans("entities", "entity", "entity"), _spans("ads_segment", "text", "advertisement")

BENCHMARKS = tuple(
    _benchmark(*row)
    for row in (
        ("word_localization", "words", "When each word is spoken, to 0.2 s", "blab-words", _words, prompts.WORDS),
        ("named_entity_localization", "named entities", "When names are spoken, by frames of 10 ms", "blab-spans",
         _ENTITIES, prompts.SPANS),
        ("advertisement_localization", "advertisements", "When advertisements run, by frames of 10 ms", "blab-spans",
         _ADVERTS, prompts.SPANS),
        ("speaker_number_estimation", "speakers", "How many people speak", "blab-count", _speakers, prompts.NUMBER),
        ("event_duration", "duration of an event", "How long something lasts, exactly and to 2 s", "blab-duration",
         _event, prompts.NUMBER),
        ("entire_duration", "duration of the recording", "How long the recording is, exactly and to 2 s",
         "blab-duration", _duration, prompts.NUMBER),
        ("emotion_ranking", "emotion ranking", "Which order of emotions is right, of five options", "blab-emotion",
         _emotion, prompts.CHOICE_LETTER),
        ("emotion_reasoning", "emotion reasoning", "Which reading of an emotion is right, of four options",
         "blab-emotion", _emotion, prompts.CHOICE_LETTER),
    )
)
