"""Two or three questions in a row on one recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from data_prep.makers.base import Making, Task, Turn
from data_prep.samples import Sample

TURNS = (2, 3)
MAX_TRIED = 10
ALONE = frozenset(("nothing", "chapters", "asked", "label_described"))
"""Tasks that stand alone."""


def dialogue_task(tasks: Sequence[Task]) -> Task:
    """The task that asks several questions of some tasks."""
    single = [task for task in tasks if not task.several and task.name not in ALONE]

    def make(making: Making, sample: Sample) -> Turn | None:
        fitting = [task for task in single if task.fits(sample)]
        if len(fitting) < 2:
            return None
        wanted, turns = making.between(TURNS), list[Turn]()
        for task in making.some(fitting, min(MAX_TRIED, len(fitting))):
            turn = task.make(making, sample)
            if turn is not None:
                turns.append(dataclasses.replace(turn, task=task.name))
            if len(turns) == wanted:
                break
        return dataclasses.replace(turns[0], then=tuple(turns[1:])) if len(turns) > 1 else None

    about = "two or three questions on one recording"
    return Task("dialogue", "dialogue", about, lambda sample: True, make, 5, pools=("-",))
