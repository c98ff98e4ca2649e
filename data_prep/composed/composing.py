"""All scenes of a plan, one after the other, going on where an interrupted run stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from alm.errors import RecordError
from data_prep.atomic import remove_leftovers
from data_prep.composed.making import make_scene
from data_prep.composed.plan import ScenePlan
from data_prep.composed.pool import Pool, make_pools
from data_prep.errors import CorpusError
from data_prep.journal import journal
from data_prep.records import SPLITS
from data_prep.sample_files import parse_sample, sample_line
from data_prep.samples import Sample

VERSION = "1"
"""Of how scenes are made; another one makes all of them anew."""
AUDIO = "audio"


class Composer:
    """Makes scenes by split and number. A scene is a pure function of plan, seed, and the samples of its split."""

    def __init__(self, samples: Iterable[Sample], plan: ScenePlan, seed: int, out: Path) -> None:
        self.plan, self.seed, self.out = plan, seed, out.resolve()
        self.pools = make_pools(samples, plan)
        self.lost: dict[str, str] = {}
        """Recordings that could not be read so far, and why."""

    @cached_property
    def keys(self) -> dict[str, str]:
        """Changes with all that scenes of a split depend on, but not with how many of them there are."""
        plan = {k: v for k, v in dataclasses.asdict(self.plan).items() if k != "scenes"}
        said = json.dumps([VERSION, self.seed, plan], sort_keys=True)
        return {
            split: hashlib.sha256(f"{said} {split} {pool.fingerprint}".encode()).hexdigest()
            for split, pool in self.pools.items()
        }

    def pool(self, split: str) -> Pool:
        """The pool of a split; raises `CorpusError` where no sample is of it."""
        if split not in self.pools:
            raise CorpusError(f"no sample of split '{split}' has one label; there are some of {', '.join(self.pools)}")
        return self.pools[split]

    def list_file(self, split: str) -> Path:
        """Where the scenes of a split are listed."""
        self.pool(split)
        return self.out / f"{split}-{self.keys[split][:12]}.jsonl"

    def scene(self, split: str, index: int) -> Sample:
        """Make one scene; its recording is written whole or not at all, and again if it is there."""
        pool = self.pool(split)
        name = f"composed-{split}-{self.keys[split][:12]}-{index:06d}"
        path = self.out / AUDIO / split / f"{index // 1000:03d}" / f"{name}.flac"
        return make_scene(pool, self.plan, name, path, self.lost)


def compose(
    samples: Iterable[Sample],
    plan: ScenePlan,
    seed: int,
    out: Path,
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Sample]:
    """The scenes of a plan, made of the clips of samples; never of two splits at once.

    Listed in `out/SPLIT-KEY.jsonl` as they are made. A run that finds such a list goes on behind its last whole line;
    the same samples, plan and seed give the same bytes, in whatever order the samples come and wherever they lie.

    Raises:
        CorpusError: the samples do not have what the plan wants.
    """
    composer = Composer(samples, plan, seed, out)
    for split in (split for split in SPLITS if plan.scenes.get(split)):
        for sample in scenes_of(composer, split, plan.scenes[split]):
            advance(1)
            yield sample


def scenes_of(composer: Composer, split: str, count: int) -> Iterator[Sample]:
    """The first `count` scenes of a split, those of an earlier run from its list."""
    path = composer.list_file(split)
    remove_leftovers(composer.out / AUDIO / split)
    made: list[Sample] = []

    def is_whole(line: str) -> bool:
        """Whether a line is a scene whose recording is there; it is then the last of `made`."""
        try:
            made[:] = [parse_sample(line, path.parent, str(path))]
        except RecordError:
            return False
        return Path(made[0].audio).is_file()

    with journal(path) as known:
        done = 0
        for _ in known.lines(is_whole):
            done += 1
            if done <= count:
                yield made[0]
        for index in range(done, count):
            sample = composer.scene(split, index)
            known.append(sample_line(sample, composer.out))
            yield sample
