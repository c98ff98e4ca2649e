"""Many answers at once: requests join and leave a running batch between any two tokens (continuous batching).

Prompts are read several in one pass (`alm.reading`), as far as the keys and values of earlier prompts do not serve
them; then they decode in step. Rows with and without recordings step apart, since LoRA may differ
(`lora_on_text_only`). Greedy answers equal those of a [`Conversation`], whatever else is in the batch, but for
rounding.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import logits_process

from alm.errors import ConfigError
from alm.fusion import FusionCache
from alm.fusion.cache_rows import joined, row_of, rows_of, stacked
from alm.messages import Encoded
from alm.prefix import position_keys, shared_length
from alm.prefix_cache import PrefixCache
from alm.reading import PASS_TOKENS, Pass, Unread, passes

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
    audio_tokens: Tensor | None = None
    """Of all recordings, `[windows, tokens_per_window, dim]`; the batch hears them itself if None."""
    new_ids: list[int] = field(default_factory=list)
    """Without the token that ends the answer."""
    finish: str = ""
    """`stop`, `length` or `cancelled` once it is done."""
    reused_tokens: int = 0
    """Prompt tokens whose keys and values were there from earlier prompts."""
    first_token_seconds: float = 0.0
    """From the reading of the prompt to the first token."""
    error: Exception | None = None
    """Why it cannot be answered."""
    cancelled: bool = False
    """Set by whoever no longer wants the answer; the row leaves before the next token."""

    @property
    def audio(self) -> bool:
        return bool(self.prompt.recordings)


@dataclass
class _Reading:
    """A request whose prompt is being read."""

    request: Request
    keys: list[int]
    prompt: Unread


class _Rows:
    """Requests that decode together. A row whose request is done stays, unheeded, until enough others are done too."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.rows: list[Request | None] = []
        self.cache = FusionCache()
        self.mask = torch.ones(0, 0, dtype=torch.long)
        self.last = torch.ones(0, dtype=torch.long)

    @property
    def requests(self) -> list[Request]:
        return [r for r in self.rows if r is not None]

    def add(self, requests: Sequence[Request], read: Pass, tokens: Sequence[int]) -> None:
        """Let the rows of a pass join, those that are done with their first token as well."""
        self.tidy(most_done=0)
        self.cache = joined([self.cache, read.cache]) if self.rows else read.cache
        self.mask = stacked([self.mask, read.mask], 1) if self.rows else read.mask
        self.last = torch.cat([self.last, torch.tensor(tokens)])
        self.rows += [None if r.finish else r for r in requests]

    def done(self, request: Request) -> None:
        self.rows[self.rows.index(request)] = None

    def tidy(self, most_done: float = 0.25) -> None:
        """Without the rows that are done, if they are more than such a share: each time the cache is copied."""
        left = [i for i, r in enumerate(self.rows) if r is not None]
        if len(left) == len(self.rows) or (left and len(self.rows) - len(left) <= most_done * len(self.rows)):
            return
        if not left:
            self.clear()
            return
        self.cache = rows_of(self.cache, left, self.mask)
        mask = self.mask[left]
        self.mask, self.last = mask[:, -self.cache.positions :], self.last[left]
        self.rows = [self.rows[i] for i in left]


