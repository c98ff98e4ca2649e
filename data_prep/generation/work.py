"""What a kind of generated data is: a function that asks about one sample and gives what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numpy.random import Generator, default_rng

from alm.audio import waveform_to_wav_bytes
from alm.endpoints import Reply
from data_prep.generation.asking import Asker
from data_prep.generation.facts import Fact, numbered
from data_prep.generation.hearing import stretch
from data_prep.generation.plan import GenerationPlan
from data_prep.generation.prompting import load_prompt
from data_prep.generation.similarity import Similarity
from data_prep.samples import Sample

MOST_LISTENED_SECONDS = 30.0
"""Of a recording that a listening model is given."""


@dataclass(frozen=True)
class Made:
    """A question and an answer that passed the checks."""

    question: str
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejected:
    """What was written and is not used."""

    reason: str
    """A short class of reason."""
    detail: str = ""
    text: str = ""


@dataclass(frozen=True)
class Servers:
    """Who is asked."""

    writer: Asker
    judge: Asker | None = None
    """The writer judges itself where there is none."""
    listener: Asker | None = None
    """A model that hears; without one, nothing is asked about the sound itself."""
    similarity: Similarity | None = None


@dataclass
class Work:
    """One sample and one kind."""

    sample: Sample
    kind: str
    facts: tuple[Fact, ...]
    plan: GenerationPlan
    servers: Servers
    prompts: dict[str, str] = field(default_factory=dict)
    """Prompts that were used, and their hashes."""

    @cached_property
    def evidence(self) -> str:
        return numbered(self.facts)

    @property
    def asked_words(self) -> str:
        """All prompts that were used, without what filled them."""
        used = [load_prompt(name, self.plan.prompts) for name in self.prompts]
        return "\n".join(f"{prompt.system}\n{prompt.user}" for prompt in used)

    @cached_property
    def rng(self) -> Generator:
        return default_rng(self.seed("choices"))

    def seed(self, *of: object) -> int:
        """A number that depends on plan, sample, kind and `of` alone."""
        text = "\0".join(map(str, (self.plan.seed, self.sample.source, self.sample.id, self.kind, *of)))
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1

    def ask(
        self, name: str, texts: Mapping[str, str | int], draw: int = 0, asker: Asker | None = None, warm: bool = False
    ) -> Reply:
        """An answer to the prompt of this name; the same draw gives the same answer again."""
        prompt = load_prompt(name, self.plan.prompts)
        self.prompts[name] = prompt.hash
        return (asker or self.servers.writer).ask(prompt, texts, self.seed(name, draw), warm=warm)

    def ask_anywhere(self, name: str, texts: Mapping[str, str | int]) -> Reply:
        """As `ask`, with a draw that is the same for every sample: asked once, it is in the cache for all."""
        prompt = load_prompt(name, self.plan.prompts)
        self.prompts[name] = prompt.hash
        return self.servers.writer.ask(prompt, texts, self.plan.seed)

    def listen(self, name: str, texts: Mapping[str, str | int], draw: int = 0) -> Reply:
        """An answer of the listening model, which hears the recording.

        Raises:
            AudioError: the recording cannot be used.
        """
        prompt = load_prompt(name, self.plan.prompts)
        self.prompts[name] = prompt.hash
        assert self.servers.listener is not None
        return self.servers.listener.ask(prompt, texts, self.seed(name, draw), wav=self._wav)

    @cached_property
    def _wav(self) -> bytes:
        return waveform_to_wav_bytes(stretch(self.sample, MOST_LISTENED_SECONDS))


@dataclass(frozen=True)
class Kind:
    """One kind of generated data."""

    name: str
    about: str
    make: Callable[[Work], Iterator[Made | Rejected]]
    wants: Callable[[Sample, tuple[Fact, ...]], bool]
    """Whether a sample has what the kind needs."""
    prompts: tuple[str, ...]
    """All that may be used."""
    asks: Callable[[GenerationPlan, Sample], int]
    """Requests for one sample, at most, checks left out."""
