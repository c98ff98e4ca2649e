"""The server's and the batch's engine on vLLM: our ears and prompts, vLLM's continuous batching and paged cache.

A thread listens and puts prompts together, one job after the other; an event loop in a second one feeds vLLM, whose
decoding runs in processes of its own. Prompts are token ids made by us: what people write never becomes a recording's
place or a control token, as with the transformers engine.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
import threading
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from alm.batching import Sampling
from alm.errors import AlmError, ConfigError
from alm.messages import Encoded, recordings_of
from serve.engines.hearing import Heard, Listener, stopping
from serve.engines.jobs import EngineState, Failed, Job, Pace
from serve.engines.transformers import TransformersEngine
from serve.engines.vllm_start import VllmSettings, engine_arguments, ensure_vllm, set_environment, write_for_vllm

if TYPE_CHECKING:
    from alm.assistant import Assistant

_LOG = logging.getLogger(__name__)
_SHUTDOWN_SECONDS = 20.0
_PASSED_ON = ("top_p", "top_k", "min_p", "repetition_penalty")
"""Generation settings with the same name and meaning in vLLM."""


@dataclass(eq=False)
class _Running:
    heard: Heard
    new_ids: list[int] = field(default_factory=list)
    finish: str = ""
    reused: int = 0


class VllmEngine:
    """One assistant's ears and prompts in front of vLLM. Satisfies `serve.engines.jobs.Engine`.

    vLLM has the LoRA merged into its weights. Where conversations without recordings must go without it
    (`lora_on_text_only`), the assistant's own model answers those, in a batch beside vLLM's: vLLM's LoRA for CPUs reads
    every prompt several times slower, and gives the adapter to neighbours in the batch that asked for none.

    Raises:
        ConfigError: vLLM is not installed, or cannot serve the model.
    """

    def __init__(self, assistant: Assistant, settings: VllmSettings | None = None, most_waiting: int = 64) -> None:
        ensure_vllm()
        set_environment()
        self.assistant = assistant
        self.rows = (settings or VllmSettings()).rows
        self._running: set[Job] = set()
        self._names = count()
        self._news = threading.Condition()
        self._closed = False
        self._pace = Pace(self.rows)
        self._loop = asyncio.new_event_loop()
        self._feeding = threading.Thread(target=self._loop.run_forever, name="alm-vllm", daemon=True)
        self._feeding.start()
        self._folder = tempfile.TemporaryDirectory(prefix="alm-vllm-")
        try:
            self._llm = self._in_loop(self._start(settings or VllmSettings())).result()
        except BaseException:
            self._end_loop()
            raise
        self._plain = TransformersEngine(assistant, self.rows, most_waiting) if lora_is_apart(assistant) else None
        self._listener = Listener(assistant, self.rows, most_waiting, self._pace)
        self._thread = threading.Thread(target=self._run, name="alm-engine", daemon=True)
        self._thread.start()

    async def _start(self, settings: VllmSettings) -> Any:
        folder = Path(self._folder.name)
        write_for_vllm(self.assistant, folder)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(**engine_arguments(self.assistant, folder, settings))
        return AsyncLLM.from_engine_args(arguments)

    def submit(self, job: Job) -> None:
        if self._plain is not None and not any(map(recordings_of, job.messages)):
            self._plain.submit(job)
            return
        self._listener.submit(job)

    def state(self) -> EngineState:
        plain = self._plain.state() if self._plain is not None else EngineState(0, 0)
        return EngineState(len(self._running) + plain.running, self._listener.waiting + plain.waiting)

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._listener.close()
        self._thread.join()
        if self._plain is not None:
            self._plain.close()
        self._in_loop(self._stop_tasks()).result()  # first: who still listens would report the end as an accident
        self._llm.shutdown(timeout=_SHUTDOWN_SECONDS)
        del self._llm
        gc.collect()  # vLLM's own clean-up fails in the interpreter's last moments
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._feeding.join()
        self._loop.close()
        self._folder.cleanup()

    @staticmethod
    async def _stop_tasks() -> None:
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _in_loop(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        while True:
            with self._news:
                while not (self._closed or len(self._running) < self.rows):
                    self._news.wait()
                free = self.rows - len(self._running)
            if self._closed:
                return
            for heard in self._listener.take(free):
                self._admit(heard)

    def _admit(self, heard: Heard) -> None:
        try:
            prompt = prompt_for_vllm(self.assistant, heard.ready.prompt, heard.audio_tokens)
            sampling = sampling_for_vllm(self.assistant, heard.job.sampling)
        except AlmError as error:
            heard.job.tell(Failed(error))
            return
        with self._news:
            self._running.add(heard.job)
        self._loop.call_soon_threadsafe(self._begin, _Running(heard), prompt, sampling)

    def _begin(self, one: _Running, prompt: Any, sampling: Any) -> None:
        task = self._loop.create_task(self._answer(one, prompt, sampling))
        task.add_done_callback(lambda done: self._let_go(one.heard.job, done.cancelled()))

    def _let_go(self, job: Job, stopped: bool) -> None:
        if stopped:
            job.tell(stopping())
        self._forget(job)

    def _forget(self, job: Job) -> None:
        with self._news:
            self._running.discard(job)
            self._news.notify()

    async def _answer(self, one: _Running, prompt: Any, sampling: Any) -> None:
        try:
            (ready,) = await self._llm.renderer.render_cmpl_async([prompt])
            outputs = self._llm.generate(ready, sampling, f"job-{next(self._names)}")
            async with aclosing(outputs):  # a request that is not done then leaves vLLM
                async for output in outputs:
                    self._take(one, output)
                    if one.finish or one.heard.job.cancelled:
                        break
        except Exception as error:
            _LOG.exception("an answer failed")
            one.heard.job.tell(Failed(error))
            return
        one.heard.end(one.new_ids, one.reused, one.finish or "cancelled", self._pace)

    def _take(self, one: _Running, output: Any) -> None:
        """Note new tokens; tell what can be read of them."""
        said = output.outputs[0]
        ids = list(said.token_ids)
        if said.finish_reason == "stop" and ids and ids[-1] in self.assistant.end_ids:
            ids.pop()
        one.new_ids, one.reused = ids, output.num_cached_tokens or 0
        last = said.finish_reason is not None
        if one.heard.tell(ids, last):
            one.finish = "stop"
        elif last:
            one.finish = "length" if said.finish_reason == "length" else "stop"


def lora_is_apart(assistant: Assistant) -> bool:
    """Whether conversations without recordings need other weights than those with."""
    has_lora = any(".lora_" in name for name, _ in assistant.model.named_parameters())
    return has_lora and not assistant.model.config.lora_on_text_only


def prompt_for_vllm(assistant: Assistant, prompt: Encoded, audio_tokens: Tensor | None) -> dict[str, Any]:
    """Token ids with one place for each recording, and the recordings' audio tokens.

    Args:
        audio_tokens: of all recordings, `[windows, tokens_per_window, dim]`.

    vLLM fills each place out to as many as the recording has tokens, which gives the prompt's own ids again.
    """
    if audio_tokens is None:
        return {"prompt_token_ids": list(prompt.ids)}
    config = assistant.model.config
    ids: list[int] = []
    left, at = iter(prompt.windows), 0
    while at < len(prompt.ids):
        ids.append(prompt.ids[at])
        at += next(left) * config.tokens_per_window if prompt.ids[at] == config.audio_token_id else 1
    heard = [tokens.flatten(0, 1) for tokens in audio_tokens.split(list(prompt.windows))]
    return {
        "prompt_token_ids": ids,
        "multi_modal_data": {"audio": [tokens.detach().cpu() for tokens in heard]},
        "multi_modal_uuids": {"audio": [r.sha256 for r in prompt.recordings]},
    }


def sampling_for_vllm(assistant: Assistant, sampling: Sampling) -> Any:
    """vLLM's `SamplingParams`.

    Raises:
        ConfigError: a generation setting that vLLM does not have.
    """
    from vllm import SamplingParams

    given = {**assistant.preset_config.generation, **sampling.settings}
    given = {k: v for k, v in given.items() if v is not None}
    never = given.pop("suppress_tokens", ())
    if unknown := sorted(set(given) - set(_PASSED_ON)):
        known = ", ".join([*_PASSED_ON, "suppress_tokens"])
        raise ConfigError(f"vLLM cannot generate with {unknown[0]!r}; it can with {known}")
    return SamplingParams(
        max_tokens=sampling.max_new_tokens,
        temperature=max(0.0, sampling.temperature),
        seed=sampling.seed,
        stop_token_ids=sorted(assistant.end_ids),
        logit_bias=dict.fromkeys(never, -100.0) or None,
        detokenize=False,
        **given,
    )
