"""Which rows make which batch of a language stage: by steps or epochs, by rows, tokens and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alm.errors import ConfigError
from training.config import StageConfig
from training.objective import rng_for
from training.rows import CHUNK_BATCHES, Row, Schedule, by_task

Bundle = list[int]
"""Rows about the same recordings, by index."""


def planned(rows: Sequence[Row], stage: StageConfig, key: str) -> list[list[Bundle]]:
    """Bundles of every batch of a stage: a function of the rows, the stage and the key alone.

    Raises:
        ConfigError: the mix has no rows, or one row alone is over `batch_tokens` or `batch_seconds`.
    """
    schedule = Schedule(rows, stage.tasks, key)
    if not in_mix(rows, stage):
        named = ", ".join(stage.tasks) or "any"
        raise ConfigError(f"stage {stage.name}: no training rows of its tasks ({named}); they have {_tasks(rows)}")
    if not (stage.epochs or stage.batch_tokens or stage.batch_seconds or stage.draw == "rows"):
        return schedule.batches(stage.steps, stage.batch_size, stage.questions_together)
    rng, count = rng_for(key, "schedule"), max(1, stage.batch_size // stage.questions_together)
    bundles = _bundles(rows, stage, schedule, count, rng)
    batches: list[list[Bundle]] = []
    for first in range(0, len(bundles), CHUNK_BATCHES * count):
        chunk = sorted(bundles[first : first + CHUNK_BATCHES * count], key=lambda b: rows[b[0]].length)
        own = cut(rows, chunk, stage, count)
        batches += [own[i] for i in rng.permutation(len(own))]
        if stage.steps and len(batches) >= stage.steps:
            break
    return batches[: stage.steps] if stage.steps else batches


def in_mix(rows: Sequence[Row], stage: StageConfig) -> int:
    """How many rows one epoch shows: those of the mix; with `draw: rows` a task's rows as often as it weighs."""
    sizes = {t: len(own) for t, own in by_task(rows).items()}
    if stage.draw == "rows":
        return round(sum(n * (stage.tasks.get(t, 0.0) if stage.tasks else 1.0) for t, n in sizes.items()))
    return sum(n for t, n in sizes.items() if not stage.tasks or stage.tasks.get(t, 0.0) > 0)


def _tasks(rows: Sequence[Row]) -> str:
    cached = "what counts is of split train with cached recordings; make these first (`python -m training features`)"
    return ", ".join(by_task(rows)) or f"none: {cached}"


def _bundles(
    rows: Sequence[Row], stage: StageConfig, schedule: Schedule, count: int, rng: np.random.Generator
) -> list[Bundle]:
    """As many as the stage can need, in the order of drawing."""
    each = in_mix(rows, stage)
    if stage.draw == "tasks":
        wanted = stage.steps * count or math.ceil(stage.epochs * each / stage.questions_together)
        return schedule.bundles(wanted, stage.questions_together, rng)
    wanted = stage.steps * count or math.ceil(stage.epochs * each)
    drawn: list[int] = []
    while len(drawn) < wanted:
        drawn += _epoch(rows, stage, rng)
    return [[i] for i in drawn[:wanted]]


def _epoch(rows: Sequence[Row], stage: StageConfig, rng: np.random.Generator) -> list[int]:
    """Every row of the mix as often as its task weighs (a broken part by lot), in random order."""
    found: list[int] = []
    for task, own in by_task(rows).items():
        weight = stage.tasks.get(task, 0.0) if stage.tasks else 1.0
        more = rng.permutation(own)[: round((weight % 1.0) * len(own))]
        found += own * int(weight) + more.tolist()
    return [found[i] for i in rng.permutation(len(found))]


def cut(rows: Sequence[Row], bundles: Sequence[Bundle], stage: StageConfig, count: int) -> list[list[Bundle]]:
    """Batches of at most `count` bundles and within the stage's tokens and seconds, both counted with padding."""
    batches: list[list[Bundle]] = []
    size, tokens, seconds = 0, 0, 0.0
    for bundle in bundles:
        own_tokens, own_seconds = _measure(rows, bundle, stage)
        longest, lasting, many = max(tokens, own_tokens), max(seconds, own_seconds), size + len(bundle)
        full = not batches or len(batches[-1]) >= count
        over = _over(longest * many, stage.batch_tokens) or (
            not full and _over(lasting * (len(batches[-1]) + 1), stage.batch_seconds)
        )
        if full or over:
            batches.append([])
            longest, lasting, many = own_tokens, own_seconds, len(bundle)
        batches[-1].append(bundle)
        size, tokens, seconds = many, longest, lasting
    return batches


def _over(value: float, limit: float) -> bool:
    return 0 < limit < value


def _measure(rows: Sequence[Row], bundle: Bundle, stage: StageConfig) -> tuple[int, float]:
    """Tokens of the longest row of a bundle and seconds of its recordings; one bundle must fit into a batch."""
    tokens, seconds = max(rows[i].length for i in bundle), sum(i.seconds for i in rows[bundle[0]].items)
    for what, value, limit in (
        ("batch_tokens", tokens * len(bundle), stage.batch_tokens),
        ("batch_seconds", seconds, stage.batch_seconds),
    ):
        if _over(value, limit):
            raise ConfigError(
                f"stage {stage.name}: row {rows[bundle[0]].id!r} and what is asked with it take {value:g}, {what} is "
                f"{limit:g}; raise it, or lower questions_together or data.max_windows"
            )
    return tokens, seconds
