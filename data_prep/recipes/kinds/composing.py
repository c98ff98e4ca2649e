"""`use: compose`: scenes with an exact table of events, made of the clips of samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alm.errors import ConfigError
from data_prep.recipes.kinds.base import Bound, Kind, read_samples, write_samples
from data_prep.recipes.units import Task, Unit

if TYPE_CHECKING:
    from data_prep.composed import ScenePlan


@dataclass(frozen=True)
class ComposeOptions:
    """What scenes shall be like."""

    plan: str = ""
    """Name of a plan that comes with the project, to begin with."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a scene plan, in place of those of the named one."""


def _plan_of(options: ComposeOptions) -> ScenePlan:
    from data_prep.composed.plan import ScenePlan, load_plan, plan_from_mapping, plan_names

    if options.plan and options.plan not in plan_names():
        raise ConfigError(f"compose: no plan is called {options.plan!r}; there are {', '.join(plan_names())}")
    begun = dataclasses.asdict(load_plan(options.plan)) if options.plan else dataclasses.asdict(ScenePlan())
    return plan_from_mapping({**begun, **options.values}, "compose")


def _units(step: Bound) -> list[Unit]:
    code = ("data_prep.composed",)
    splits = [split for split, count in _plan_of(step.options).scenes.items() if count]
    return [step.unit(split, f"{__name__}:run", code=code, inputs=step.samples) for split in splits]


def run(task: Task) -> dict[str, Any]:
    """The scenes of one split; a run that was interrupted goes on behind the last one."""
    from data_prep.composed import Composer
    from data_prep.composed.composing import scenes_of

    plan = _plan_of(ComposeOptions(**task.options))
    composer = Composer(read_samples(task), plan, task.seed, task.folder)
    count = write_samples(scenes_of(composer, task.unit, plan.scenes[task.unit]), task)
    return {"samples": count, "left_out": {task.places.name(path): why for path, why in sorted(composer.lost.items())}}


COMPOSE = Kind("compose", "scenes with exact events, made of samples", ComposeOptions, _units, "samples")
