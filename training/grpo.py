"""Answers rewarded (GRPO, Shao et al. 2024) with TRL: several answers to each question, the better ones made likelier.

TRL knows pictures, not recordings. Its trainer carries one number a row where a picture's pixels would be, and the
model looks up the recordings of that number before it reads; what it took is in docs/training-preferences.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BatchFeature

from alm.assistant import Assistant
from alm.audio import load_audio
from alm.errors import ConfigError
from alm.messages import Encoded, from_row
from alm.modeling import AlmForConditionalGeneration, is_audio_input
from alm.processing import AlmProcessor
from data_prep.records import Record
from training.groups import evaluating, narrow_frozen, set_trainable
from training.post import Say, drawn, post_train, train, trl_options
from training.precision import as_kept, fastest
from training.rewards import askable, reward

NUMBER, NUMBERS = "images", "pixel_values"
"""Column of a row's number, and the name under which TRL hands it to the model: only what it takes for a picture stays
with its row on the way through TRL's batches."""


@dataclass(frozen=True)
class GrpoSettings:
    """How long, how many answers, and how strongly."""

    steps: int = 100
    questions: int = 4
    """Different questions a step."""
    answers: int = 8
    """Answers to each; their mean reward is what one of them is measured by."""
    lr: float = 1e-5
    temperature: float = 1.0
    max_new_tokens: int = 24
    train: tuple[str, ...] = ("lora",)
    precision: str = "auto"
    """`fp32`, `bf16` (frozen matrices of the language model are kept in it), or `auto`: what is faster here."""
    seed: int = 1


class NumberedProcessor(AlmProcessor):
    """What TRL may ask of a processor: the number of a row in place of its recordings."""

    def apply_chat_template(self, conversation: Any, *_: Any, **__: Any) -> Any:
        """The prompt as text; nobody reads it, since [`Rollout`] makes the prompts' ids."""
        return ""

    def __call__(self, images: Any = None, **_: Any) -> BatchFeature:  # type: ignore[override]
        """`pixel_values` `[rows, 1]`."""
        return BatchFeature({NUMBERS: torch.tensor([[int(number)] for (number,) in images])})


