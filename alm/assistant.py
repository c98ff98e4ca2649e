"""The assistant: a loaded model with its processor, ears and limits, from which conversations start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alm.asked import Asked, Scores, with_asked
from alm.conversation import Conversation, Recording
from alm.evidence import Evidence
from alm.hearing import Ears
from alm.long_audio import Sound, open_audio
from alm.mentions import Vocabulary
from alm.messages import Encoded, from_row
from alm.modeling import AlmForConditionalGeneration
from alm.presets import Preset
from alm.processing import AlmProcessor


@dataclass
class Assistant:
    """Everything that conversations share. One answer is generated at a time (`lock`)."""

    model: AlmForConditionalGeneration
    processor: AlmProcessor
    ears: Ears
    preset_config: Preset
    use_evidence: bool
    adapter: Path | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def preset(self) -> str:
        return self.preset_config.name

    @property
    def end_ids(self) -> set[int]:
        """Tokens that end an answer."""
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list | tuple) else {int(ends)}

    def conversation(self, system: str | None = None, evidence: bool | None = None) -> Conversation:
        """A new conversation; `system` replaces the preset's system prompt, which stands only over recordings."""
        return Conversation(self, system, self.use_evidence if evidence is None else evidence)

    def encode(self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = True) -> Encoded:
        """Token ids, answer marks and recordings of messages (see [`MessageEncoder.encode`])."""
        return self.processor.encoder().encode(list(messages), add_generation_prompt)

    def audio_tokens(self, prompt: Encoded, known: int = 0) -> Tensor | None:
        """Audio tokens `[windows, tokens_per_window, dim]` of the recordings behind the first `known` positions."""
        config = self.model.config
        parts: list[Tensor] = []
        wanted = prompt.ids[known:].count(config.audio_token_id) // max(1, config.tokens_per_window)
        for recording in reversed(prompt.recordings):
            if wanted <= 0:
                break
            parts.insert(0, self.ears.hear(recording).tokens)
            wanted -= len(parts[0])
        return torch.cat(parts) if parts else None

    def analyse(self, recording: Recording) -> Evidence:
        """What is heard without asking the language model: events with times, transcript."""
        return self.ears.evidence(open_audio(recording))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """How questions may name the classes of the tag head."""
        return Vocabulary(self.model.config.tag_words or {})

    def with_asked(
        self,
        message: dict[str, Any],
        earlier: Sequence[dict[str, Any]],
        scores_of: Callable[[Any], Scores | None] | None = None,
    ) -> tuple[dict[str, Any], tuple[Asked, ...]]:
        """A user message with what was heard of the sounds that it names, as text behind it and as data.

        Args:
            message: with content parts, recordings opened.
            earlier: the messages before.
            scores_of: the tag head's logits of a recording; those of `ears` if None.
        """
        given = scores_of or (lambda recording: self.ears.hear(recording).scores)
        config = self.model.config
        return with_asked(
            message, earlier, self.vocabulary, config.tag_labels or [], given, config.tell_likeliest
        )

    @torch.no_grad()
    def score(
        self, messages: Sequence[dict[str, Any]], audios: Sequence[Recording], candidates: Sequence[str]
    ) -> list[float]:
        """Log-likelihood of each candidate as the assistant's next message.

        Args:
            messages: row messages, `<audio>` marking each of `audios`; or messages with content parts.
            candidates: answers to compare.
        """
        opened = [open_audio(a) for a in audios]
        parts = from_row(messages, opened)
        return [self._score_one(parts, opened, c) for c in candidates]

    def _score_one(self, parts: list[dict[str, Any]], recordings: list[Sound], candidate: str) -> float:
        encoded = self.encode([*parts, {"role": "assistant", "content": candidate}], add_generation_prompt=False)
        last = len(encoded.ids) - encoded.answer[::-1].index(True)
        first = last - encoded.answer[:last][::-1].index(False) if False in encoded.answer[:last] else 0
        ids = torch.tensor([encoded.ids[:last]], device=self.model.device)
        heard = [self.ears.hear(r).tokens for r in encoded.recordings]
        audio = {"audio_embeds": torch.cat(heard)} if heard else {}
        with self.lock, self.model.lora_for(bool(heard)):
            logits = self.model(input_ids=ids, logits_to_keep=last - first + 1, **audio).logits[0, :-1]
        chosen = torch.log_softmax(logits.float(), -1).gather(1, ids[0, first:last, None])
        return float(chosen.sum())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a plain transformers checkpoint (LoRA merged) with its processor, for `from_pretrained`."""
        from alm.adapters import merged

        merged(self.model).save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def info(self) -> dict[str, Any]:
        """Preset, sizes and limits, as `alm info` prints them."""
        config = self.model.config
        return {
            "preset": self.preset,
            "adapter": str(self.adapter) if self.adapter else None,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "fusion": [asdict(b.fusion) for b in config.branch_configs],
            "tokens_per_window": config.tokens_per_window,
            "window_seconds": config.window_seconds,
            "limits": {
                "max_audio_seconds": config.max_audio_seconds,
                "max_recordings": self.preset_config.max_recordings,
                "context_tokens": self.preset_config.context_tokens,
            },
            "tags": len(config.tag_labels or []),
        }
