"""Many answers at once: requests join and leave a running batch between any two tokens (continuous batching).

Each request's prompt is read alone, as far as the keys and values of earlier prompts do not serve it; then it decodes
in step with all others. Rows with and without recordings step apart, since LoRA may differ (`lora_on_text_only`).
Greedy answers equal those of a [`Conversation`], whatever else is in the batch, but for rounding.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import logits_process

from alm.errors import ConfigError
from alm.fusion import FusionCache
from alm.fusion.cache_rows import joined, row_of, size_of
from alm.messages import Encoded
from alm.prefix import position_keys, shared_length

if TYPE_CHECKING:
    from alm.assistant import Assistant

PROCESSORS = {
    "repetition_penalty": logits_process.RepetitionPenaltyLogitsProcessor,
    "no_repeat_ngram_size": logits_process.NoRepeatNGramLogitsProcessor,
    "top_k": logits_process.TopKLogitsWarper,
    "top_p": logits_process.TopPLogitsWarper,
    "min_p": logits_process.MinPLogitsWarper,
}
"""Generation settings that a batch can have, row by row."""


@dataclass(frozen=True)
class Sampling:
    """How one answer is made."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further generation settings, of [`PROCESSORS`] and `suppress_tokens`."""


@dataclass(eq=False)
class Request:
    """One question on its way to an answer."""

    prompt: Encoded
    sampling: Sampling = field(default_factory=Sampling)
    new_ids: list[int] = field(default_factory=list)
    """Without the token that ends the answer."""
    finish: str = ""
    """`stop`, `length` or `cancelled` once it is done."""
    reused_tokens: int = 0
    """Prompt tokens whose keys and values were there from earlier prompts."""
    first_token_seconds: float = 0.0
    """From the reading of the prompt to the first token."""
    error: Exception | None = None
    """Why the prompt could not be read; [`answer_all`] goes on without the request."""
    cancelled: bool = False
    """Set by whoever no longer wants the answer; the row leaves before the next token."""

    @property
    def audio(self) -> bool:
        return bool(self.prompt.recordings)


class PrefixCache:
    """Keys and values of the last prompts and answers: a later turn or another question reads only what is new."""

    def __init__(self, config: Any, most_bytes: int) -> None:
        self._config, self._most = config, most_bytes
        self._held: OrderedDict[tuple[int, ...], FusionCache] = OrderedDict()

    def find(self, keys: Sequence[int], ids: Sequence[int]) -> tuple[FusionCache, int]:
        """A cache to go on from, and how many positions of the prompt it holds; the kept one stays whole."""
        best, longest = None, 0
        for known in self._held:
            if (shared := shared_length(keys, known, ids, self._config)) > longest:
                best, longest = known, shared
        if best is None:
            return FusionCache(), 0
        self._held.move_to_end(best)
        cache = self._held[best].copied()
        cache.crop(longest - cache.positions)
        return cache, longest

    def keep(self, keys: Sequence[int], cache: FusionCache) -> None:
        """Remember a single row's cache; the ones that were not used for longest make room."""
        known = tuple(keys[: cache.positions])
        for old in [k for k in self._held if k == known[: len(k)]]:
            del self._held[old]
        self._held[known] = cache
        while len(self._held) > 1 and sum(map(size_of, self._held.values())) > self._most:
            self._held.popitem(last=False)


