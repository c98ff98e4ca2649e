"""A judge from any folder with a transformers language model, read from this machine alone.

What is asked is text of others: it is encoded without control tokens, and only the chat template's own text has them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm.errors import AlmError, ConfigError
from eval.harness.answers import Answered

if TYPE_CHECKING:
    from eval.harness.asking import Asked

_PLACE = "\uf8ff"
"""Stands for the question while the template is rendered; the question itself never meets the template."""
MOST_TOKENS = 8192
"""Of a question; a judge's own context may be shorter."""


class FolderJudgeError(AlmError):
    """The judge's model cannot be used."""


@dataclass
class FolderJudge:
    """Satisfies `eval.harness.models.Model`, for questions in writing; one question at a time, so that none changes
    another's answer."""

    folder: Path
    device: str = "cpu"
    max_audio_seconds: float = 0.0
    name: str = field(init=False)
    identity: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        from eval.results import folder_hash

        if not (self.folder / "config.json").is_file():
            raise ConfigError(f"--judge {self.folder}: no config.json; give a transformers language model")
        self.name = self.folder.resolve().name
        self.identity = {"judge": self.name, "sha256": folder_hash(self.folder)}

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        local = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(self.folder, **local)
        if not tokenizer.chat_template:
            raise FolderJudgeError(f"{self.folder}: no chat template; give an instruction-tuned model")
        model = AutoModelForCausalLM.from_pretrained(self.folder, use_safetensors=True, dtype="float32", **local)
        return tokenizer, model.to(self.device).eval()

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        for one in asked:
            yield self._answered(one)

    def _answered(self, one: Asked) -> Answered:
        started = time.monotonic()
        question = "\n".join(str(m["content"]) for m in one.messages)
        ids = self.ids_of(question)
        limit = min(MOST_TOKENS, int(getattr(self._parts[1].config, "max_position_embeddings", MOST_TOKENS)))
        if len(ids) + one.max_tokens > limit:
            error = f"the question has {len(ids)} tokens; {limit - one.max_tokens} fit the judge"
            return Answered(**one.about(), error=error)
        text, finish = self._said(ids, one.max_tokens, one.temperature, one.seed)
        return Answered(**one.about(), text=text, finish=finish, seconds=round(time.monotonic() - started, 3))

    def ids_of(self, question: str) -> list[int]:
        """The template with the question in its place, which no control token of the question survives."""
        tokenizer, _ = self._parts
        shown = tokenizer.apply_chat_template(
            [{"role": "user", "content": _PLACE}], tokenize=False, add_generation_prompt=True
        )
        before, _, after = shown.partition(_PLACE)
        inner = tokenizer(question, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        ends = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, after)]
        return [*ends[0], *inner, *ends[1]]

    def _said(self, ids: list[int], most: int, temperature: float, seed: int) -> tuple[str, str]:
        import torch

        tokenizer, model = self._parts
        torch.manual_seed(seed)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        prompt = torch.tensor([ids], device=self.device)
        with torch.inference_mode():
            made = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=most,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
                **sampling,
            )
        new = made[0, len(ids) :].tolist()
        return tokenizer.decode(new, skip_special_tokens=True).strip(), "length" if len(new) >= most else "stop"

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        """
        Raises:
            FolderJudgeError: always; a judge is asked in words.
        """
        raise FolderJudgeError("a judge from a folder gives no log-likelihoods")

    def close(self) -> None:
        self.__dict__.pop("_parts", None)
