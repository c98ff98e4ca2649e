"""The processor cores there are for this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many of them; a container or `taskset` may leave fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
