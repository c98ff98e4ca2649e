"""What to make: which tasks, how many rows of each, and how questions are dressed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data_prep.errors import CorpusError

NEGATIVES = ("random", "popular", "adversarial", "group")
MAX_RATE = 100.0
MAX_ROWS = 1_000_000_000


@dataclass(frozen=True)
class TaskPlan:
    """Every value has a default that suits most sources; making one checks it and raises `CorpusError`."""

    tasks: tuple[str, ...] = ()
    """Names of tasks; empty: all."""
    without: tuple[str, ...] = ()
    """Tasks to leave out."""
    rate: float = 1.0
    """Rows of one task on one sample that fits it; 0.1 takes a tenth of the samples, 3 asks three times."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """The same for single tasks."""
    rows: int = 0
    """How many rows in all, shared out among the tasks by their shares and spread over the samples; rates then only
    say, by 0, what is left out. 0: as many rows as the rates give."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Weights of tasks among `rows`; a task not named keeps its own."""
    balance: float = 0.0
    """From 0, rows follow how often labels occur, to 1, all labels get about as many rows."""
    negatives: tuple[str, ...] = NEGATIVES
    """How sounds that are not there are chosen, each as often."""
    trust_missing: bool = False
    """Whether what a source does not name counts as absent even where the source does not say that it names all."""
    closed_prefix: float = 0.0
    """Share of questions with "Closed-ended question:" ahead, in train (LTU: 0.5)."""
    tags: bool = False
    """Whether Qwen-Audio's hierarchical task tags go ahead of the question."""
    shots: tuple[int, int] = (2, 4)
    """Fewest and most names in a few-shot episode."""
    examples: tuple[int, int] = (1, 2)
    """Fewest and most examples of each name."""
    languages: tuple[str, ...] = ()
    """Words are asked for in these languages only, such as `en`; empty: in all."""
    partners: int = 64
    """Recordings of each label that are kept for questions on several recordings."""
    max_seconds: float = 0.0
    """Recordings that are longer make no rows; 0: no limit."""
    max_audios: int = 9
    """Most recordings in one question."""
    hierarchy: str = ""
    """Path of AudioSet's `ontology.json`: a sound is then never denied where a kind of it is heard."""

    def __post_init__(self) -> None:
        for name in ("tasks", "without", "negatives", "languages"):
            self._check(name, _names(getattr(self, name)), "must be a list of names")
        for name, low, high in (("rate", 0.0, MAX_RATE), ("balance", 0.0, 1.0), ("closed_prefix", 0.0, 1.0)):
            self._check(name, _number(getattr(self, name), low, high), f"must be a number from {low:g} to {high:g}")
        for name in ("rates", "shares"):
            value = getattr(self, name)
            good = isinstance(value, Mapping) and all(_number(v, 0.0, MAX_RATE) for v in value.values())
            self._check(name, good, f"must map tasks to numbers from 0 to {MAX_RATE:g}")
        for name, least, most in (("rows", 0, MAX_ROWS), ("partners", 2, 1000), ("max_audios", 2, 64)):
            self._check(name, _whole(getattr(self, name), least, most), f"must be a number from {least} to {most}")
        for name, least in (("shots", 2), ("examples", 1)):
            value = getattr(self, name)
            good = isinstance(value, tuple) and len(value) == 2 and all(_whole(v, least, 16) for v in value)
            self._check(name, good and value[0] <= value[1], f"must be the least and the most, from {least} to 16")
        for name in ("trust_missing", "tags"):
            self._check(name, isinstance(getattr(self, name), bool), "must be true or false")
        self._check("max_seconds", _number(self.max_seconds, 0.0, 86_400.0), "must be seconds from 0 to 86400")
        known = set(self.negatives) <= set(NEGATIVES) and bool(self.negatives)
        self._check("negatives", known, f"must name some of {', '.join(NEGATIVES)}")
        self._check("hierarchy", isinstance(self.hierarchy, str), "must be a path")

    def _check(self, name: str, good: bool, rule: str) -> None:
        if not good:
            raise CorpusError(f"task plan: '{name}' is {str(getattr(self, name))[:80]!r}; it {rule}")

    def rate_of(self, task: str) -> float:
        """Rows of a task on one sample that fits it."""
        return float(self.rates.get(task, self.rate))


def _names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _number(value: object, low: float, high: float) -> bool:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return good and low <= float(value) <= high  # type: ignore[arg-type]


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def plan_from(values: Mapping[str, Any], where: str = "task plan") -> TaskPlan:
    """A plan out of parsed YAML or JSON; lists become tuples.

    Raises:
        CorpusError: an unknown name, or a value that no plan may have.
    """
    names = {item.name for item in dataclasses.fields(TaskPlan)}
    unknown = sorted(map(str, set(values) - names))
    if unknown:
        raise CorpusError(f"{where}: unknown {', '.join(unknown)[:200]}; a plan has {', '.join(sorted(names))}")
    made: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return TaskPlan(**made)
    except CorpusError as fault:
        raise CorpusError(f"{where}: {fault}") from None


def read_plan(path: Path) -> TaskPlan:
    """The plan of a YAML file; raises `CorpusError` naming the file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise CorpusError(f"{path}: cannot read the task plan ({fault})") from fault
    if not isinstance(values, dict):
        raise CorpusError(f"{path}: must be a mapping, such as `rows: 10000`")
    return plan_from(values, str(path))