class _Rows:
    """Requests that decode together."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.cache = FusionCache()
        self.mask = torch.ones(0, 0, dtype=torch.long)
        self.last = torch.ones(0, dtype=torch.long)

    def add(self, request: Request, cache: FusionCache, token: int) -> None:
        alone = torch.ones(1, cache.positions, dtype=torch.long)
        self.mask = _padded(self.mask, alone) if self.requests else alone
        self.cache = joined([self.cache, cache]) if self.requests else cache
        self.last = torch.cat([self.last, torch.tensor([token])])
        self.requests.append(request)

    def only(self, rows: list[int]) -> _Rows:
        """Without the others, and without the columns that were theirs alone."""
        kept = _Rows()
        if rows:
            kept.requests = [self.requests[r] for r in rows]
            kept.last, mask = self.last[rows], self.mask[rows]
            kept.mask = mask[:, int(mask.any(0).int().argmax()) :]
            kept.cache = joined([row_of(self.cache, r) for r in rows])
        return kept


def _padded(mask: Tensor, other: Tensor) -> Tensor:
    longest = max(mask.shape[1], other.shape[1])
    return torch.cat([torch.nn.functional.pad(m, (longest - m.shape[1], 0)) for m in (mask, other)])


class BatchDecoder:
    """A running batch of one assistant; for one thread."""

    def __init__(self, assistant: Assistant, prefix_bytes: int = 512 * 2**20) -> None:
        self.assistant = assistant
        self.prefixes = PrefixCache(assistant.model.config, prefix_bytes)
        self._rows = {True: _Rows(), False: _Rows()}
        self._processors: dict[Request, LogitsProcessorList] = {}
        self._generators: dict[Request, torch.Generator] = {}

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return sum(len(rows.requests) for rows in self._rows.values())

    @torch.no_grad()
    def add(self, request: Request) -> None:
        """Read the prompt and make the first token.

        Raises:
            ConfigError: a generation setting that a batch cannot have.
        """
        model, config, started = self.assistant.model, self.assistant.model.config, time.perf_counter()
        processors = self._made_processors(request.sampling)
        ids, keys = request.prompt.ids, position_keys(request.prompt, config)
        cache, request.reused_tokens = self.prefixes.find(keys, ids)
        audio = self.assistant.audio_tokens(request.prompt, request.reused_tokens)
        given = {} if audio is None else {"audio_embeds": audio}
        with self.assistant.lock, model.lora_for(request.audio):
            out = model(
                torch.tensor([ids[request.reused_tokens :]], device=model.device),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=model.device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                **given,
            )
        self.prefixes.keep(keys, cache.copied())
        self._processors[request] = processors
        self._generators[request] = torch.Generator().manual_seed(request.sampling.seed)
        token = self._next(request, out.logits[0, -1])
        request.first_token_seconds = time.perf_counter() - started
        if self._said(request, token):
            self._forget(request)
        else:
            self._rows[request.audio].add(request, cache, token)

    def clear(self) -> None:
        """Let all requests go unfinished; what was read of earlier prompts is kept."""
        self._rows = {True: _Rows(), False: _Rows()}
        self._processors.clear()
        self._generators.clear()

    @torch.no_grad()
    def step(self) -> list[Request]:
        """One more token for every request; gives those that are done now."""
        done: list[Request] = []
        for audio in self._rows:
            gone = [r for r in self._rows[audio].requests if r.cancelled]
            for request in gone:
                request.finish = "cancelled"
            done += self._leave(audio, gone)
            if self._rows[audio].requests:
                done += self._step(audio)
        return done

    def _step(self, audio: bool) -> list[Request]:
        model, rows = self.assistant.model, self._rows[audio]
        rows.mask = torch.nn.functional.pad(rows.mask, (0, 1), value=1)
        with self.assistant.lock, model.lora_for(audio):
            logits = model(
                rows.last[:, None].to(model.device),
                attention_mask=rows.mask.to(model.device),
                position_ids=rows.mask.sum(1, keepdim=True).to(model.device) - 1,
                past_key_values=rows.cache,
                use_cache=True,
            ).logits[:, -1]
        tokens = [self._next(request, own) for request, own in zip(rows.requests, logits, strict=True)]
        rows.last = torch.tensor(tokens)
        ended = [r for r, token in zip(rows.requests, tokens, strict=True) if self._said(r, token)]
        return self._leave(audio, ended)

    def _leave(self, audio: bool, gone: list[Request]) -> list[Request]:
        """Take requests out; keys and values of what was said serve the next turn."""
        rows = self._rows[audio]
        for index, request in enumerate(rows.requests):
            if request in gone:
                keys = position_keys(request.prompt, self.assistant.model.config) + request.new_ids
                own = row_of(rows.cache, index)
                own.crop(min(0, len(keys) - own.positions))
                self.prefixes.keep(keys, own)
                self._forget(request)
        if gone:
            self._rows[audio] = rows.only([i for i, r in enumerate(rows.requests) if r not in gone])
        return gone

    def _forget(self, request: Request) -> None:
        del self._processors[request], self._generators[request]

    def _said(self, request: Request, token: int) -> bool:
        """Note a token; whether it was the last one."""
        if token in self.assistant.end_ids:
            request.finish = "stop"
        else:
            request.new_ids.append(token)
            if len(request.new_ids) >= request.sampling.max_new_tokens:
                request.finish = "length"
        return bool(request.finish)

    def _next(self, request: Request, logits: Tensor) -> int:
        scores = logits.float()[None].cpu()
        scores[:, self._never(request.sampling)] = -torch.inf
        if processors := self._processors[request]:
            seen = torch.tensor([[*request.prompt.ids, *request.new_ids]])
            scores = processors(seen, scores)
        if request.sampling.temperature <= 0:
            return int(scores.argmax())
        chances = torch.softmax(scores[0] / request.sampling.temperature, -1)
        return int(torch.multinomial(chances, 1, generator=self._generators[request]))

    def _never(self, sampling: Sampling) -> list[int]:
        """An answer holds no recording."""
        given = self._settings(sampling).get("suppress_tokens") or ()
        return [self.assistant.model.config.audio_token_id, *given]

    def _settings(self, sampling: Sampling) -> dict[str, Any]:
        return {**self.assistant.preset_config.generation, **sampling.settings}

    def _made_processors(self, sampling: Sampling) -> LogitsProcessorList:
        settings = {k: v for k, v in self._settings(sampling).items() if k != "suppress_tokens" and v is not None}
        if unknown := sorted(set(settings) - set(PROCESSORS)):
            known = ", ".join([*PROCESSORS, "suppress_tokens"])
            raise ConfigError(f"a batch cannot be generated with {unknown[0]!r}; it can with {known}")
        return LogitsProcessorList([PROCESSORS[name](value) for name, value in settings.items()])


def answer_all(decoder: BatchDecoder, requests: Iterable[Request], at_once: int) -> Iterator[Request]:
    """Answer every request, at most `at_once` in step; gives each when it is done.

    The next request is taken when a place is free: an iterator that listens to recordings does so then, not before.
    """
    waiting = iter(requests)
    more = True
    while more or decoder.running:
        while more and decoder.running < at_once:
            request = next(waiting, None)
            if request is None:
                more = False
                break
            try:
                decoder.add(request)
            except Exception as error:  # one request must not take the others with it
                request.error = error
            if request.finish or request.error:
                yield request
        yield from decoder.step()
