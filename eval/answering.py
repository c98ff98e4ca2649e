"""Asking the model many questions at once: log-likelihoods of given answers and free answers, in batches.

A prompt is read once; the candidates of one question continue from copies of its keys and values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alm.assistant import Assistant
from alm.evidence import evidence_text
from alm.fusion import FusionCache
from eval.listening import Advance, HeardClip, Listener, Sound, quiet

BATCH_PROMPTS = 16
CANDIDATES_AT_ONCE = 64


@dataclass(frozen=True)
class Prompt:
    """A question as the model reads it."""

    ids: tuple[int, ...]
    tokens: Tensor | None
    """[windows, tokens_per_window, dim]; None without a recording."""

    @property
    def audio(self) -> bool:
        return self.tokens is not None


@dataclass(frozen=True)
class Question:
    """What a user asks about recordings; recordings come first, as in a conversation."""

    text: str
    sounds: tuple[Sound, ...] = ()


class PromptReader:
    """Reads prompts of one assistant in batches: what given answers are worth, and what it says itself."""

    def __init__(
        self, assistant: Assistant, batch: int = BATCH_PROMPTS, candidates_at_once: int = CANDIDATES_AT_ONCE
    ) -> None:
        self.assistant, self.batch, self.candidates_at_once = assistant, batch, candidates_at_once

    def candidate(self, text: str, closed: bool = True) -> list[int]:
        """Ids of an answer, with its end token when `closed`."""
        ids = self.assistant.processor.encoder().text_ids(text)
        return [*ids, int(self.assistant.processor.tokenizer.eos_token_id)] if closed else ids

    @torch.no_grad()
    def loglik(
        self,
        prompts: Sequence[Prompt],
        candidates: Sequence[Sequence[str]],
        closed: bool = True,
        advance: Advance = quiet,
    ) -> list[list[tuple[float, int]]]:
        """Log-likelihood and number of tokens of each candidate of each prompt.

        Args:
            closed: candidates are whole answers, so their end token counts; else beginnings of answers.
        """
        found: dict[int, list[tuple[float, int]]] = {}
        for rows in self._batches(prompts):
            ids = [[self.candidate(c, closed) for c in candidates[r]] for r in rows]
            found.update(zip(rows, self._score([prompts[r] for r in rows], ids), strict=True))
            advance(len(rows))
        return [found[i] for i in range(len(prompts))]

    def _batches(self, prompts: Sequence[Prompt]) -> Iterator[list[int]]:
        """Prompts with and without audio apart (LoRA may differ), each in order of length."""
        for audio in (True, False):
            rows = sorted((i for i, p in enumerate(prompts) if p.audio == audio), key=lambda i: len(prompts[i].ids))
            for first in range(0, len(rows), self.batch):
                yield rows[first : first + self.batch]

    def _score(self, prompts: list[Prompt], ids: list[list[list[int]]]) -> list[list[tuple[float, int]]]:
        """Prompts are read once; candidates of like length go on from copies, so many at once."""
        model, cache = self.assistant.model, FusionCache()
        flat = [(len(c), row, place) for row, own in enumerate(ids) for place, c in enumerate(own)]
        sums: dict[tuple[int, int], float] = {}
        batch, mask = self._padded([list(p.ids) for p in prompts], left=True)
        with self.assistant.lock, model.lora_for(prompts[0].audio):
            out = model(
                batch,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                **_audio(prompts, model.device),
            )
            for some in _split(sorted(flat), self.candidates_at_once):
                owner = torch.tensor([row for _, row, _ in some], device=model.device)
                found = self._continued(cache, mask, out.logits, owner, [ids[row][place] for _, row, place in some])
                sums.update(zip([(row, place) for _, row, place in some], found, strict=True))
        return [[(sums[row, place], len(c)) for place, c in enumerate(own)] for row, own in enumerate(ids)]

    def _continued(
        self, cache: FusionCache, mask: Tensor, last: Tensor, owner: Tensor, candidates: list[list[int]]
    ) -> list[float]:
        """Log-likelihoods of candidates after what was read; `last` [prompts, 1, vocabulary] are its last logits."""
        own = copy.deepcopy(cache)
        own.batch_select_indices(owner)
        continued, real = self._padded(candidates, left=False)
        both = torch.cat([mask[owner], real], dim=1)
        after = self.assistant.model(continued, attention_mask=both, past_key_values=own, use_cache=True).logits
        logits = torch.cat([last[owner], after[:, :-1]], dim=1).float()
        chosen = torch.log_softmax(logits, -1).gather(2, continued[..., None])[..., 0] * real
        return [float(value) for value in chosen.sum(1)]

    def _padded(self, rows: list[list[int]], left: bool) -> tuple[Tensor, Tensor]:
        longest = max(map(len, rows))
        filler = self.assistant.processor.tokenizer.pad_token_id
        filler = int(self.assistant.processor.tokenizer.eos_token_id if filler is None else filler)
        batch = torch.full((len(rows), longest), filler)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for index, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(0, len(row))
            batch[index, place] = torch.tensor(row)
            mask[index, place] = 1
        return batch.to(self.assistant.model.device), mask.to(self.assistant.model.device)

    @torch.no_grad()
    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int = 32, advance: Advance = quiet) -> list[str]:
        """Greedy answers with the preset's own generation settings."""
        found: dict[int, str] = {}
        for rows in self._batches(prompts):
            answers = self._generate([prompts[r] for r in rows], max_new_tokens)
            found.update(zip(rows, answers, strict=True))
            advance(len(rows))
        return [found[i] for i in range(len(prompts))]

    def _generate(self, prompts: list[Prompt], max_new_tokens: int) -> list[str]:
        batch, mask = self._padded([list(p.ids) for p in prompts], left=True)
        settings = {**self.assistant.preset_config.generation, "do_sample": False}
        with self.assistant.lock:
            out = self.assistant.model.generate(
                batch,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                **settings,
                **_audio(prompts, batch.device),
            )
        made = self.assistant.processor.tokenizer.batch_decode(out[:, batch.shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in made]


class Answerer(PromptReader):
    """Asks one assistant, with or without evidence."""

    def __init__(self, assistant: Assistant, listener: Listener, batch: int = BATCH_PROMPTS) -> None:
        super().__init__(assistant, batch)
        self.listener = listener
        self.heard: dict[Sound, HeardClip] = {}

    def listen(self, questions: Sequence[Question], advance: Advance = quiet) -> None:
        """Hear every recording that is not known yet."""
        wanted = [s for q in questions for s in q.sounds if s not in self.heard]
        self.heard.update(self.listener.hear(wanted, advance))

    def prompt(self, question: Question, evidence: bool = False, given: str | None = None) -> Prompt:
        """The prompt of a question, made as `Conversation` makes it once there is a recording.

        Args:
            evidence: whether tags and transcript are added as text.
            given: text to add instead of the evidence of the recording; sounds that the question names are then
                told of if `evidence`.
        """
        system = self.assistant.preset_config.system
        head = [{"role": "system", "content": system}] if system else []
        parts: list[dict[str, Any]] = [self._audio_part(s, evidence, given) for s in question.sounds]
        message = {"role": "user", "content": [*parts, {"type": "text", "text": question.text}]}
        if evidence:
            scores = {id(p["audio"]): self.heard[s].scores for p, s in zip(parts, question.sounds, strict=True)}
            message, _ = self.assistant.with_asked(message, [], lambda audio: scores[id(audio)])
        encoded = self.assistant.encode([*head, message])
        tokens = [self.heard[s].tokens for s in question.sounds]
        return Prompt(tuple(encoded.ids), torch.cat(tokens) if tokens else None)

    def _audio_part(self, sound: Sound, evidence: bool, given: str | None) -> dict[str, Any]:
        text = given or ""
        if evidence and given is None:
            phrases = self.assistant.model.config.tag_phrases
            text = evidence_text(self.heard[sound].sounds, self.listener.transcript(sound), phrases)
        return {"type": "audio", "audio": sound.open(), "evidence": text}


def _split(found: list[tuple[int, int, int]], most: int) -> Iterator[list[tuple[int, int, int]]]:
    yield from (found[first : first + most] for first in range(0, len(found), most))


def _audio(prompts: list[Prompt], device: torch.device) -> dict[str, Tensor]:
    tokens = [p.tokens for p in prompts if p.tokens is not None]
    return {"audio_embeds": torch.cat(tokens).to(device)} if tokens else {}
