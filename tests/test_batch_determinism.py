"""With the real weights: a row's answer does not depend on which rows are answered beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from batch_helpers import a_row, read, write

import alm
from alm.audio import waveform_to_wav_bytes
from alm.testing import tone
from serve.batch.answering import BatchAnswerer
from serve.batch.manifest import BatchSettings
from serve.batch.runner import BatchPolicy, run_batch
from serve.batch.sources import open_source
from serve.batch.stages import LocalEngine
from serve.engines.transformers import TransformersEngine

ALLOWED_TIES = 0
"""Rows whose text may differ since two tokens were equally likely but for rounding; none of these is known to."""


def make_rows(folder: Path) -> Path:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    sounds = {
        "low": tone(1.0),
        "high": tone(2.0, frequency_hz=1800.0),
        "noise": alm.Waveform(noise, 16_000),
    }
    for name, sound in sounds.items():
        (folder / f"{name}.wav").write_bytes(waveform_to_wav_bytes(sound))
    questions = ["<audio>What do you hear?", "<audio>Describe it briefly."]
    rows = [a_row(f"{name} {i}", q, [f"{name}.wav"]) for i, q in enumerate(questions) for name in sounds]
    rows += [a_row("text", "What is the capital of France?", [])]
    rows += [a_row("two", "<audio>Is this louder than <audio>?", ["low.wav", "noise.wav"])]
    return write(folder, rows)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize(("temperature", "ways"), [(0.0, [(3, 64), (16, 3)]), (0.8, [(16, 64)])])
def test_answers_do_not_depend_on_rows_in_step_or_window(
    temperature: float, ways: list[tuple[int, int]], tmp_path: Path
) -> None:
    assistant = alm.load("tiny")
    source = open_source(make_rows(tmp_path))
    settings = BatchSettings(max_new_tokens=8, temperature=temperature, seed=3)
    found: dict[tuple[int, int], dict[str, str]] = {}
    for at_once, window in [(1, 1), *ways]:
        target = tmp_path / f"out-{at_once}-{window}.jsonl"
        decoding = TransformersEngine(assistant, at_once, sys.maxsize)
        engine = LocalEngine(source, BatchAnswerer(decoding, settings), window, False)
        outcome = run_batch(source, target, settings, BatchPolicy(window=window), lambda: engine)  # noqa: B023
        decoding.close()
        assert outcome.answered == outcome.total == 8, outcome.problems
        found[at_once, window] = {row["id"]: row["answer"] for row in read(target)}
    alone = found.pop((1, 1))
    assert len(set(alone.values())) > 3, "the questions are told apart"
    for way, answers in found.items():
        ties = [f"{i}: {alone[i]!r} or {answers[i]!r}" for i in alone if answers[i] != alone[i]]
        assert len(ties) <= ALLOWED_TIES, f"{way}: {ties}"
    if temperature:
        decoding = TransformersEngine(assistant, 16, sys.maxsize)
        other = BatchAnswerer(decoding, BatchSettings(max_new_tokens=8, temperature=temperature, seed=4))
        target = tmp_path / "other.jsonl"
        run_batch(source, target, settings, BatchPolicy(), lambda: LocalEngine(source, other, 64, False))
        decoding.close()
        assert {row["id"]: row["answer"] for row in read(target)} != alone, "another seed, other answers"
