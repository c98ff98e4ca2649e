"""Recordings of the judged split by class, and which classes may stand beside each other."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from alm.errors import RecordError
from eval.corpus import Clip, Corpus
from eval.items import judged_clips

EVENT_SECONDS_LEAST = 0.1
UNFIT = ("clipped", "very-quiet")
"""Flags of recordings that are not used as an event."""


@dataclass(frozen=True)
class Pool:
    """What a suite draws from; by class, each recording under one."""

    corpus: Corpus
    clips: Mapping[str, Sequence[Clip]]

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Classes that have recordings, by group."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.clips:
            found[self.corpus.classes.group(name)].append(name)
        return dict(found)

    def phrase(self, name: str) -> str:
        return self.corpus.classes.by_name[name].phrase

    def group(self, name: str) -> str:
        return self.corpus.classes.group(name)

    def apart(self, name: str, others: Collection[str]) -> bool:
        """Whether a class is of another group than all others and cannot be taken for one of them."""
        near = self.corpus.classes.excluded(tuple(others))
        return name not in near and self.group(name) not in {self.group(o) for o in others}

    def strangers(self, rng: random.Random, count: int, beside: Sequence[str] = ()) -> list[str]:
        """So many classes that are apart from each other and from those they stand beside; a group first, then a class.

        Raises:
            RecordError: the corpus has too few classes.
        """
        found: list[str] = []
        groups = sorted(self.groups)
        for group in rng.sample(groups, len(groups)):
            fitting = [n for n in self.groups[group] if self.apart(n, [*beside, *found])]
            if fitting and len(found) < count:
                found.append(rng.choice(fitting))
        if len(found) < count:
            raise RecordError(
                f"{self.corpus.folder}: {count} sounds of different groups are wanted and {len(self.groups)} groups "
                f"have recordings of the split {self.corpus.judged}; fetch more of the corpus"
            )
        return found

    def clip(self, rng: random.Random, name: str) -> Clip:
        """Any recording of a class."""
        return rng.choice(list(self.clips[name]))

    @cached_property
    def known(self) -> Counter[str]:
        """Recordings of each class in the training split: what a model trained on the corpus has heard most."""
        return self.corpus.counts("train")

    @cached_property
    def together(self) -> Counter[tuple[str, str]]:
        """In how many packages two classes occur together, either way round."""
        found: dict[str, set[str]] = defaultdict(set)
        for clip in self.corpus.clips:
            found[clip.package].update(n for n in clip.classes if n in self.corpus.classes.by_name)
        return Counter((a, b) for names in found.values() for a in names for b in names if a != b)


def pool_of(corpus: Corpus, seed: int) -> Pool:
    """Recordings fit to be an event: of one class, undamaged and not too short.

    Raises:
        RecordError: there are none.
    """
    found = {n: [c for c in own if _fit(corpus, c)] for n, own in judged_clips(corpus, seed).items()}
    kept = {n: own for n, own in found.items() if own}
    if not kept:
        raise RecordError(
            f"{corpus.folder}: no recording of the split {corpus.judged} is fit to be asked about; "
            "fetch the corpus with `python -m data_prep fetch`"
        )
    return Pool(corpus, kept)


def _fit(corpus: Corpus, clip: Clip) -> bool:
    known = [n for n in clip.classes if n in corpus.classes.by_name]
    return len(known) == 1 and clip.flag not in UNFIT and clip.seconds >= EVENT_SECONDS_LEAST
