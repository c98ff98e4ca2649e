"""Closed-ended instruction rows out of what sources say about recordings.

`make_records(samples, plan, seed, split)` gives checked rows; `TASKS` names what can be asked.
"""

from data_prep.makers.base import Task
from data_prep.makers.plan import TaskPlan, plan_from, read_plan
from data_prep.makers.rows import TASKS, MakeReport, RowMaker, make_records, row_maker

__all__ = [
    "TASKS",
    "MakeReport",
    "RowMaker",
    "Task",
    "TaskPlan",
    "make_records",
    "plan_from",
    "read_plan",
    "row_maker",
]
