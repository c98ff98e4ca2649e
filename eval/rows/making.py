"""From files of instruction rows to prepared benchmarks, one folder for each kind of answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alm.errors import ConfigError, RecordError
from eval.corpus import CLASSES_FILE, read_classes
from eval.harness.answers import Answered
from eval.harness.items import BenchCard, Clip, Item, Lost, Message
from eval.harness.prepared import Prepared, write_prepared
from eval.kinds import KINDS
from eval.kinds.base import Surroundings
from eval.rows.reading import InstructionRow, read_rows
from eval.rows.wants import SOUNDS, Facts, Graded, NoRuleError, closed_answers, graded
from eval.suites.drawing import rng_for
from eval.suites.studio import file_sha256

NAME, VERSION = "rows", "1"
OWN_LEAST = 0.5
"""Grade that a row's own answer must reach."""
Step = Callable[[int, int], None]


@dataclass(frozen=True)
class RowsOrder:
    """What is asked for."""

    files: tuple[Path, ...]
    out: Path
    """Folder in which a folder for each set is made."""
    split: str = "test"
    most: int = 40
    """Questions of each task."""
    tasks: tuple[str, ...] = ()
    """All if there are none."""
    seed: int = 0
    classes: Path = CLASSES_FILE


@dataclass(frozen=True)
class Made:
    """What became of the rows."""

    sets: tuple[Prepared, ...]
    lost: Mapping[str, Counter[str]]
    """Reasons why rows were left out, with their number, by task."""


def make(order: RowsOrder, step: Step = lambda done, total: None) -> Made:
    """Draw rows of every task and write them as prepared benchmarks.

    Raises:
        ConfigError: files of several folders were given, or an unknown task.
        RecordError: a row is wrong, occurs twice, or not one can be graded.
    """
    rows = drawn(_checked(order), order)
    facts = Facts(read_classes(order.classes), closed_answers(r for r, _ in rows))
    sets: dict[str, list[tuple[InstructionRow, str, Graded]]] = defaultdict(list)
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    for row, group in rows:
        try:
            found = graded(row, facts)
            own_answer_passes(row, found, facts)
        except NoRuleError as why:
            lost[row.task][str(why)] += 1
        else:
            sets[found.set].append((row, group, found))
    root = order.files[0].parent.resolve()
    hashes = _hashes(root, sorted({a for own in sets.values() for row, _, _ in own for a in row.audios}), step)
    made = [_written(order, root, name, own, lost, hashes, facts) for name, own in sets.items()]
    if not made:
        raise RecordError(f"{order.files[0]}: not one row of the split {order.split!r} can be graded; {_told(lost)}")
    return Made(tuple(made), dict(lost))


def _checked(order: RowsOrder) -> list[tuple[InstructionRow, str]]:
    """All rows of the split, each with the group that it shares errors with."""
    folders = {f.parent.resolve() for f in order.files}
    if len(folders) != 1:
        raise ConfigError(
            f"files of {len(folders)} folders were given ({', '.join(sorted(map(str, folders)))}); recordings are "
            "below the folder of their file, so make the rows of each folder by itself"
        )
    found, seen = list[tuple[InstructionRow, str]](), set[str]()
    for file in order.files:
        rows = list(read_rows(file, order.split))
        # One source for all says nothing about which errors belong together: then it is the recordings.
        several = len({r.source for r in rows}) > 1
        for row in rows:
            if row.id in seen:
                raise RecordError(f"{file}: the row {row.id!r} occurs twice; give each file once")
            seen.add(row.id)
            found.append((row, row.source if several else " + ".join(row.recordings)))
    if unknown := sorted(set(order.tasks) - {r.task for r, _ in found}):
        there = ", ".join(sorted({r.task for r, _ in found})) or "none"
        raise ConfigError(f"no rows of the task {unknown[0]!r} in the split {order.split!r}; there are {there}")
    return found


def drawn(rows: Sequence[tuple[InstructionRow, str]], order: RowsOrder) -> list[tuple[InstructionRow, str]]:
    """At most so many rows of each task, the same ones for the same seed whatever the order of the files."""
    by_task: dict[str, list[tuple[InstructionRow, str]]] = defaultdict(list)
    for row, group in sorted(rows, key=lambda r: r[0].id):
        if not order.tasks or row.task in order.tasks:
            by_task[row.task].append((row, group))
    found = []
    for task in sorted(by_task):
        own = by_task[task]
        found += rng_for(NAME, order.seed, task).sample(own, min(order.most, len(own)))
    return found


def own_answer_passes(row: InstructionRow, found: Graded, facts: Facts) -> None:
    """
    Raises:
        NoRuleError: the answer that the row teaches would not pass; rounded times may cost a part of their overlap.
    """
    item = Item(id=row.id, messages=(Message(role="user", content="?"),), want=found.want)
    around = Surroundings({SOUNDS: facts.sounds})
    scored = KINDS[found.want.kind].score(item, Answered(id=row.id, key="", text=row.answer), (), around)
    if scored.robust is not None and scored.robust < OWN_LEAST:
        raise NoRuleError("its own answer is not what its facts accept")


def _hashes(root: Path, paths: Sequence[str], step: Step) -> dict[str, str]:
    """SHA-256 of each recording; empty where there is none."""
    found = {}
    for number, path in enumerate(paths, start=1):
        found[path] = file_sha256(root / path) if (root / path).is_file() else ""
        step(number, len(paths))
    return found


def _written(
    order: RowsOrder,
    root: Path,
    name: str,
    rows: Sequence[tuple[InstructionRow, str, Graded]],
    lost: dict[str, Counter[str]],
    hashes: Mapping[str, str],
    facts: Facts,
) -> Prepared:
    items = []
    for row, group, found in rows:
        if all(hashes[a] for a in row.audios):
            items.append(_item(row, group, found, hashes))
        else:
            lost[row.task]["a recording is not there"] += 1
    missing = len(rows) - len(items)
    used = {c.path: c.sha256 for i in items for c in i.audios}
    card = BenchCard(
        bench=f"{NAME}-{name}",
        version=VERSION,
        split=order.split,
        licence=" AND ".join(sorted({row.licence for row, _, _ in rows})),
        source=f"rows of {', '.join(f.name for f in order.files)}, at most {order.most} of a task, seed {order.seed}",
        items=len(items),
        lost=(Lost(reason="a recording is not there", count=missing),) if missing else (),
        files=used,
        data_root=str(root),
    )
    return write_prepared(order.out / name, card, items, [facts.sounds] if name == SOUNDS else [])


def _item(row: InstructionRow, group: str, found: Graded, hashes: Mapping[str, str]) -> Item:
    return Item(
        id=row.id,
        messages=row.messages[:-1],
        audios=tuple(Clip(path=a, sha256=hashes[a]) for a in row.audios),
        want=found.want,
        group=group,
        tags={"task": row.task},
        max_tokens=found.max_tokens,
    )


def _told(lost: Mapping[str, Counter[str]]) -> str:
    return "; ".join(lines(lost)) or "there is none of it"


def lines(lost: Mapping[str, Counter[str]]) -> Iterable[str]:
    """What was left out and why, a line for each task and reason."""
    for task in sorted(lost):
        for why, count in lost[task].most_common():
            yield f"{task}: {count} left out, {why}"