@dataclass(frozen=True)
class Questions:
    """The records that are asked, by number."""

    records: Sequence[Record]
    processor: AlmProcessor
    system: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """As TRL reads them. The words are in the record: TRL must not tokenise them."""
        ask = [{"role": "user", "content": "?"}]
        return [{"prompt": ask, NUMBER: [str(number)]} for number in range(len(self.records))]

    def encoded(self, number: int) -> Encoded:
        """The conversation up to the answer, with its recordings."""
        record = self.records[number]
        lead = [{"role": "system", "content": self.system}] if self.system else []
        turns = [{"role": m.role, "content": m.content} for m in record.messages[:-1]]
        return self.processor.encoder().encode(
            [*lead, *from_row(turns, [load_audio(Path(p)) for p in record.audios])], add_generation_prompt=True
        )

    def heard(self, model: AlmForConditionalGeneration, numbers: Sequence[int]) -> tuple[list[Encoded], Tensor]:
        """Prompts of the rows, and their audio tokens `[windows, tokens, dim]`.

        A question is opened and heard once, however many rows it has.
        """
        own = {n: self.encoded(n) for n in dict.fromkeys(numbers)}
        inputs = self.processor.collate(list(own.values()))
        audio = {k: v.to(model.device) for k, v in inputs.items() if is_audio_input(k, model.config)}
        places = [e.ids.count(model.config.audio_token_id) for e in own.values()]
        blocks = model.get_audio_features(**audio).split([p // model.config.tokens_per_window for p in places])
        by_number = dict(zip(own, blocks, strict=True))
        return [own[n] for n in numbers], torch.cat([by_number[n] for n in numbers])

    def rewards(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """TRL's reward function."""
        said = [c[0]["content"] for c in completions]
        return [reward(self.records[int(n)], s) for (n,), s in zip(columns[NUMBER], said, strict=True)]


@dataclass(frozen=True)
class Rollout:
    """TRL's `rollout_func`: sample an answer to each prompt by `generate`."""

    questions: Questions
    settings: GrpoSettings

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """`prompt_ids` and `completion_ids`, a list of ids a row; the scores are computed by TRL."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        tokenizer = self.questions.processor.tokenizer
        with evaluating(model), torch.no_grad(), as_kept(model):
            rows, tokens = self.questions.heard(model, [_number(p) for p in prompts])
            padded = tokenizer.pad({"input_ids": [e.ids for e in rows]}, padding_side="left", return_tensors="pt")
            said = model.generate(
                **padded.to(model.device), audio_embeds=tokens, do_sample=True,
                temperature=self.settings.temperature, top_k=0, top_p=1.0, repetition_penalty=1.0,
                max_new_tokens=self.settings.max_new_tokens,
            )  # fmt: skip
        ends = _ends(model)
        answers = [_until(row, ends) for row in said[:, padded["input_ids"].shape[1] :].tolist()]
        return {"prompt_ids": [e.ids for e in rows], "completion_ids": answers, "logprobs": None}


def _number(prompt: Sequence[Mapping[str, Any]]) -> int:
    return next(int(p["image"]) for m in prompt for p in m["content"] if p["type"] == "image")


def _ends(model: AlmForConditionalGeneration) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def _until(ids: Sequence[int], ends: set[int]) -> list[int]:
    """The answer with the token that ends it."""
    last = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
    return list(ids[: last + 1])


@dataclass(frozen=True)
class Hearing:
    """A hook before the model's forward pass: audio tokens for the numbers that TRL hands over."""

    questions: Questions

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        numbers = kwargs.pop(NUMBERS, None)
        if numbers is not None:
            assert isinstance(model, AlmForConditionalGeneration)
            _, kwargs["audio_embeds"] = self.questions.heard(model, [int(n) for n in numbers.flatten()])
        return args, kwargs


def grpo(
    model: AlmForConditionalGeneration,
    processor: AlmProcessor,
    records: Sequence[Record],
    settings: GrpoSettings,
    out: Path,
    system: str = "",
    say: Say = print,
) -> list[dict[str, Any]]:
    """Train the model in place; gives TRL's log. `out` is TRL's working folder.

    Raises:
        ConfigError: no training record has an answer that can be checked.
    """
    records = askable(records)
    if not records:
        raise ConfigError("no record can be checked: give training records with options, whole numbers, or yes and no")
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    questions = Questions(records, processor, system)
    set_trainable(model, settings.train)
    half = (fastest() if settings.precision == "auto" else settings.precision) == "bf16"
    if half:
        narrow_frozen(model)
    numbered = NumberedProcessor(
        processor.feature_extractor, processor.tokenizer, processor.chat_template, processor.audio_token
    )
    model.config.image_token_id = model.config.audio_token_id  # TRL asks for it, so as never to sample it
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=questions.rewards,
        args=GRPOConfig(
            **trl_options(out, settings.steps, settings.lr, settings.seed), bf16=half,
            per_device_train_batch_size=settings.answers, gradient_accumulation_steps=settings.questions,
            num_generations=settings.answers, temperature=settings.temperature,
            max_completion_length=settings.max_new_tokens, beta=0.0,
        ),
        train_dataset=Dataset.from_list(questions.rows()),
        processing_class=numbered,
        rollout_func=Rollout(questions, settings),
    )  # fmt: skip
    del model.config.image_token_id
    hook = model.register_forward_pre_hook(Hearing(questions), with_kwargs=True)
    told = {"reward": "mean reward", "frac_reward_zero_std": "questions that teach nothing"}
    try:
        return train(trainer, model, say, told)
    finally:
        hook.remove()


def grpo_adapter(
    adapter: Path,
    records: Sequence[Record],
    settings: GrpoSettings,
    out: Path,
    parts: Mapping[str, str | Path] | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Go on from an adapter of the preset it was trained with, and write another; gives the last line of the log.

    Of more records (as `askable` gives them) than the steps take, some are drawn; `trained_on.txt` lists the recordings
    of those.
    """
    asked = drawn(records, settings.steps * settings.questions, "questions", settings.seed)

    def run(assistant: Assistant) -> list[dict[str, Any]]:
        system = assistant.preset_config.system
        return grpo(assistant.model, assistant.processor, asked, settings, out / "trl", system, say)

    return post_train(adapter, out, (a for r in asked for a in r.audios), run, settings, "grpo", "reward", parts)
