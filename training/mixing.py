"""Which rows make which batch of a language stage: by steps or epochs, by rows, tokens and seconds."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

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
    stream = _by_rows(rows, stage, rng) if stage.draw == "rows" else _by_tasks(stage, schedule, rng)
    batches: list[list[Bundle]] = []
    while chunk := list(islice(stream, CHUNK_BATCHES * count)):
        own = cut(rows, sorted(chunk, key=lambda b: rows[b[0]].length), stage)
        batches += [own[i] for i in rng.permutation(len(own))]
        if stage.steps and len(batches) >= stage.steps:
            break
    return batches[: stage.steps] if stage.steps else batches


def told(rows: Sequence[Row], stage: StageConfig, batches: Sequence[Sequence[Bundle]]) -> Iterator[str]:
    """What a stage is about to show, and which tasks of its mix have no rows."""
    shown = [rows[i].task for batch in batches for bundle in batch for i in bundle]
    sizes = {t: len(own) for t, own in by_task(rows).items()}
    counts = Counter(shown)
    mix = ", ".join(f"{t} {n / len(shown):.0%} of {sizes[t]}" for t, n in counts.most_common())
    yield f"{len(batches)} batches of {len(shown) / len(batches):.1f} rows; {mix} rows"
    if lacking := [t for t, weight in stage.tasks.items() if weight > 0 and t not in sizes]:
        yield f"no rows of {', '.join(lacking)}, which `tasks` names; there are {', '.join(sizes)}"


def in_mix(rows: Sequence[Row], stage: StageConfig) -> int:
    """How many rows one epoch shows: those of the mix; with `draw: rows` a task's rows as often as it weighs."""
    sizes = {t: len(own) for t, own in by_task(rows).items()}
    if stage.draw == "rows":
        return round(sum(n * (stage.tasks.get(t, 0.0) if stage.tasks else 1.0) for t, n in sizes.items()))
    return sum(n for t, n in sizes.items() if not stage.tasks or stage.tasks.get(t, 0.0) > 0)


def _tasks(rows: Sequence[Row]) -> str:
    cached = "what counts is of split train with cached recordings; `--prepare` makes these first"
    return ", ".join(by_task(rows)) or f"none: {cached}"


def _by_tasks(stage: StageConfig, schedule: Schedule, rng: np.random.Generator) -> Iterator[Bundle]:
    """More bundles than the stage can need: each has one row at least."""
    yield from schedule.bundles(stage.steps * stage.batch_size, stage.questions_together, rng)


def _by_rows(rows: Sequence[Row], stage: StageConfig, rng: np.random.Generator) -> Iterator[Bundle]:
    """Epoch after epoch, without end where the stage counts steps."""
    left = math.ceil(stage.epochs * in_mix(rows, stage)) if stage.epochs else math.inf
    while left > 0:
        for bundle in _epoch(rows, stage, rng):
            taken = bundle[: int(min(left, len(bundle)))]
            left -= len(taken)
            if taken:
                yield taken


def _epoch(rows: Sequence[Row], stage: StageConfig, rng: np.random.Generator) -> list[Bundle]:
    """Every row of the mix as often as its task weighs (a broken part by lot), in random order; those about the same
    recordings together, at most `questions_together`.
    """
    found: list[int] = []
    for task, own in by_task(rows).items():
        weight = stage.tasks.get(task, 0.0) if stage.tasks else 1.0
        more = rng.permutation(own)[: round((weight % 1.0) * len(own))]
        found += own * int(weight) + more.tolist()
    order, most = [found[i] for i in rng.permutation(len(found))], stage.questions_together
    if most == 1:
        return [[i] for i in order]
    near: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in order:
        near[rows[index].key].append(index)
    bundles = [own[i : i + most] for own in near.values() for i in range(0, len(own), most)]
    return [bundles[i] for i in rng.permutation(len(bundles))]


def cut(rows: Sequence[Row], bundles: Sequence[Bundle], stage: StageConfig) -> list[list[Bundle]]:
    """Batches of at most `batch_size` rows and within the stage's tokens and seconds, both counted with padding."""
    batches: list[list[Bundle]] = []
    size, tokens, seconds = 0, 0, 0.0
    for bundle in bundles:
        own_tokens, own_seconds = _measure(rows, bundle, stage)
        longest, lasting, many = max(tokens, own_tokens), max(seconds, own_seconds), size + len(bundle)
        full = not batches or many > stage.batch_size
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
