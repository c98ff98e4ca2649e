"""Adapters side by side on the test rows of a mix, task by task, on cached features.

Right is an answer that is the likeliest of those that the question allows or, where it allows any, that greedy decoding
would write word for word (see `training.study.scoring`). Where answers are sentences that is next to never so, and the
nats a token of the true answer tell more. Each adapter is told what its own tag head hears, as the assistant is;
transcripts are told to none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alm.adapters import ABOUT, load_adapter, read_about
from alm.errors import ConfigError
from alm.presets import adapter_folder
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

    right: Flags
    nats: NDArray[np.float32]
    """A token of the true answer."""


def named_adapter(text: str) -> tuple[str, Path]:
    """The name and the folder of `NAME=FOLDER`, where the folder may be a preset's name.

    Raises:
        ConfigError: it is something else, or the folder holds no adapter.
        PresetError: neither a folder nor a preset has that name.
    """
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"{text!r} is not NAME=FOLDER")
    path = adapter_folder(folder)
    if not (path / ABOUT).is_file():
        raise ConfigError(f"{folder} holds no adapter ({ABOUT}); make one with `python -m training export`")
    return name, path


def rows_of(config: RunConfig, tasks: Sequence[str], most: int, say: Callable[[str], None]) -> list[Row]:
    """The rows to ask: at most so many of each task of the test split."""
    found = chosen_rows(Run(config, Path(config.out), say).rows, tasks, most)
    say(f"{len(found)} questions of {len(by_task(found))} tasks")
    return found


def ask(config: RunConfig, adapter: Path, rows: list[Row]) -> Said:
    """Ask an adapter all rows.

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
        return Said(*score(model, collator, rows, TOLD))


def _shape(model: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in model.items() if k in ("encoders", "branches", "tag_hidden", "tell_likeliest")}


def table(rows: Sequence[Row], said: Mapping[str, Said], known: Sequence[str] = ()) -> list[str]:
    """Markdown: per task what each adapter does, and the last one's differences to the first with their intervals.

    Args:
        known: tasks that the first adapter was trained on; the others are marked as new.
    """
    names = list(said)
    both = f"{names[-1]} minus {names[0]} (95 %)"
    head = ["task", "questions", *(f"{n}, right" for n in names), both, *(f"{n}, nats" for n in names), both]
    tasks = by_task(rows)
    lines = [
        [f"`{task}`{'' if not known or task in known else ' (new)'}", str(len(own)), *_cells(rows, said, own, task)]
        for task, own in tasks.items()
    ]
    groups = {"all known": [t for t in tasks if t in known], "all new": [t for t in tasks if t not in known]}
    for name, own in groups.items() if known else ():
        places = [i for t in own for i in tasks[t]]
        if places:
            lines.append([f"**{name}**", str(len(places)), *_cells(rows, said, places, name)])
    return markdown(head, lines)


def page(lines: Sequence[str], command: str) -> str:
    """The table with what it shows and how it was made."""
    return f"""# Adapters task by task

Test rows of the mix: recordings of packages that training never saw. "Right", in per cent: the true answer is the
likeliest of those that the question allows or, where it allows any, what greedy decoding writes word for word;
sentences are hardly ever met so. Nats a token of the true answer (less is better) tell more there. In brackets 95 %
intervals over source packages, those of a composed scene together.

{chr(10).join(lines)}

Made by

```
{command}
```
"""


def _cells(rows: Sequence[Row], said: Mapping[str, Said], own: Sequence[int], name: str) -> list[str]:
    """Figures of some of the rows; every question counts alike."""
    sources, mask = np.array([r.source for r in rows]), np.zeros(len(rows), bool)
    mask[list(own)] = True
    cells = []
    for values, factor, digits in (
        ([one.right.astype(float) for one in said.values()], 100.0, 1),
        ([one.nats.astype(float) for one in said.values()], 1.0, 2),
    ):
        change = factor * (values[-1] - values[0])
        low, high = interval(change, [mask], sources, name)
        cells += [f"{factor * own_values[mask].mean():.{digits}f}" for own_values in values]
        cells.append(f"{change[mask].mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
    return cells
