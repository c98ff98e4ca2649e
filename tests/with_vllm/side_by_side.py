"""Both engines on the same prompts: greedy tokens of vLLM, in this process, and of our own decoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alm.assistant import Assistant
from alm.batching import BatchDecoder, Request, Sampling
from alm.conversation import Prepared
from serve.engines.conversations import begun_conversation
from serve.engines.vllm import prompt_for_vllm, sampling_for_vllm
from serve.engines.vllm_start import VllmSettings, engine_arguments, set_environment, write_for_vllm

IN_THIS_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def audio(recording: Any) -> dict[str, Any]:
    return {"type": "audio", "audio": recording}


def asked(*parts: Any) -> list[dict[str, Any]]:
    """One turn of a user."""
    return [{"role": "user", "content": list(parts)}]


def prepared(assistant: Assistant, conversations: Sequence[list[dict[str, Any]]], new_tokens: int) -> list[Prepared]:
    """Prompts as every engine makes them, evidence included."""
    found = []
    for messages in conversations:
        chat, question = begun_conversation(assistant, messages)
        found.append(chat.prepare_parts(question, new_tokens))
    return found


def ours(assistant: Assistant, prompts: Sequence[Prepared], new_tokens: int) -> list[list[int]]:
    """Tokens of the transformers model, in the order of the prompts."""
    requests = [Request(p.prompt, Sampling(new_tokens)) for p in prompts]
    decoder = BatchDecoder(assistant)
    decoder.add(*requests)
    while decoder.running:
        decoder.step()
    for request in requests:
        if request.error:
            raise request.error
    return [r.new_ids for r in requests]


@dataclass
class Vllm:
    """vLLM in this process, so that a start takes seconds and a control may reach into the model."""

    assistant: Assistant
    llm: Any

    @classmethod
    def of(cls, assistant: Assistant, folder: Path, **settings: Any) -> Vllm:
        os.environ.update(IN_THIS_PROCESS)
        set_environment()
        from vllm import LLM

        write_for_vllm(assistant, folder)
        arguments = engine_arguments(assistant, folder, VllmSettings(rows=8, cache_gigabytes=0.5, **settings))
        return cls(assistant, LLM(**arguments))

    @classmethod
    def with_encoders(cls, assistant: Assistant, folder: Path) -> Vllm:
        """As vLLM's own server loads a checkpoint that is there already: it hears for itself."""
        os.environ.update(IN_THIS_PROCESS)
        set_environment()
        from vllm import LLM

        arguments = engine_arguments(assistant, folder, VllmSettings(rows=8, cache_gigabytes=0.5))
        arguments |= {"limit_mm_per_prompt": {"audio": 4}, "enable_mm_embeds": False}
        return cls(assistant, LLM(**arguments))

    def answers(self, prompts: Sequence[Prepared], new_tokens: int) -> list[Any]:
        """vLLM's outputs, with the three likeliest tokens at each step."""
        sampling = sampling_for_vllm(self.assistant, Sampling(new_tokens))
        sampling.logprobs = 3
        made = [prompt_for_vllm(self.assistant, p.prompt, self.assistant.audio_tokens(p.prompt)) for p in prompts]
        return list(self.llm.generate(made, sampling, use_tqdm=False))

    def answers_to_recordings(self, prompts: Sequence[Prepared], new_tokens: int) -> list[Any]:
        """As [`answers`], with the recordings themselves."""
        made = [prompt_for_vllm(self.assistant, p.prompt, self.assistant.audio_tokens(p.prompt)) for p in prompts]
        for prompt, p in zip(made, prompts, strict=True):
            if p.prompt.recordings:
                prompt["multi_modal_data"] = {"audio": [(r.samples, r.rate) for r in p.prompt.recordings]}
                del prompt["multi_modal_uuids"]
        return list(self.llm.generate(made, sampling_for_vllm(self.assistant, Sampling(new_tokens)), use_tqdm=False))

    def close(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        cleanup_dist_env_and_memory()


@dataclass(frozen=True)
class Comparison:
    """How many answers agree, and whether the first difference of each other one is a near tie."""

    equal: int
    near: int
    apart: tuple[str, ...]

    @classmethod
    def of(cls, assistant: Assistant, outputs: Sequence[Any], wanted: Sequence[list[int]]) -> Comparison:
        equal, near, apart = 0, 0, []
        for index, (output, own) in enumerate(zip(outputs, wanted, strict=True)):
            said = output.outputs[0]
            theirs = [t for t in said.token_ids if t not in assistant.end_ids]
            if theirs == own:
                equal += 1
                continue
            differ = (i for i, (a, b) in enumerate(zip(theirs, own, strict=False)) if a != b)
            at = next(differ, min(len(own), len(theirs)))
            ours_there = own[at] if at < len(own) else min(assistant.end_ids)
            if ours_there in said.logprobs[at]:
                near += 1
            else:
                apart.append(f"prompt {index}, token {at}: {theirs[at : at + 5]} not {own[at : at + 5]}")
        return cls(equal, near, tuple(apart))
