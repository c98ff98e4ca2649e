"""The shipped model on vLLM: fifty prompts, greedy, in float32, against our own decoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")

from side_by_side import Comparison, Vllm, asked, audio, ours, prepared, text

import alm
from alm.assistant import Assistant
from alm.audio import Waveform, load_audio
from alm.modeling import AlmForConditionalGeneration
from alm.testing import click_train, noise, silence, sweep, tone, two_tone_scene

pytestmark = [pytest.mark.weights, pytest.mark.timeout(900)]

NEW = 32
ENOUGH = 48
"""Of fifty answers so many must be equal; the first difference of the others must be among vLLM's three likeliest."""
QUESTIONS = (
    "What do you hear?",
    "Is there a dog barking, rain, or a siren?",
    "Describe the recording in one sentence.",
    "Is somebody speaking? What is said?",
    "Could this be music?",
)
PLAIN = (
    "What is the capital of France?", "Name three colours.", "Write one sentence about the sea.",
    "What is 7 plus 5?", "Who wrote Hamlet?", "Give me a word that rhymes with tree.",
    "What do bees make?", "Translate 'good morning' into French.", "Is the sun a star?", "Say hello.",
)  # fmt: skip


def recordings() -> list[Waveform]:
    speech = load_audio(Path(__file__).parent.parent / "data" / "speech.flac")
    return [
        speech, tone(2.0), noise(3.0, seed=2), click_train(12.0), two_tone_scene(4.0), sweep(25.0), silence(1.0),
        noise(120.0, level=0.3), tone(0.6, 880.0),
    ]  # fmt: skip


def fifty() -> list[list[dict[str, Any]]]:
    """Ten without a recording, sixteen with one, twelve with two, twelve of several turns."""
    known = recordings()
    some = [known[i % len(known)] for i in range(64)]
    questions = [text(QUESTIONS[i % len(QUESTIONS)]) for i in range(64)]
    found = [asked(text(q)) for q in PLAIN]
    found += [asked(audio(some[i]), questions[i + 1]) for i in range(16)]
    found += [asked(audio(some[i]), audio(some[i + 2]), text(f"Which one is louder? {i}")) for i in range(6)]
    found += [asked(text("First:"), audio(some[i]), text("Then:"), audio(some[i + 5]), questions[i]) for i in range(6)]
    for i in range(12):
        first = asked(audio(some[i]), questions[i]) if i % 3 else asked(text(PLAIN[i % len(PLAIN)]))
        second = asked(audio(some[i + 1]), questions[i + 2]) if i % 2 else asked(text("Are you sure? Why?"))
        found.append([*first, {"role": "assistant", "content": "I think so, but I am not sure."}, *second])
    return found


@dataclass(frozen=True)
class Given:
    """The shipped assistant with its LoRA merged, the prompts, and what it answers."""

    assistant: Assistant
    prompts: list[Any]
    wanted: list[list[int]]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    assistant, folder = alm.load("tiny"), tmp_path_factory.mktemp("plain")
    assistant.save_pretrained(folder)
    assistant.model = assistant.ears.model = AlmForConditionalGeneration.from_pretrained(folder)
    prompts = prepared(assistant, fifty(), NEW)
    return Given(assistant, prompts, ours(assistant, prompts, NEW))


@pytest.fixture(scope="module")
def vllm(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    started = Vllm.of(given.assistant, tmp_path_factory.mktemp("tiny"))
    yield started
    started.close()


def compare(vllm: Vllm, given: Given) -> tuple[Comparison, list[Any]]:
    outputs = vllm.answers(given.prompts, NEW)
    assert [o.prompt_token_ids for o in outputs] == [p.prompt.ids for p in given.prompts]
    found = Comparison.of(given.assistant, outputs, given.wanted)
    print(f"equal {found.equal} of {len(given.prompts)}, near ties {found.near}, apart {found.apart}")
    return found, outputs


def test_fifty_answers_are_ours_with_and_without_the_prefix_cache(vllm: Vllm, given: Given) -> None:
    assert len(given.prompts) == 50
    first, _ = compare(vllm, given)
    again, outputs = compare(vllm, given)
    assert sum(o.num_cached_tokens for o in outputs) > 0.3 * sum(len(p.prompt.ids) for p in given.prompts)
    for found in (first, again):
        assert found.equal >= ENOUGH and not found.apart, found


def test_a_control_that_hears_other_recordings_is_told_apart(vllm: Vllm, given: Given) -> None:
    """What is compared depends on what is heard: with each recording's tokens reversed, fewer answers are equal."""
    ears = given.assistant.ears
    heard = {key: replace(value, tokens=value.tokens.flip(1)) for key, value in ears._known.items()}
    kept, ears._known = ears._known, OrderedDict(heard)
    vllm.llm.reset_prefix_cache()
    vllm.llm.llm_engine.engine_core.reset_encoder_cache()
    try:
        found, _ = compare(vllm, given)
    finally:
        ears._known = kept
    assert found.equal < ENOUGH or found.apart, "the check above would not have seen it"


def test_fifty_answers_are_ours_in_small_chunks(given: Given, tmp_path: Path) -> None:
    """Steps of 64 tokens cut recordings into pieces."""
    longest = max(p.prompt.ids.count(given.assistant.model.config.audio_token_id) for p in given.prompts)
    assert longest > 64
    small = Vllm.of(given.assistant, tmp_path, batched_tokens=64, reuse_prefixes=False)
    try:
        found, outputs = compare(small, given)
    finally:
        small.close()
    assert not any(o.num_cached_tokens for o in outputs)
    assert found.equal >= ENOUGH and not found.apart, found
