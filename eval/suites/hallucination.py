"""Does it hear what is not there? Yes-or-no questions about sounds that are heard and sounds that are not.

After POPE (Li et al. 2023), which asks about objects in pictures: absent sounds are random, popular (frequent in the
training split) or adversarial (of the same group, most often in the same packages). Unlike there, questions come in
fours over two recordings that differ in one sound, x against y: each is asked for in both. So every question is right
with yes exactly as often as with no, and its words tell nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from alm.errors import RecordError
from eval.harness.items import Item
from eval.harness.prepared import Prepared
from eval.kinds.base import Measure, Row
from eval.suites import asking, figures
from eval.suites.drawing import rng_for
from eval.suites.figures import Counts
from eval.suites.pool import Pool
from eval.suites.studio import Canvas, Order, Studio

NAME = "alm-hallucination"
KINDS = ("random", "popular", "adversarial")
POPULAR = 24
"""The most frequent classes count as popular."""
RIVALS = 3
"""Adversarial sounds are among the so many most often met together."""
OTHERS = 2
"""Further sounds in both recordings."""
TRIES = 200


def make(order: Order) -> list[Prepared]:
    """Questions in fours, kinds in turn."""
    studio, items = Studio(NAME, order), list[Item]()
    fours = max(len(KINDS), order.items // 4)
    with order.progress("hallucination", fours) as advance:
        for number in range(fours):
            items += _four(studio, KINDS[number % len(KINDS)], number)
            advance(1)
    return [studio.finish(items)]


def _four(studio: Studio, kind: str, number: int) -> list[Item]:
    pool, rng = studio.order.pool, rng_for(NAME, studio.order.seed, number)
    two = rivals(pool, kind, rng)
    others = pool.strangers(rng, OTHERS, two)
    items, place = [], rng.randrange(OTHERS + 1)
    clips = {name: pool.clip(rng, name) for name in (*two, *others)}
    gaps = [rng.uniform(0.1, 0.5) for _ in range(OTHERS)]
    for turn, there in enumerate(two):
        canvas = Canvas()
        for step, name in enumerate((*others[:place], there, *others[place:])):
            onset = canvas.end + (gaps[step - 1] if step else 0.0)
            studio.add(canvas, clips[name], name, onset, seconds=2.0)
        recording = studio.canvas(f"{number:05d}-{'xy'[turn]}", canvas)
        for asked in two:
            tags = {"negatives": kind, "group": pool.group(asked), "class": asked}
            question = f"Do you hear {pool.phrase(asked)}?"
            name = f"{number:05d}-{'xy'[turn]}-{'xy'[two.index(asked)]}"
            items.append(asking.yes_no(name, question, asked == there, [recording], f"{number:05d}", tags))
    return items


def rivals(pool: Pool, kind: str, rng: random.Random) -> tuple[str, str]:
    """Two sounds, one of which is heard and the other one not.

    Raises:
        RecordError: the corpus has no two such classes.
    """
    popular = [n for n, _ in pool.known.most_common() if n in pool.clips][:POPULAR]
    for _ in range(TRIES):
        names = popular if kind == "popular" else pool.groups[rng.choice(sorted(pool.groups))]
        first = rng.choice(names)
        second = _second(pool, kind, first, popular)
        if second:
            return first, rng.choice(second)
    raise RecordError(f"{pool.corpus.folder}: no two classes for {kind} absent sounds; fetch more of the corpus")


def _second(pool: Pool, kind: str, first: str, popular: Sequence[str]) -> list[str]:
    near = pool.corpus.classes.excluded((first,))
    if kind == "adversarial":
        kin = [n for n in pool.groups[pool.group(first)] if n not in near]
        return sorted(kin, key=lambda n: (-pool.together[first, n], n))[:RIVALS]
    return [n for n in (popular if kind == "popular" else pool.clips) if pool.apart(n, (first,))]


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Accuracy, yes rate, precision, recall and F1 of "yes", for each kind of absent sounds.

    An answer that says neither is wrong and no yes; it counts among the sounds that were missed.
    """
    found = []
    for kind, own in figures.by_tag(rows, "negatives").items():
        counts, groups = [_counts(r) for r in own], [r.item.cluster for r in own]
        found.append(Measure(f"{kind}.accuracy", f"{kind}: accuracy", figures.mean_of(own)))
        for key, label, of in (
            ("yes_rate", "yes rate", lambda s: figures.share_of(s[:, 0] + s[:, 1], s[:, 3])),
            ("precision", "precision of yes", precision),
            ("recall", "recall of yes", recall),
            ("f1", "F1 of yes", f1),
        ):
            better = 0 if key == "yes_rate" else 1
            found.append(Measure(f"{kind}.{key}", f"{kind}: {label}", figures.ratio(counts, groups, of), better=better))
    return found


def _counts(row: Row) -> tuple[float, float, float, float]:
    """Heard and said, not heard and said, heard and not said, one."""
    said, there = figures.picked(row) == "yes", figures.gold(row) == "yes"
    return float(said and there), float(said and not there), float(there and not said), 1.0


def precision(sums: Counts) -> Counts:
    """Of what is said to be heard, how much is."""
    return figures.share_of(sums[:, 0], sums[:, 0] + sums[:, 1])


def recall(sums: Counts) -> Counts:
    """Of what is heard, how much is said to be."""
    return figures.share_of(sums[:, 0], sums[:, 0] + sums[:, 2])


def f1(sums: Counts) -> Counts:
    """Harmonic mean of both."""
    return figures.share_of(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2])
