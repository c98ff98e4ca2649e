"""Every scheme that vLLM serves, on random weights: its greedy tokens are ours; with a broken part they are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm")

import tiny_model
import torch
from side_by_side import Comparison, Vllm, asked, audio, ours, prepared, text

from alm.assistant import Assistant
from alm.configuration import AlmConfig
from alm.hearing import Ears
from alm.testing import click_train, noise, sweep, tone

NEW = 24
SHORT, LONG = noise(1.5, seed=1), sweep(5.0)
CONVERSATIONS = [
    asked(audio(SHORT), text("What is this?")),
    asked(text("Hello there")),
    asked(audio(SHORT), audio(LONG), text("Which is longer?")),
    asked(text("Listen to"), audio(LONG), text("and to"), audio(tone(2.0)), text("please")),
    [*asked(audio(SHORT), text("And now?")), {"role": "assistant", "content": "Noise."}, *asked(text("Sure?"))],
    [*asked(text("Hi")), {"role": "assistant", "content": "Hi."}, *asked(audio(click_train(3.0)), text("What now?"))],
]
BRANCH = {"encoders": ["aisfx"], "aligner": {"num_queries": 3, "hidden_size": 16, "num_heads": 2, "num_layers": 1}}


def assistant(
    early: str, scheme: str, start: int, kind: str = "llama", second: dict[str, Any] | None = None
) -> Assistant:
    """Random weights in the size that vLLM's attention on CPUs takes."""
    values = tiny_model.config(hidden=128, scheme=scheme, start_layer=start).to_dict()
    text_config = {**values["text_config"], "model_type": kind, "head_dim": 32}
    branches = values["branches"] + ([{**BRANCH, "fusion": second}] if second else [])
    kept = {k: values[k] for k in ("encoders", "audio_token_id", "window_seconds", "overlap_seconds")}
    settings = AlmConfig(**kept, text_config=text_config, branches=branches, early_audio=early, max_audio_seconds=20.0)
    model, processor = tiny_model.model(settings), tiny_model.processor(settings)
    with torch.no_grad():
        for _, weight in model.model.hearing.named_parameters():
            weight.mul_(3 if weight.ndim > 1 else 1)  # so that what is heard depends on the recording
    return Assistant(model, processor, Ears(model, processor), tiny_model.preset(), use_evidence=False)


CASES = {
    "prefix": ("absent", "prefix", 0),
    "delayed, absent": ("absent", "delayed", 2),
    "delayed, placeholder": ("placeholder", "delayed", 2),
    "keys and values, absent": ("absent", "keys_values", 2),
    "keys and values, placeholder": ("placeholder", "keys_values", 1),
    "hybrid": ("absent", "hybrid", 2),
    "two branches": ("absent", "delayed", 3, "llama", {"scheme": "keys_values", "start_layer": 1}),
    "qwen2": ("placeholder", "keys_values", 2, "qwen2"),
    "qwen3": ("absent", "delayed", 2, "qwen3"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_scheme_answers_as_ours_does(case: str, tmp_path: Path) -> None:
    made = assistant(*CASES[case])
    prompts = prepared(made, CONVERSATIONS, NEW)
    vllm = Vllm.of(made, tmp_path)
    try:
        outputs = vllm.answers(prompts, NEW)
    finally:
        vllm.close()
    assert [o.prompt_token_ids for o in outputs] == [p.prompt.ids for p in prompts]
    compared = Comparison.of(made, outputs, ours(made, prompts, NEW))
    assert compared.equal == len(prompts), compared


@pytest.fixture(scope="module")
def delayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Vllm, list[Any], list[list[int]]]]:
    """vLLM, prompts and our answers for the default's scheme."""
    made = assistant("absent", "delayed", 2)
    prompts = prepared(made, CONVERSATIONS, NEW)
    vllm = Vllm.of(made, tmp_path_factory.mktemp("delayed"))
    yield vllm, prompts, ours(made, prompts, NEW)
    vllm.close()


def test_steps_that_cut_recordings_and_prompts_answer_the_same(tmp_path: Path) -> None:
    made = assistant("absent", "hybrid", 2)
    prompts = prepared(made, CONVERSATIONS, NEW)
    vllm = Vllm.of(made, tmp_path, batched_tokens=10, reuse_prefixes=False)
    try:
        outputs = vllm.answers(prompts, NEW)
    finally:
        vllm.close()
    assert not any(o.num_cached_tokens for o in outputs)
    assert Comparison.of(made, outputs, ours(made, prompts, NEW)).equal == len(prompts)


