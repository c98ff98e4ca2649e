"""`use: generate`: open-ended rows, written by a language model behind an endpoint and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alm.errors import ConfigError
from data_prep.recipes.kinds.base import Bound, Kind, read_samples, write_rows
from data_prep.recipes.recipe import options_of
from data_prep.recipes.units import Task, Unit
from data_prep.records import SPLITS

if TYPE_CHECKING:
    from data_prep.generation.plan import GenerationPlan

ANSWERS = "answers"
"""Folder beside those of the units, so that no change of the recipe loses what was paid for."""
OF_THE_RECIPE = ("seed", "prompts", "descriptions")


@dataclass(frozen=True)
class GenerateOptions:
    """What is written, and by whom."""

    endpoint: str
    """OpenAI-compatible server, up to and with `/v1`."""
    model: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a generation plan: `kinds`, `per_sample`, `budget`, `pace`, `checks`, `tokens_field`."""
    key_env: str = ""
    """Environment variable that holds the server's key."""
    splits: tuple[str, ...] = ("train",)
    most_failed: int = 0
    """Questions of a split that may stay without an answer; with more of them the build stops."""

    def __post_init__(self) -> None:
        if self.most_failed < 0:
            raise ConfigError(f"generate: most_failed is {self.most_failed}; it must be at least 0")
        if not self.splits or set(self.splits) - set(SPLITS):
            raise ConfigError(f"generate: splits is {list(self.splits)}; it must be some of {', '.join(SPLITS)}")


def _plan_of(options: GenerateOptions, seed: int, where: str) -> GenerationPlan:
    from data_prep.generation.plan import GenerationPlan

    if taken := [name for name in OF_THE_RECIPE if name in options.plan]:
        raise ConfigError(f"{where}: a plan in a recipe has no {taken[0]!r}; the recipe's seed and the project's hold")
    return dataclasses.replace(options_of(GenerationPlan, options.plan, where), seed=seed % 2**31)


def _units(step: Bound) -> list[Unit]:
    _plan_of(step.options, step.seed, step.where)
    code = ("data_prep.generation.generate",)
    return [step.unit(split, f"{__name__}:run", code=code, inputs=step.samples) for split in step.options.splits]


def run(task: Task) -> dict[str, Any]:
    """The rows of one split. What was answered before is not asked again.

    Raises:
        ConfigError: the server refuses all, or more than `most_failed` got no answer; the next run goes on.
        BudgetSpentError: a limit of the plan was reached; the next run goes on.
    """
    from alm.endpoints import Endpoint
    from data_prep.generation.generate import Generation

    options = GenerateOptions(**task.options)
    endpoint = Endpoint(options.endpoint, options.model, options.key_env)
    plan = _plan_of(options, task.seed, "generate")
    generation = Generation(plan, endpoint, task.folder.parent / ANSWERS / task.unit)
    count = write_rows(generation.records(s for s in read_samples(task) if s.split == task.unit), task)
    failed = sum(found.failed for found in generation.report.kinds.values())
    if failed > options.most_failed:
        raise ConfigError(
            f"generate: {failed} questions of {task.unit} got no answer, such as {generation.report.failures[0]}; the "
            f"next run asks for them alone, or raise most_failed ({options.most_failed})"
        )
    kinds = {
        name: {"made": found.made, "rejected": dict(sorted(found.rejected.items())), "failed": found.failed}
        for name, found in generation.report.kinds.items()
    }
    return {"records": count, "samples": generation.report.samples, "kinds": kinds}


GENERATE = Kind("generate", "open-ended rows by a model behind an endpoint", GenerateOptions, _units, "records")