class BatchDecoder:
    """A running batch of one assistant; for one thread, but several may share the assistant and the prefixes.

    Args:
        prefixes: keys and values of earlier prompts.
        remember_answers: keep those of answers and of every question, too, for a next turn.
    """

    def __init__(
        self, assistant: Assistant, prefixes: PrefixCache | None = None, remember_answers: bool = True
    ) -> None:
        self.assistant, self._remember = assistant, remember_answers
        self.prefixes = prefixes or PrefixCache(assistant.model.config)
        self._rows = {True: _Rows(), False: _Rows()}
        self._processors: dict[Request, LogitsProcessorList] = {}
        self._generators: dict[Request, torch.Generator] = {}

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return sum(len(rows.requests) for rows in self._rows.values())

    @torch.no_grad()
    def add(self, *requests: Request) -> list[Request]:
        """Read prompts and make their first tokens; gives the requests that are done with that.

        One that cannot be answered has its `error` then: a generation setting that a batch cannot have, or whatever
        went wrong; it takes no other with it.
        """
        started = time.perf_counter()
        waiting = [r for r in requests if self._begun(r)]
        while waiting:
            wave, waiting = self._wave(waiting)
            for audio in self._rows:
                for begun in (False, True):
                    alike = [r for r in wave if r.request.audio == audio and (r.prompt.known > 0) == begun]
                    for group in passes(alike, lambda r: len(r.prompt.new)):
                        self._read(group, started)
        return [r for r in requests if r.finish or r.error]

    def _begun(self, request: Request) -> bool:
        try:
            self._processors[request] = self._made_processors(request.sampling)
        except ConfigError as error:
            request.error = error
            return False
        self._generators[request] = torch.Generator().manual_seed(request.sampling.seed)
        return True

    def _wave(self, waiting: Sequence[Request]) -> tuple[list[_Reading], list[Request]]:
        """Those to be read now, and those for which it pays to wait until another's prompt is known."""
        config, now, later = self.assistant.model.config, list[_Reading](), list[Request]()
        for request in waiting:
            ids, keys = request.prompt.ids, position_keys(request.prompt, config)
            cache, known = self.prefixes.find(keys, ids)
            shared = max((shared_length(keys, other.keys, ids, config) for other in now), default=0)
            if shared - known >= PASS_TOKENS:
                later.append(request)
            else:
                now.append(_Reading(request, keys, Unread(ids, cache, known)))
        return now, later

    def _read(self, group: Sequence[_Reading], started: float) -> None:
        """One pass, or one for each where it fails: a request must not take the others with it."""
        try:
            read, logits = self._passed(group)
        except Exception as error:
            if len(group) > 1:
                for one in group:
                    self._read([one], started)
                return
            group[0].request.error = error
            self._forget(group[0].request)
            return
        tokens = list[int]()
        for row, one in enumerate(group):
            if self._remember or not one.prompt.known or self._hears(one):
                self.prefixes.keep(one.keys, read.cache_of(row))
            one.request.reused_tokens = one.prompt.known
            tokens.append(self._next(one.request, logits[row]))
            one.request.first_token_seconds = time.perf_counter() - started
            if self._said(one.request, tokens[-1]):
                self._forget(one.request)
        if not all(one.request.finish for one in group):
            self._rows[group[0].request.audio].add([one.request for one in group], read, tokens)

    def _hears(self, one: _Reading) -> bool:
        """Whether a recording is read that was not known before."""
        return self.assistant.model.config.audio_token_id in one.prompt.new

    def _passed(self, group: Sequence[_Reading]) -> tuple[Pass, Tensor]:
        """The prompts with their caches filled, and logits `[batch, vocabulary]` of their first tokens."""
        model, pack = self.assistant.model, Pass.of([r.prompt for r in group])
        heard = [t for r in group if (t := self._audio_tokens(r)) is not None]
        given = {"audio_embeds": torch.cat(heard)} if heard else {}
        with model.lora_for(group[0].request.audio):
            out = model(
                pack.ids.to(model.device),
                attention_mask=pack.mask.to(model.device),
                position_ids=pack.positions.to(model.device),
                past_key_values=pack.cache,
                use_cache=True,
                logits_to_keep=1,
                **given,
            )
        return pack, out.logits[:, -1]

    def _audio_tokens(self, one: _Reading) -> Tensor | None:
        """Of the recordings that are not known yet; they are the last ones."""
        config, given = self.assistant.model.config, one.request.audio_tokens
        if given is None:
            return self.assistant.audio_tokens(one.request.prompt, one.prompt.known)
        windows = one.prompt.new.count(config.audio_token_id) // max(1, config.tokens_per_window)
        return given[len(given) - windows :] if windows else None

    def clear(self) -> None:
        """Let all requests go unfinished; what was read of earlier prompts is kept."""
        for rows in self._rows.values():
            rows.clear()
        self._processors.clear()
        self._generators.clear()

    @torch.no_grad()
    def step(self) -> list[Request]:
        """One more token for every request; gives those that are done now."""
        done: list[Request] = []
        for audio, rows in self._rows.items():
            gone = [r for r in rows.requests if r.cancelled]
            for request in gone:
                request.finish = "cancelled"
            done += self._leave(rows, gone)
            if rows.rows:
                done += self._step(audio, rows)
        return done

    def _step(self, audio: bool, rows: _Rows) -> list[Request]:
        model = self.assistant.model
        rows.mask = torch.nn.functional.pad(rows.mask, (0, 1), value=1)
        with model.lora_for(audio):
            logits = model(
                rows.last[:, None].to(model.device),
                attention_mask=rows.mask.to(model.device),
                position_ids=rows.mask.sum(1, keepdim=True).to(model.device) - 1,
                past_key_values=rows.cache,
                use_cache=True,
            ).logits[:, -1]
        ended = []
        for place, request in enumerate(rows.rows):
            if request is not None:
                rows.last[place] = token = self._next(request, logits[place])
                if self._said(request, token):
                    ended.append(request)
        return self._leave(rows, ended)

    def _leave(self, rows: _Rows, gone: list[Request]) -> list[Request]:
        """Take requests out; keys and values of what was said serve the next turn."""
        for request in gone:
            if self._remember:
                index = rows.rows.index(request)
                keys = position_keys(request.prompt, self.assistant.model.config) + request.new_ids
                own = row_of(rows.cache, index, rows.mask[index].bool())
                own.crop(min(0, len(keys) - own.positions))
                self.prefixes.keep(keys, own)
            self._forget(request)
            rows.done(request)
        if gone:
            rows.tidy()
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
