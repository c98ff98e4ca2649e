"""A conversation: history, cached keys and values, streaming answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from alm.asked import Asked
from alm.audio import Waveform
from alm.errors import ContextError
from alm.evidence import Evidence, evidence_text
from alm.fusion import FusionCache
from alm.long_audio import HeardStream, LongRecording, Sound, open_audio
from alm.messages import Encoded, parts_of, recordings_of
from alm.prefix import position_keys, shared_length

if TYPE_CHECKING:
    from alm.assistant import Assistant

Recording = str | Path | bytes | BinaryIO | NDArray[np.float32] | Waveform | LongRecording | HeardStream


@dataclass(frozen=True)
class Usage:
    """What one answer cost."""

    prompt_tokens: int
    audio_tokens: int
    new_tokens: int
    reused_tokens: int
    """Prompt tokens whose keys and values were still there from earlier turns."""
    encoded_recordings: int
    first_token_seconds: float
    seconds: float

    @classmethod
    def of(cls, prompt: Encoded, audio_token_id: int, **counts: Any) -> Usage:
        """With the tokens of a prompt counted; `counts` are the other fields."""
        return cls(prompt_tokens=len(prompt.ids), audio_tokens=prompt.ids.count(audio_token_id), **counts)


@dataclass(frozen=True)
class Answer:
    """One answer of the assistant."""

    text: str
    evidence: tuple[Evidence, ...]
    """One for each recording given with the question."""
    usage: Usage
    finish: str
    """`stop`, `length` or `cancelled`."""
    asked: tuple[Asked, ...] = ()
    """What was heard of the sounds that the question names, in its recordings or, without any, in the last ones."""


@dataclass(frozen=True)
class Prepared:
    """A question with everything that the model reads before it answers."""

    prompt: Encoded
    message: dict[str, Any]
    """The user's message, to be kept in the history."""
    evidence: tuple[Evidence, ...]
    asked: tuple[Asked, ...]


class _StopWhen(StoppingCriteria):
    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), self.event.is_set(), dtype=torch.bool, device=input_ids.device)