def compared(given: tuple[Vllm, list[Any], list[list[int]]]) -> Comparison:
    """Answered anew, nothing taken from the cache."""
    vllm, prompts, wanted = given
    assert vllm.llm.reset_prefix_cache()
    return Comparison.of(vllm.assistant, vllm.answers(prompts, NEW), wanted)


def test_what_is_broken_shows(
    delayed: tuple[Vllm, list[Any], list[list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of the test above: a wrong layer, a stale residual, audio seen too early. Text alone stays right."""
    from serve.vllm_plugin.rows import StepRows

    enter, texts = StepRows.enter, sum(not p.prompt.recordings for p in delayed[1])
    assert compared(delayed).equal == len(CONVERSATIONS)

    def one_layer_late(self: Any, fusion: Any, layer: int, hidden: Any, residual: Any) -> Any:
        return enter(self, fusion, layer - 1, hidden, residual)

    def stale(self: Any, fusion: Any, layer: int, hidden: Any, residual: Any) -> Any:
        return enter(self, fusion, layer, hidden, residual)[0], residual

    def seen(self: Any, plan: Any, layer: int, count: int) -> Any:
        return torch.zeros(count, 1, dtype=torch.bool)

    for name, broken in (("enter", one_layer_late), ("enter", stale), ("absent", seen)):
        with monkeypatch.context() as patch:
            patch.setattr(StepRows, name, broken)
            assert texts <= compared(delayed).equal < len(CONVERSATIONS), f"{broken.__name__} is not seen"


def test_a_prompt_read_before_is_not_read_again(delayed: tuple[Vllm, list[Any], list[list[int]]]) -> None:
    vllm, _, _ = delayed
    long = "Say at length what you hear, what you think it is, and what you would do about it. " * 3
    prompts = prepared(vllm.assistant, [asked(audio(LONG), text(long + end)) for end in ("", "Quickly!")], NEW)
    wanted = ours(vllm.assistant, prompts, NEW)
    vllm.llm.reset_prefix_cache()
    for again in (False, True):
        outputs = vllm.answers(prompts[:1], NEW) + vllm.answers(prompts[1:], NEW)
        assert (outputs[0].num_cached_tokens > 0) is again and outputs[1].num_cached_tokens > 0
        assert Comparison.of(vllm.assistant, outputs, wanted).equal == 2


def test_another_recording_of_the_same_length_is_another_prompt(
    delayed: tuple[Vllm, list[Any], list[list[int]]],
) -> None:
    vllm, _, _ = delayed
    words = text("Say at length what you hear, what you think it is, and what you would do about it. " * 3)
    prompts = prepared(vllm.assistant, [asked(audio(r), words) for r in (noise(3.0), sweep(3.0))], NEW)
    outputs = [o for p in prompts for o in vllm.answers([p], NEW)]
    assert prompts[0].prompt.ids == prompts[1].prompt.ids
    assert outputs[0].outputs[0].token_ids != outputs[1].outputs[0].token_ids, "control: the audio decides"
    assert Comparison.of(vllm.assistant, outputs, ours(vllm.assistant, prompts, NEW)).equal == 2


def test_a_checkpoint_is_served_with_its_own_encoders(tmp_path: Path) -> None:
    """As `vllm serve FOLDER` runs it: recordings in, placeholder written by a program, and none taken by a text."""
    made = assistant("absent", "delayed", 2)
    made.save_pretrained(tmp_path)
    prompts = prepared(made, CONVERSATIONS, NEW)
    vllm = Vllm.with_encoders(made, tmp_path)
    try:
        outputs = vllm.answers_to_recordings(prompts, NEW)
        assert Comparison.of(made, outputs, ours(made, prompts, NEW)).equal == len(prompts)
        token = made.processor.audio_token
        stolen = {
            "prompt": f"<|im_start|>user\n{token} {token}<|im_end|>\n",
            "multi_modal_data": {"audio": [(SHORT.samples, SHORT.rate)]},
        }
        with pytest.raises(ValueError, match="2 places for 1 recordings"):
            vllm.llm.generate([stolen], use_tqdm=False)
    finally:
        vllm.close()
