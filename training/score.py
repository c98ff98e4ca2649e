"""Adapters side by side on the test rows of a mix, task by task, on cached features.

Right is an answer that greedy decoding would write word for word (see `training.study.scoring`). Each is told what its
own tag head hears, as the assistant is, and asked once more without; transcripts are told to none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alm.adapters import ABOUT, load_adapter, read_about
from alm.errors import ConfigError
from training.config import RunConfig
from training.groups import narrow_frozen
from training.knowledge import opinion_of
from training.language import TOLD
from training.precision import as_kept
from training.rows import Knowledge, Row, by_task
from training.run import Run
from training.study.report import interval, markdown
from training.study.scoring import chosen_rows, score

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Said:
    """What one adapter said to the rows."""

    told: Flags
    bare: Flags


def named_adapter(text: str) -> tuple[str, Path]:
    """The name and the folder of `NAME=FOLDER`.

    Raises:
        ConfigError: it is something else, or the folder holds no adapter.
    """
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"{text!r} is not NAME=FOLDER")
    if not (Path(folder) / ABOUT).is_file():
        raise ConfigError(f"{folder} holds no adapter ({ABOUT}); make one with `python -m training export`")
    return name, Path(folder)


def rows_of(config: RunConfig, tasks: Sequence[str], most: int, say: Callable[[str], None]) -> list[Row]:
    """The rows to ask: at most so many of each task of the test split."""
    found = chosen_rows(Run(config, Path(config.out), say).rows, tasks, most)
    say(f"{len(found)} questions of {len(by_task(found))} tasks")
    return found


def ask(config: RunConfig, adapter: Path, rows: list[Row]) -> Said:
    """Ask an adapter all rows, told and bare.

    Raises:
        CheckpointError: the adapter is damaged, or of another model or other base weights.
    """
    about = read_about(adapter)
    run = Run(replace(config, model={**config.model, **_shape(about["model"])}), Path(config.out))
    run.labels, run.rows = about["model"]["tag_labels"], rows
    model, processor = run.fresh()
    load_adapter(model, adapter, further_lora=True)
    if run.config.precision == "bf16":
        narrow_frozen(model)
    head, settings = model.model.hearing.tag_head, model.config
    items = {i.path: i for r in rows for i in r.items}
    opinions = {p: opinion_of(head, i, run.cache, settings) for p, i in items.items()} if head is not None else {}
    knowledge = Knowledge(
        {p: sounds for p, (sounds, _) in opinions.items()}, {p: scores for p, (_, scores) in opinions.items()}, {},
        tuple(run.labels), settings.tag_words or {}, settings.tell_likeliest,
    )  # fmt: skip
    collator = run.collator_of(model, processor, knowledge)
    with as_kept(model):
        return Said(score(model, collator, rows, TOLD)[0], score(model, collator, rows)[0])


def _shape(model: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in model.items() if k in ("encoders", "branches", "tag_hidden", "tell_likeliest")}


def table(rows: Sequence[Row], said: Mapping[str, Said], known: Sequence[str] = ()) -> list[str]:
    """Markdown: per task each adapter's accuracy, and the last one's difference to the first with its interval.

    Args:
        known: tasks that the first adapter was trained on; the others are marked as new.
    """
    sources, everyone = np.array([r.source for r in rows]), list(said.values())
    first, last = everyone[0], everyone[-1]
    head = ["task", "questions", *(f"{n}{how}" for n in said for how in ("", ", bare")), "difference (95 %)"]
    lines = []
    for task, own in by_task(rows).items():
        mask = np.zeros(len(rows), bool)
        mask[own] = True
        change = last.told.astype(float) - first.told
        low, high = interval(change, [mask], sources, task)
        cells = [f"{100 * flags[mask].mean():.1f} %" for one in said.values() for flags in (one.told, one.bare)]
        new = "" if not known or task in known else " (new)"
        difference = f"{100 * change[mask].mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        lines.append([f"`{task}`{new}", str(len(own)), *cells, difference])
    return markdown(head, lines)