@dataclass
class Conversation:
    """Several turns about any number of recordings. Not for use by two threads at once."""

    assistant: Assistant
    system: str | None
    """Instruction for every turn; None: the preset's, once there is a recording."""
    use_evidence: bool
    last: Answer | None = None
    _messages: list[dict[str, Any]] = field(default_factory=list)
    _cache: FusionCache | None = None
    _cached_keys: list[int] = field(default_factory=list)

    def ask(self, question: str, audio: Recording | Sequence[Recording] | None = None, **options: Any) -> Answer:
        """The whole answer at once; arguments as in [`stream`]."""
        for _ in self.stream(question, audio, **options):
            pass
        assert self.last is not None
        return self.last

    def stream(
        self,
        question: str,
        audio: Recording | Sequence[Recording] | None = None,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        stop: threading.Event | None = None,
    ) -> Generator[str, None, None]:
        """Pieces of the answer as they come; afterwards `last` holds the whole [`Answer`].

        Closing the generator or setting `stop` ends the answer; what was said until then stays in the history.

        Raises:
            AudioError: a recording cannot be used. The conversation stays as it was.
            ContextError: too many recordings, or the conversation no longer fits the context.
        """
        started = time.perf_counter()
        before = self.assistant.ears.encoded
        ready = self.prepare(question, audio, max_new_tokens)
        turn = _Turn(self, ready.prompt, max_new_tokens, temperature, stop or threading.Event(), started)
        self._messages.append(ready.message)
        text = ""
        try:
            for piece in turn.pieces():
                text += piece
                yield piece
        except BaseException:
            turn.cancel()
            if not turn.new_ids:
                self._messages.pop()
            raise
        finally:
            turn.cancel()
            if turn.new_ids or turn.finish == "stop":
                self._messages.append({"role": "assistant", "content": text, "token_ids": turn.new_ids})
                encoded = self.assistant.ears.encoded - before
                self.last = Answer(text.strip(), ready.evidence, turn.usage(encoded), turn.finish, ready.asked)

    def prepare(
        self, question: str, audio: Recording | Sequence[Recording] | None = None, max_new_tokens: int = 256
    ) -> Prepared:
        """Listen, and put the prompt of the next answer together; the conversation stays as it is.

        Raises: as [`stream`].
        """
        audios = [{"type": "audio", "audio": a} for a in _as_list(audio)]
        return self.prepare_parts([*audios, {"type": "text", "text": question}], max_new_tokens)

    def prepare_parts(self, parts: Sequence[dict[str, Any]], max_new_tokens: int = 256) -> Prepared:
        """As [`prepare`], for a question whose text and recordings come in any order.

        Args:
            parts: `{"type": "text", "text"}` and `{"type": "audio", "audio"}`.
        """
        message, heard, asked = self._heard(parts)
        messages = [*self._messages, message]
        prompt = self.assistant.encode([*self._head(messages), *messages])
        self._check(prompt, max_new_tokens)
        return Prepared(prompt, message, heard, asked)

    def remember(self, message: dict[str, Any]) -> None:
        """Add a message of an earlier turn; recordings of a user's message are listened to."""
        self._messages.append(self._heard(parts_of(message))[0] if message["role"] == "user" else dict(message))

    def _heard(
        self, parts: Sequence[dict[str, Any]]
    ) -> tuple[dict[str, Any], tuple[Evidence, ...], tuple[Asked, ...]]:
        """A user's message of these parts with what was heard as text, and that as data."""
        opened = [{**p, "audio": open_audio(p["audio"])} if p["type"] == "audio" else dict(p) for p in parts]
        heard = self._listen([p["audio"] for p in opened if p["type"] == "audio"])
        message, asked = self._told({"role": "user", "content": opened}, heard)
        return message, tuple(heard), asked

    def _listen(self, recordings: list[Sound]) -> list[Evidence]:
        """Evidence of each recording; without evidence only its name and length."""
        if self.use_evidence:
            return [self.assistant.ears.evidence(r) for r in recordings]
        return [Evidence(r.source, r.seconds, r.sha256) for r in recordings]

    def _told(self, message: dict[str, Any], heard: Sequence[Evidence]) -> tuple[dict[str, Any], tuple[Asked, ...]]:
        """A user's message with what was heard, as text behind its recordings and its question, and as data."""
        if not self.use_evidence:
            return message, ()
        phrases, own = self.assistant.model.config.tag_phrases, iter(heard)
        parts = [
            {**p, "evidence": evidence_text(e := next(own), e.transcript, phrases)} if p["type"] == "audio" else p
            for p in message["content"]
        ]
        return self.assistant.with_asked({**message, "content": parts}, self._messages)

    def _head(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The system message, if any.

        Without a recording a model whose LoRA is then off stands under its chat template's own: told that it listens,
        a small language model invents what it hears, and answers other questions worse.
        """
        system = self.system
        if system is None:
            applies = any(map(recordings_of, messages)) or self.assistant.model.config.lora_on_text_only
            system = self.assistant.preset_config.system if applies else ""
        return [{"role": "system", "content": system}] if system else []

    def _check(self, prompt: Encoded, max_new_tokens: int) -> None:
        preset = self.assistant.preset_config
        if len(prompt.recordings) > preset.max_recordings:
            raise ContextError(
                f"the conversation would hold {len(prompt.recordings)} recordings; the limit is "
                f"{preset.max_recordings}. Start a new conversation with clear()"
            )
        room = preset.context_tokens - max_new_tokens
        if len(prompt.ids) > room:
            raise ContextError(
                f"the conversation would take {len(prompt.ids)} tokens and {max_new_tokens} are kept for the answer; "
                f"the limit is {preset.context_tokens}. Use shorter recordings, a smaller max_new_tokens, or clear()"
            )

    @property
    def history(self) -> list[dict[str, Any]]:
        """Messages so far, recordings by name and hash."""
        return [{"role": m["role"], "content": _public(m)} for m in self._messages]

    def undo(self) -> None:
        """Forget the last question and its answer."""
        while self._messages and self._messages.pop()["role"] != "user":
            pass

    def clear(self) -> None:
        """Forget everything."""
        self._messages.clear()
        self._cache, self._cached_keys, self.last = None, [], None


@dataclass
class _Turn:
    """One run of `generate` in a thread of its own."""

    chat: Conversation
    prompt: Encoded
    max_new_tokens: int
    temperature: float
    stop: threading.Event
    started: float
    new_ids: list[int] = field(default_factory=list)
    finish: str = "cancelled"
    reused: int = 0
    first: float = 0.0
    ended: float = 0.0
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _error: BaseException | None = None

    def pieces(self) -> Generator[str, None, None]:
        tokenizer = self.chat.assistant.processor.tokenizer
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._thread = threading.Thread(target=self._run, args=(streamer,), daemon=True)
        self._thread.start()
        for piece in streamer:
            if piece:
                self.first = self.first or time.perf_counter()
                yield piece
        self._thread.join()
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """Stop generating and wait until it has stopped."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join()
        self.ended = self.ended or time.perf_counter()

    def _run(self, streamer: TextIteratorStreamer) -> None:
        try:
            with self.chat.assistant.lock:
                self._generate(streamer)
        except BaseException as error:  # handed to the reader of the stream
            self._error = error
        finally:
            streamer.end()

    def _generate(self, streamer: TextIteratorStreamer) -> None:
        chat, ids = self.chat, self.prompt.ids
        cache = self._resume(ids)
        model = chat.assistant.model
        tensor = torch.tensor([ids], device=model.device)
        fresh = chat.assistant.audio_tokens(self.prompt, self.reused)
        sampling = (
            {"do_sample": True, "temperature": self.temperature} if self.temperature > 0 else {"do_sample": False}
        )
        out = model.generate(
            tensor,
            attention_mask=torch.ones_like(tensor),
            past_key_values=cache,
            streamer=streamer,
            max_new_tokens=self.max_new_tokens,
            stopping_criteria=StoppingCriteriaList([_StopWhen(self.stop), _StopWhen(self._cancelled)]),
            **({} if fresh is None else {"audio_embeds": fresh}),
            **sampling,
            **chat.assistant.preset_config.generation,
        )
        made = out[0, len(ids) :].tolist()
        ends = chat.assistant.end_ids
        self.finish = (
            "stop" if made and made[-1] in ends else "length" if len(made) >= self.max_new_tokens else "cancelled"
        )
        self.new_ids = made[:-1] if self.finish == "stop" else made
        keys = position_keys(self.prompt, chat.assistant.model.config)
        chat._cache, chat._cached_keys = cache, (keys + made)[: cache.positions]

    def _resume(self, ids: list[int]) -> FusionCache:
        """The cache of earlier turns, cut back to what this prompt shares with it."""
        chat, config = self.chat, self.chat.assistant.model.config
        cache, known = chat._cache, chat._cached_keys
        chat._cache, chat._cached_keys = None, []  # an interrupted run leaves a cache that nobody may use
        if cache is None:
            return FusionCache()
        self.reused = shared_length(position_keys(self.prompt, config), known, ids, config)
        if not self.reused:
            return FusionCache()
        cache.crop(self.reused - cache.positions)
        return cache

    def usage(self, encoded: int) -> Usage:
        return Usage.of(
            self.prompt,
            self.chat.assistant.model.config.audio_token_id,
            new_tokens=len(self.new_ids),
            reused_tokens=self.reused,
            encoded_recordings=encoded,
            first_token_seconds=(self.first or self.ended) - self.started,
            seconds=self.ended - self.started,
        )


def _as_list(audio: Recording | Sequence[Recording] | None) -> list[Recording]:
    if audio is None:
        return []
    return list(audio) if isinstance(audio, list | tuple) else [audio]  # type: ignore[list-item]


def _public(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _described(p["audio"]) if p["type"] == "audio" else {"type": "text", "text": p["text"]}
        for p in parts_of(message)
    ]


def _described(recording: Any) -> dict[str, Any]:
    return {"type": "audio", "name": recording.source, "sha256": recording.sha256, "seconds": recording.seconds}
