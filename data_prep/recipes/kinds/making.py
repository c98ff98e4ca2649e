"""`use: make`: closed-ended instruction rows, made of what samples say about their recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alm.errors import ConfigError
from data_prep.recipes.kinds.base import Bound, Kind, inside_root, read_samples, write_rows
from data_prep.recipes.units import Task, Unit, digest_of_files
from data_prep.records import SPLITS


@dataclass(frozen=True)
class MakeOptions:
    """Which rows."""

    plan: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a task plan."""
    splits: tuple[str, ...] = SPLITS

    def __post_init__(self) -> None:
        if not self.splits or set(self.splits) - set(SPLITS):
            raise ConfigError(f"make: splits is {list(self.splits)}; it must be some of {', '.join(SPLITS)}")


def _units(step: Bound) -> list[Unit]:
    from data_prep.makers import plan_from

    plan = plan_from(step.options.plan, step.where)
    extra = {}
    if plan.hierarchy:
        extra = {"hierarchy": digest_of_files(step.root, (inside_root(plan.hierarchy, step.where),))}
    return [
        step.unit(split, f"{__name__}:run", code=("data_prep.makers",), inputs=step.samples, extra=extra)
        for split in step.options.splits
    ]


def run(task: Task) -> dict[str, Any]:
    """The rows of one split. Samples of the others only tell which labels train has."""
    from data_prep.makers import MakeReport, make_records, plan_from

    values = dict(task.options["plan"])
    if values.get("hierarchy"):
        values["hierarchy"] = str(task.places.root / values["hierarchy"])
    report = MakeReport()
    count = write_rows(make_records(read_samples(task), plan_from(values), task.seed, task.unit, report), task)
    lost = dict(sorted(report.lost.items()))
    return {"records": count, "samples": report.samples, "tasks": dict(sorted(report.rows.items())), "lost": lost}


MAKE = Kind("make", "closed-ended rows about samples", MakeOptions, _units, "records")
