"""What is known of all samples of a split together: how often labels occur, and recordings to compare with.

A survey is small whatever the number of samples, is made in one pass, and does not depend on their order. With it the
rows of one sample are a pure function of the sample, the plan and the seed, so that any worker can make them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from data_prep.samples import Sample

MAX_VOCABULARY = 3000
"""Values of one closed set that may be asked for."""
MAX_BESIDE = 24
"""Labels that are kept as company of a label."""
SENTIMENTS = ("negative", "neutral", "positive")
WHOLE = ("", "")
"""The pool of all samples."""

Key = tuple[str, str]
"""A field and the closed set that its values are of."""


def place(sample: Sample, *more: object) -> int:
    """A number that depends on the sample's name (and `more`) alone: the order in which samples are taken."""
    text = "\x1f".join((*map(str, more), sample.source, sample.id))
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big")


def label_key(sample: Sample) -> Key:
    """The closed set of the sample's labels."""
    return "label", sample.label_set or sample.source


def heard(sample: Sample) -> tuple[str, ...]:
    """All labels of a sample, those of its events too, each once; a label that is the word said is none."""
    found = (*sample.labels, *(event.label for event in sample.events if event.label))
    said = sample.transcript.strip().lower()
    return tuple(dict.fromkeys(label for label in found if not said or label.strip().lower() != said))


def sentiment_of(sample: Sample) -> str:
    """The sentiment of what is said, where the source tells it."""
    told = sample.extras.get("sentiment")
    return told if isinstance(told, str) and told in SENTIMENTS else ""


def acts_of(sample: Sample) -> list[str]:
    """The acts of dialogue that the source tells, each once."""
    told = sample.extras.get("dialogue_acts")
    return list(dict.fromkeys(a for a in told if isinstance(a, str) and a.strip())) if isinstance(told, list) else []


def values_of(sample: Sample) -> Iterator[tuple[Key, str]]:
    """All values of the sample that belong to a closed set."""
    for label in heard(sample):
        yield label_key(sample), label
    source = sample.source
    singles = {
        "emotion": sample.voice.emotion,
        "speaker": sample.voice.speaker,
        "scene": sample.scene,
        "language": sample.language,
        "sentiment": sentiment_of(sample),
    }
    yield from (((name, source), value) for name, value in singles.items() if value)
    yield from ((("genre", source), value) for value in dict.fromkeys(sample.music.genre))
    yield from ((("act", source), value) for value in acts_of(sample))


def values_in(sample: Sample, field: str) -> list[tuple[Key, str]]:
    """The sample's values of one field."""
    return [(key, value) for key, value in values_of(sample) if key[0] == field]


@dataclass(frozen=True)
class Pool:
    """The samples with one value: how many, and a few of them."""

    count: int
    kept: tuple[Sample, ...]
    """Those that come first by `place`."""


@dataclass(frozen=True)
class Survey:
    """Samples of one split in figures."""

    split: str
    samples: int
    pools: Mapping[Key, Mapping[str, Pool]]
    single: frozenset[Key]
    """Label sets of which every sample has exactly one."""
    beside: Mapping[str, tuple[str, ...]]
    """Labels that occur along with a label, the most frequent first."""
    seen: frozenset[tuple[str, str]] | None
    """Label sets and labels that train has; None when no train sample was given."""

    @cached_property
    def vocabularies(self) -> dict[Key, dict[str, int]]:
        """How often each value occurs that train knows; of very many the most frequent ones."""
        found: dict[Key, dict[str, int]] = {}
        for key, pools in self.pools.items():
            numbers = sorted((-pool.count, name) for name, pool in pools.items() if self.known(key, name))
            found[key] = {name: -number for number, name in numbers[:MAX_VOCABULARY]}
        return found

    def counts(self, key: Key) -> dict[str, int]:
        """The vocabulary of one closed set, the most frequent first."""
        return self.vocabularies.get(key, {})

    def known(self, key: Key, value: str) -> bool:
        """Whether train has the value, as far as is known."""
        return key[0] != "label" or self.seen is None or (key[1], value) in self.seen

    def kept(self, key: Key, value: str) -> tuple[Sample, ...]:
        """A few samples with a value."""
        pool = self.pools.get(key, {}).get(value)
        return pool.kept if pool is not None else ()

    def whole(self) -> tuple[Sample, ...]:
        """A few samples of the whole split."""
        return self.kept(WHOLE, "")


class _Kept:
    """The first samples by `place`, and how many there were; cheap when a sample is not among them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self.items: list[tuple[int, Sample]] = []

    def add(self, rank: int, sample: Sample) -> None:
        self.count += 1
        if len(self.items) >= self.most and rank >= self.items[-1][0]:
            return
        self.items.append((rank, sample))
        self.items.sort(key=lambda pair: pair[0])
        del self.items[self.most :]

    def pool(self) -> Pool:
        return Pool(self.count, tuple(sample for _, sample in self.items))


def survey(samples: Iterable[Sample], split: str, partners: int = 64) -> Survey:
    """Look at all samples once; those of other splits only tell which labels train has."""
    pools: dict[Key, dict[str, _Kept]] = defaultdict(dict)
    beside: dict[str, Counter[str]] = defaultdict(Counter)
    numbers: dict[Key, set[int]] = defaultdict(set)
    seen: set[tuple[str, str]] | None = None
    total = 0
    for sample in samples:
        if sample.split == "train":
            seen = seen if seen is not None else set()
            seen |= {(label_key(sample)[1], label) for label in heard(sample)}
        if sample.split != split:
            continue
        total += 1
        rank = place(sample)
        for key, value in (*values_of(sample), (WHOLE, "")):
            most = 8 * partners if key == WHOLE else partners
            pools[key].setdefault(value, _Kept(most)).add(rank, sample)
        labels = heard(sample)
        numbers[label_key(sample)].add(len(labels))
        for label in labels:
            beside[label].update(other for other in labels if other != label)
    return Survey(
        split=split,
        samples=total,
        pools={key: {value: kept.pool() for value, kept in values.items()} for key, values in pools.items()},
        single=frozenset(key for key, found in numbers.items() if found == {1}),
        beside={label: _most_common(counter) for label, counter in beside.items() if counter},
        seen=frozenset(seen) if seen is not None else None,
    )


def _most_common(counter: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(counter, key=lambda name: (-counter[name], name))[:MAX_BESIDE])
