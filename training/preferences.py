"""Preference tuning (DPO, Rafailov et al. 2023) with TRL: right answers over wrong ones where that can be checked.

The wrong answer is another option of the question, or the other of yes and no. TRL knows pictures, not recordings; what
it took is in docs/training-preferences.md.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from alm.assistant import Assistant
from alm.audio import load_audio
from alm.errors import ConfigError
from alm.messages import from_row
from alm.modeling import AlmForConditionalGeneration
from alm.processing import AlmProcessor
from data_prep.records import Record
from training.groups import set_trainable
from training.objective import rng_for
from training.post import Say, drawn, post_train, train, trl_options

YES_NO = {"Yes.": "No.", "No.": "Yes."}
RECORDINGS = "images"
"""Column of the recordings' paths: TRL leaves the preparation of rows that have it to the collator."""


@dataclass(frozen=True)
class Preference:
    """A question with a right and a wrong answer."""

    messages: tuple[dict[str, str], ...]
    """The conversation up to the answer."""
    audios: tuple[str, ...]
    chosen: str
    rejected: str

    def row(self) -> dict[str, Any]:
        """As TRL reads it."""
        chosen, rejected = ([{"role": "assistant", "content": c}] for c in (self.chosen, self.rejected))
        return {
            "prompt": list(self.messages), "chosen": chosen, "rejected": rejected, RECORDINGS: list(self.audios)
        }  # fmt: skip


@dataclass(frozen=True)
class PreferSettings:
    """How long and how strongly."""

    steps: int = 100
    batch_size: int = 8
    lr: float = 2e-5
    beta: float = 0.1
    """How dear it is to leave the answers that the model began with."""
    train: tuple[str, ...] = ("lora",)
    seed: int = 1


def preferences(records: Iterable[Record], split: str = "train", seed: int = 1) -> list[Preference]:
    """Pairs of the records whose wrong answer can be made without a doubt; the others are left out."""
    found = []
    for record in records:
        wrong = wrong_answer(record, seed) if record.split == split else None
        if wrong is not None:
            messages = tuple({"role": m.role, "content": m.content} for m in record.messages)
            found.append(Preference(messages[:-1], record.audios, messages[-1]["content"], wrong))
    return found


def wrong_answer(record: Record, seed: int) -> str | None:
    """The answer with another option in place of the right one; the other of a bare yes or no; None for the rest."""
    said, right = record.messages[-1].content, record.meta.get("answer")
    if said in YES_NO:
        return YES_NO[said]
    others = [o for o in record.meta.get("options") or () if o != right]
    if not isinstance(right, str) or not others:
        return None
    place = re.search(rf"\b{re.escape(right)}(?!\w)", said, re.IGNORECASE)
    if place is None:
        return None
    other = str(rng_for("wrong", seed, record.id).choice(others))
    upper = place.start() == 0 and said[0].isupper()
    return said[: place.start()] + (other[0].upper() + other[1:] if upper else other) + said[place.end() :]


@dataclass(frozen=True)
class PairCollator:
    """Rows to model inputs: first all right answers, then all wrong ones, as TRL's loss wants them."""

    processor: AlmProcessor
    system: str = ""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        encoder = self.processor.encoder()
        lead = [{"role": "system", "content": self.system}] if self.system else []
        heard = [[load_audio(Path(p)) for p in row[RECORDINGS]] for row in rows]
        encoded = [
            encoder.encode([*lead, *from_row([*row["prompt"], *row[side]], own)], add_generation_prompt=False)
            for side in ("chosen", "rejected")
            for row, own in zip(rows, heard, strict=True)
        ]
        inputs: dict[str, Tensor] = dict(self.processor.collate(encoded, return_labels=True, padding_side="right"))
        # An earlier answer of the conversation is the same on both sides and falls out of the loss.
        inputs["completion_mask"] = (inputs.pop("labels") != -100).long()
        return inputs


def prefer(
    model: AlmForConditionalGeneration,
    processor: AlmProcessor,
    pairs: Sequence[Preference],
    settings: PreferSettings,
    out: Path,
    system: str = "",
    say: Say = print,
) -> list[dict[str, Any]]:
    """Train the model in place against a frozen copy of itself; gives TRL's log. `out` is TRL's working folder.

    Raises:
        ConfigError: there are no pairs.
    """
    if not pairs:
        raise ConfigError("no record has a wrong answer: give records with options, or answered by a bare yes or no")
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    set_trainable(model, settings.train)
    trainer = DPOTrainer(
        model=model,
        ref_model=copy.deepcopy(model).requires_grad_(False),  # LoRA is part of what it began with
        args=DPOConfig(
            **trl_options(out, settings.steps, settings.lr, settings.seed), bf16=False, max_length=None,
            per_device_train_batch_size=settings.batch_size, beta=settings.beta, remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list([p.row() for p in pairs]),
        processing_class=processor,
        data_collator=PairCollator(processor, system),
    )  # fmt: skip
    told = {"loss": "loss", "rewards/accuracies": "right over wrong", "rewards/margins": "margin"}
    return train(trainer, model, say, told)


def prefer_adapter(
    adapter: Path,
    pairs: Sequence[Preference],
    settings: PreferSettings,
    out: Path,
    parts: Mapping[str, str | Path] | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Go on from an adapter of the preset it was trained with, and write another; gives the last line of the log.

    Of more pairs than the steps take, some are drawn; `trained_on.txt` lists the recordings of those.
    """
    pairs = drawn(pairs, settings.steps * settings.batch_size, "pairs", settings.seed)

    def run(assistant: Assistant) -> list[dict[str, Any]]:
        system = assistant.preset_config.system
        return prefer(assistant.model, assistant.processor, pairs, settings, out / "trl", system, say)

    heard = (a for p in pairs for a in p.audios)
    return post_train(adapter, out, heard, run, settings, "preferences", "rewards/accuracies", parts)
