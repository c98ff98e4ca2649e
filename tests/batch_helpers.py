"""What the tests of the batch runner share: rows, recordings, and a run with the stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import assistant_double

from alm.audio import waveform_to_wav_bytes
from alm.testing import tone
from serve.batch.manifest import BatchSettings
from serve.batch.runner import BatchPolicy, Outcome, run_batch
from serve.batch.sources import Source, open_source
from serve.batch.stages import Answerer, Engine, LocalEngine


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def a_row(
    identity: Any, text: str = "<audio>What?", audios: Sequence[str] = ("clips/a.wav",), **more: Any
) -> dict[str, Any]:
    return {"id": identity, "messages": user(text), "audios": list(audios), **more}


def make_clips(folder: Path) -> Path:
    """Recordings of 1 and 2 s, and a file that is none."""
    (folder / "clips").mkdir()
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        (folder / "clips" / f"{name}.wav").write_bytes(waveform_to_wav_bytes(tone(seconds)))
    (folder / "clips" / "bad.wav").write_bytes(b"no audio")
    return folder


def write(folder: Path, rows: Sequence[Any], name: str = "in.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def double_answerer() -> Answerer:
    return assistant_double.batch_answerer(assistant_double.Assistant())  # type: ignore[no-any-return]


def local(source: Source, load: Callable[[], Answerer], policy: BatchPolicy) -> Engine:
    return LocalEngine(source, load(), policy.window, policy.details or source.dialect == "openai")


def run(
    source: Path,
    target: Path,
    load: Callable[[], Answerer] = double_answerer,
    settings: BatchSettings = BatchSettings(),
    question: str | None = None,
    **policy: Any,
) -> Outcome:
    rows, how = open_source(source, question), BatchPolicy(**policy)
    return run_batch(rows, target, settings, how, lambda: local(rows, load, how))


def must_not_load() -> Answerer:
    raise AssertionError("the model was loaded though no row was open")
