"""What the evaluations of one call share: options, the model, the corpus, progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from alm.errors import ConfigError
from eval.corpus import Corpus
from eval.listening import Advance
from eval.options import Options
from eval.results import Result, folder_hash, versions

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from eval.answering import Answerer
    from eval.listening import Listener


QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"}
"""Libraries' own chatter off; nothing is ever asked of a hub."""


@dataclass
class Session:
    """Loads what an evaluation needs when it needs it."""

    options: Options
    started: float = field(default_factory=time.perf_counter)

    @cached_property
    def assistant(self) -> Assistant:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import alm

        return alm.load(self.options.preset, adapter=self.options.adapter, device=self.options.device)

    @cached_property
    def corpus(self) -> Corpus:
        if self.options.corpus is None:
            raise ConfigError(
                "this evaluation needs recordings: give --corpus DIR, the folder that `python -m data_prep` filled"
            )
        return Corpus(self.options.corpus, self.options.split)

    @cached_property
    def cache(self) -> Path:
        from alm import weights

        return self.options.cache or weights.home() / "evaluation"

    @cached_property
    def listener(self) -> Listener:
        from eval.listening import Listener

        return Listener(self.assistant, self.cache)

    @cached_property
    def answerer(self) -> Answerer:
        from eval.answering import Answerer

        return Answerer(self.assistant, self.listener)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """A bar on standard error; gives a function that moves it on."""
        columns = (
            TextColumn("{task.description:<36}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)

    def describe(self, name: str, result: Result) -> None:
        """Add to a result how it was made."""
        adapter = self.options.adapter
        if self.options.split != "test":
            result.about = f"**Split {self.options.split} of the corpus instead of test.** {result.about}"
        if "assistant" in self.__dict__:
            adapter = self.assistant.adapter
            result.facts["model"] = _model(self.assistant)
        result.facts = {
            "command": self.command(name),
            "preset": self.options.preset,
            "adapter": {"name": adapter.name, "sha256": folder_hash(adapter)} if adapter else None,
            "versions": {"python": sys.version.split()[0], **versions()},
            "seed": self.options.seed,
            "limit": self.options.limit,
            "split": self.options.split,
            "corpus": self.corpus.digest if self.options.corpus else None,
            "seconds": round(time.perf_counter() - self.started, 1),
            **result.facts,
        }

    def command(self, name: str) -> str:
        """The command that makes a result again; folders by their role, since they differ from machine to machine."""
        o = self.options
        parts = [f"python -m eval {name}", f"--preset {o.preset}"]
        parts += [f"--adapter {o.adapter.name}"] if o.adapter else []
        parts += ["--corpus CORPUS"] if o.corpus else []
        parts += [f"--limit {o.limit}"] if o.limit else []
        parts += [f"--seed {o.seed}"] if o.seed else []
        parts += [f"--split {o.split}"] if o.split != "test" else []
        return " ".join(parts)


def _model(assistant: Assistant) -> dict[str, Any]:
    """The parts of `alm info` that tell models apart."""
    info = assistant.info()
    return {k: info[k] for k in ("parameters", "fusion", "tokens_per_window", "window_seconds", "tags") if k in info}
