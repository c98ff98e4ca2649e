"""How data are generated: what is asked for, how it is checked, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alm.errors import ConfigError

MOST_ITEMS = 20


@dataclass(frozen=True)
class Budget:
    """Limits of one run, on what is sent and not on what the cache has; a limit of 0 is none."""

    most_requests: int = 0
    most_tokens: int = 0
    """Prompts and answers together."""
    most_cost: float = 0.0
    """In the currency of the prices."""
    price_in: float = 0.0
    """Of a million tokens of prompts."""
    price_out: float = 0.0
    """Of a million tokens of answers."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < float("inf"):
                raise ConfigError(f"budget: '{name}' is {value}; it must be a number of at least 0 (0: no limit)")
        if self.most_cost and not (self.price_in or self.price_out):
            raise ConfigError("budget: a highest cost without prices limits nothing; give --price-in and --price-out")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


@dataclass(frozen=True)
class Pace:
    """How fast a server may be asked; 0 is no limit."""

    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    concurrency: int = 4
    """Samples that are worked on at the same time."""

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= 256:
            raise ConfigError(f"--concurrency is {self.concurrency}; it must be 1 to 256")
        for name in ("requests_per_minute", "tokens_per_minute"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"pace: '{name}' is {getattr(self, name)}; it must be at least 0 (0: no limit)")


@dataclass(frozen=True)
class Checks:
    """Filters of what was written, besides those of the text itself, which always apply."""

    grounding: bool = True
    """Whether an answer may name only sounds, times and numbers that are in the evidence."""
    draws: int = 0
    """Self-consistency: how often each question is answered anew from the evidence; 0: not at all."""
    agree: float = 0.5
    """Share of these answers that must agree with the one written."""
    least_grade: int = 0
    """Grade from 1 to 5 that the judge must give at least; 0: no judge is asked."""
    least_similarity: float = 0.5
    """Of a caption and its recording, where a measure of it is given; on that measure's own scale."""
    tries: int = 3
    """How often a caption is written anew that is not similar enough."""

    def __post_init__(self) -> None:
        ranges = {"draws": (0, 20), "agree": (0, 1), "least_grade": (0, 5), "least_similarity": (-1, 1)}
        for name, (low, high) in (ranges | {"tries": (1, 10)}).items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"checks: '{name}' is {getattr(self, name)}; it must be {low} to {high}")


@dataclass(frozen=True)
class GenerationPlan:
    """What is to be generated."""

    kinds: tuple[str, ...]
    """Names of `data_prep.generation.kinds.KINDS`."""
    seed: int = 0
    per_sample: int = 3
    """Questions, rewritten captions or descriptions that are asked for at a time."""
    budget: Budget = Budget()
    pace: Pace = Pace()
    checks: Checks = Checks()
    tokens_field: str = "max_tokens"
    prompts: Path | None = None
    """Folder whose prompts go before the project's of the same name."""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """How labels sound, which becomes part of the evidence; the kind `descriptions` makes such."""

    def __post_init__(self) -> None:
        from data_prep.generation.kinds import KINDS

        unknown = [name for name in self.kinds if name not in KINDS]
        if unknown or not self.kinds:
            raise ConfigError(f"--kind {', '.join(unknown) or 'is missing'}: there are {', '.join(sorted(KINDS))}")
        if len(set(self.kinds)) != len(self.kinds):
            raise ConfigError(f"--kind: {', '.join(self.kinds)} names one twice")
        if not 1 <= self.per_sample <= MOST_ITEMS:
            raise ConfigError(f"--per-sample is {self.per_sample}; it must be 1 to {MOST_ITEMS}")
