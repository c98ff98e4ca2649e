"""Under which condition a question is asked: as it is, without its recording, or with another one's.

A model that is right as often without the recording, or with a wrong one, did not listen.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from alm.errors import ConfigError
from eval.harness.items import AUDIO_MARK, Clip, Item, Message
from eval.harness.recordings import Sound
from eval.suites.perturbations import PERTURBATIONS


@dataclass(frozen=True)
class Condition:
    """One way to ask the same items; ids and what is wanted stay."""

    name: str
    about: str
    items: Callable[[Sequence[Item]], list[Item]] = list
    """All items of the benchmark under the condition, in the same order."""
    sound: Sound | None = None
    """What is done to each recording."""


def condition(name: str) -> Condition:
    """
    Raises:
        ConfigError: no such condition.
    """
    if name not in CONDITIONS:
        raise ConfigError(f"no condition is called {name!r}; there are: {', '.join(CONDITIONS)}")
    return CONDITIONS[name]


def without_audio(items: Sequence[Item]) -> list[Item]:
    """The same questions, recordings and their marks taken out."""
    return [_silent(item) for item in items]


def _silent(item: Item) -> Item:
    said = tuple(
        Message(role=m.role, content=m.content.replace(AUDIO_MARK, "").strip()) if m.role == "user" else m
        for m in item.messages
    )
    return item.model_copy(update={"messages": said, "audios": ()})


def shuffled(items: Sequence[Item]) -> list[Item]:
    """The same questions about the recordings of another group; the same pairs each time, whatever the order.

    Items that share a recording count as one group, too. Where enough groups have as many recordings, every item's
    recordings go to exactly one other item.

    Raises:
        ConfigError: all items with recordings are of one group.
    """
    group = _joined_groups(items)
    counted: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        counted[len(item.audios)].append(item)
    swapped: dict[str, tuple[Clip, ...]] = {}
    for count, own in counted.items():
        swapped |= _donated(own, group, items) if count else {}
    return [item.model_copy(update={"audios": swapped.get(item.id, ())}) for item in items]


def _joined_groups(items: Sequence[Item]) -> dict[str, str]:
    """Group of each item by id; those joined by a recording have the same."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent[above]
            node = above
        return node

    for item in items:
        for clip in item.audios:
            ends = sorted((root(("group", item.cluster)), root(("clip", clip.path))))
            parent[ends[1]] = ends[0]
    return {item.id: "/".join(root(("group", item.cluster))) for item in items}


def _donated(own: list[Item], group: dict[str, str], everyone: Sequence[Item]) -> dict[str, tuple[Clip, ...]]:
    """Recordings of another group for each item; all items of `own` have equally many."""
    ordered = sorted(own, key=lambda i: (_hash(group[i.id]), group[i.id], _hash(i.id), i.id))
    largest = max(len(list(same)) for _, same in groupby(ordered, key=lambda i: group[i.id]))
    if 2 * largest <= len(ordered):
        turned = ordered[largest:] + ordered[:largest]
        return {item.id: donor.audios for item, donor in zip(ordered, turned, strict=True)}
    return {item.id: _borrowed(item, group, everyone) for item in ordered}


def _borrowed(item: Item, group: dict[str, str], everyone: Sequence[Item]) -> tuple[Clip, ...]:
    """As many recordings of other groups, some perhaps more than once."""
    others = {
        (c.path, c.start, c.end): c for i in everyone if group[i.id] != group[item.id] for c in i.audios
    }
    if not others:
        raise ConfigError(
            "condition shuffled: all recordings belong to one group, so no item can be given another's; leave this "
            "condition out"
        )
    drawn = sorted(others, key=lambda place: (_hash(f"{item.id} {place}"), str(place)))
    return tuple(others[drawn[n % len(drawn)]] for n in range(len(item.audios)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


CONDITIONS = {
    c.name: c
    for c in (
        Condition("heard", "as it is"),
        Condition("text-only", "without the recording", without_audio),
        Condition("shuffled", "with the recording of another group", shuffled),
        *(Condition(p.name, f"{p.family}, {p.level}", sound=p.sound) for p in PERTURBATIONS.values()),
    )
}


def chosen_conditions(wanted: Sequence[str] | None, items: Sequence[Item]) -> list[str]:
    """What was wished for; without a wish all controls that the items allow.

    Raises:
        ConfigError: an unknown condition.
    """
    if wanted:
        return [condition(name).name for name in dict.fromkeys(wanted)]
    if not any(i.audios for i in items):
        return ["heard"]
    groups = {group for i, group in _joined_groups(items).items()}
    return ["heard", "text-only", *(["shuffled"] if len(groups) > 1 else [])]
