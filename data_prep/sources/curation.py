"""Which scanned clips stay: none of a public benchmark, and no recording on two sides of the split."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.corpus import MANIFEST_DIR, Clip
from data_prep.errors import CorpusError
from data_prep.sources.catalog import freesound_numbers
from data_prep.sources.extra_manifest import ExtraClip
from data_prep.sources.likeness import Pictured, groups, near_copies

HELD_OUT_FILE = MANIFEST_DIR / "held_out_freesound.csv"
TEST = "test"


@dataclass
class Curated:
    """Clips that stay, with their groups of near copies, and why the others went."""

    clips: list[ExtraClip] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    """Clip id -> reason."""


def held_out_numbers(path: Path = HELD_OUT_FILE) -> dict[str, str]:
    """Freesound number -> public benchmark that uses that recording."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {row["freesound"]: row["benchmark"] for row in csv.DictReader(stream)}
    except (OSError, KeyError) as fault:
        raise CorpusError(f"{path}: no table of held-out recordings (columns benchmark, freesound)") from fault


def benchmark_of(clip: ExtraClip, held_out: Mapping[str, str]) -> str:
    """The benchmark that uses the recording the clip is credited to, or ''."""
    found = sorted(held_out[number] for number in freesound_numbers(clip.credit) if number in held_out)
    return found[0] if found else ""


def crossing_originals(clips: Sequence[ExtraClip]) -> set[str]:
    """Ids of the test clips whose credited original also has a clip outside the test."""
    sides: dict[str, set[str]] = defaultdict(set)
    for item in clips:
        for number in freesound_numbers(item.credit):
            sides[number].add(item.clip.split)
    return {
        item.clip.id
        for item in clips
        if item.clip.split == TEST and any(sides[number] != {TEST} for number in freesound_numbers(item.credit))
    }


def _less_wanted(first: Clip | Pictured, second: Clip | Pictured) -> str:
    """Of two near copies on two sides, the id that goes: the one in the test."""
    return first.id if first.split == TEST else second.id


def curate(
    clips: Sequence[ExtraClip],
    pictures: Mapping[str, Pictured],
    others: Sequence[Pictured] = (),
    other_groups: Mapping[str, str] | None = None,
    held_out: Mapping[str, str] | None = None,
) -> Curated:
    """Drop clips of benchmarks and copies across the split; name the groups of near copies.

    `others` are clips of the first corpus, which never go; `other_groups` names their groups.
    """
    result = Curated()
    table = held_out_numbers() if held_out is None else held_out
    for item in clips:
        if name := benchmark_of(item, table):
            result.dropped[item.clip.id] = f"its original is in {name}"
    left = [item for item in clips if item.clip.id not in result.dropped]
    for key in crossing_originals(left):
        result.dropped[key] = "its original is also in the training part"
    left = [item for item in left if item.clip.id not in result.dropped]
    pairs = _copies(left, pictures, others, result)
    left = [item for item in left if item.clip.id not in result.dropped]
    result.clips = _grouped(left, pairs, other_groups or {})
    return result


def _copies(
    clips: Sequence[ExtraClip], pictures: Mapping[str, Pictured], others: Sequence[Pictured], result: Curated
) -> list[tuple[str, str]]:
    """Pairs of near copies on one side; a copy across the split is dropped."""
    mine = [pictures[item.clip.id] for item in clips]
    pairs: list[tuple[str, str]] = []
    for a, b in near_copies(mine, others):
        if mine[a].split != others[b].split:
            result.dropped[mine[a].id] = f"near copy of {others[b].id} on another side"
        else:
            pairs.append((mine[a].id, others[b].id))
    for a, b in near_copies(mine, mine):
        if mine[a].split != mine[b].split:
            result.dropped[_less_wanted(mine[a], mine[b])] = "near copy on another side"
        else:
            pairs.append((mine[a].id, mine[b].id))
    return pairs


def _grouped(
    clips: Sequence[ExtraClip], pairs: Sequence[tuple[str, str]], other_groups: Mapping[str, str]
) -> list[ExtraClip]:
    own = {item.clip.id for item in clips}
    sides = {item.clip.id: item.clip.split for item in clips}
    kept = [(a, b) for a, b in pairs if a in own and (b in own or b not in sides)]
    names = groups(sorted(own | {key for pair in kept for key in pair}), kept)
    known = {names[b]: other_groups[b] for _, b in kept if b in other_groups}
    return [
        item.with_clip(dup_group=known.get(names[item.clip.id], f"x-{names[item.clip.id]}"))
        if item.clip.id in names
        else item
        for item in clips
    ]
