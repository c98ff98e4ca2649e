"""Two recordings and one question about both: our substitute for NLAR (arXiv 2312.00249), whose data were never
published. It is not NLAR, and figures must not be compared with it.

Every question is asked both ways round, so that always naming the first gives one half; so does always saying yes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from alm.errors import RecordError
from eval.corpus import Clip
from eval.harness import items as harness
from eval.harness.items import Item
from eval.harness.prepared import Prepared
from eval.kinds.base import Measure, Row
from eval.metrics import mean
from eval.suites import asking, figures
from eval.suites.corpus_sets import label_set
from eval.suites.drawing import noise_rng, rng_for
from eval.suites.perturbations import PERTURBATIONS
from eval.suites.studio import RATE_HZ, Canvas, Order, Studio

NAME = "alm-two-clip"
WHICH = ("the first recording", "the second recording")
LOUD_DB, LOUDER_DB = -26.0, 12.0
"""Level of the louder recording, and by how much it is louder."""
COUNTS = (1, 2, 3, 4)
EVENT_SECONDS, GAP_SECONDS = 2.0, 0.35
SPOILED = ("noise-20dB", "bandwidth-4000Hz", "reverberation-300ms")
"""What is done to the second recording of one and the same event."""


def make(order: Order) -> list[Prepared]:
    """Tasks in turn; two questions each time or three, one for every order of the recordings."""
    studio, items = Studio(NAME, order), list[Item]()
    turns = max(len(TASKS), order.items // 2)
    with order.progress("two clips", turns) as advance:
        for number in range(turns):
            task = list(TASKS)[number % len(TASKS)]
            items += TASKS[task](_Turn(studio, task, number))
            advance(1)
    return [studio.finish(items, label_sets=[label_set(studio)])]


class _Turn:
    """Draws and makes what one pair of questions needs."""

    def __init__(self, studio: Studio, task: str, number: int) -> None:
        self.studio, self.pool, self.task = studio, studio.order.pool, task
        self.name = f"{task}-{number:05d}"
        self.rng: random.Random = rng_for(NAME, studio.order.seed, number)
        self.turn = number // len(TASKS)

    def clip(self, name: str) -> Clip:
        return self.pool.clip(self.rng, name)

    def again(self) -> tuple[str, Clip, Clip]:
        """A class and two recordings of it.

        Raises:
            RecordError: no class has two.
        """
        names = [n for n, own in self.pool.clips.items() if len(own) > 1]
        if not names:
            folder = self.pool.corpus.folder
            raise RecordError(f"{folder}: no class has two recordings of the judged split; fetch more of the corpus")
        name = self.rng.choice(names)
        one, other = self.rng.sample(list(self.pool.clips[name]), 2)
        return name, one, other

    def several(
        self, side: str, events: Sequence[tuple[str, Clip]], level_db: float = -22.0, seconds: float | None = None
    ) -> harness.Clip:
        """Events one after the other; the recording ends soon after them if no length is given."""
        canvas = Canvas()
        for number, (name, clip) in enumerate(events):
            onset = canvas.end + (GAP_SECONDS if number else 0.0)
            self.studio.add(canvas, clip, name, onset, EVENT_SECONDS, level_db)
        return self.studio.canvas(f"{self.name}-{side}", canvas, seconds)

    def tags(self, way: int, **more: str) -> Mapping[str, str]:
        return {"task": self.task, "way": "first-second" if way == 0 else "second-first", **more}

    def which(self, question: str, right: harness.Clip, wrong: harness.Clip) -> list[Item]:
        """Which of the two it is, with the right one first and second."""
        return [
            asking.pair(
                f"{self.name}-{way}", question, WHICH, way, [right, wrong] if way == 0 else [wrong, right],
                self.name, self.tags(way), f"order{way}",
            )
            for way in (0, 1)
        ]  # fmt: skip

    def both_ways(self, question: str, yes: bool, one: harness.Clip, other: harness.Clip) -> list[Item]:
        """A question whose answer does not depend on the order."""
        said = asking.YES_NO[not yes]
        return [
            asking.yes_no(f"{self.name}-{way}", question, yes, clips, self.name, self.tags(way, answer=said))
            for way, clips in enumerate(([one, other], [other, one]))
        ]


def _longer(turn: _Turn) -> list[Item]:
    """One event in both, once played as often as makes it clearly longer."""
    name = turn.pool.strangers(turn.rng, 1)[0]
    clip = turn.clip(name)
    once = turn.several("short", [(name, clip)])
    long = turn.several("long", [(name, clip)] * 3)
    return turn.which("Which recording is longer?", long, once)


def _louder(turn: _Turn) -> list[Item]:
    """Two events of different classes at levels far apart."""
    one, other = turn.pool.strangers(turn.rng, 2)
    loud = turn.several("loud", [(one, turn.clip(one))], LOUD_DB)
    soft = turn.several("soft", [(other, turn.clip(other))], LOUD_DB - LOUDER_DB)
    return turn.which("Which recording is louder?", loud, soft)


def _holds(turn: _Turn) -> list[Item]:
    """Which of two recordings holds a sound; the others are the same in both."""
    asked, instead, also = turn.pool.strangers(turn.rng, 3)
    shared = (also, turn.clip(also))
    right = turn.several("with", [shared, (asked, turn.clip(asked))])
    wrong = turn.several("without", [shared, (instead, turn.clip(instead))])
    return turn.which(f"In which recording do you hear {turn.pool.phrase(asked)}?", right, wrong)


def _order(turn: _Turn) -> list[Item]:
    """In which of two recordings of the same two events one comes before the other."""
    one, other = turn.pool.strangers(turn.rng, 2)
    first, second = (one, turn.clip(one)), (other, turn.clip(other))
    right, wrong = turn.several("so", [first, second]), turn.several("reversed", [second, first])
    question = f"In which recording do you hear {turn.pool.phrase(one)} before {turn.pool.phrase(other)}?"
    return turn.which(question, right, wrong)


def _more_often(turn: _Turn) -> list[Item]:
    """In which of two recordings of one length the same event occurs more often."""
    name = turn.pool.strangers(turn.rng, 1)[0]
    clip = turn.clip(name)
    few, many = sorted(turn.rng.sample(COUNTS, 2))
    seconds = many * (EVENT_SECONDS + GAP_SECONDS)
    right = turn.several("many", [(name, clip)] * many, seconds=seconds)
    wrong = turn.several("few", [(name, clip)] * few, seconds=seconds)
    return turn.which(f"In which recording do you hear {turn.pool.phrase(name)} more often?", right, wrong)


def _same_kind(turn: _Turn) -> list[Item]:
    """Whether two recordings, never the same one, are of one class; in every second turn they are."""
    yes = turn.turn % 2 == 0
    name, first, clip = turn.again()
    other = name
    if not yes:
        other = turn.pool.strangers(turn.rng, 1, [name])[0]
        clip = turn.clip(other)
    one, two = turn.several("one", [(name, first)]), turn.several("two", [(other, clip)])
    return turn.both_ways("Do both recordings contain the same kind of sound?", yes, one, two)


def _same_event(turn: _Turn) -> list[Item]:
    """Whether a spoiled recording is of the very event of the other one, or of another event of its class."""
    yes = turn.turn % 2 == 0
    name, first, clip = turn.again()
    one = turn.several("clean", [(name, first)])
    canvas, how = Canvas(), SPOILED[turn.turn // 2 % len(SPOILED)]
    turn.studio.add(canvas, first if yes else clip, name, 0.0, EVENT_SECONDS)
    samples, parts = canvas.mixed()
    spoiler = PERTURBATIONS[how]
    spoiled = spoiler.apply(samples, RATE_HZ, noise_rng(NAME, turn.studio.order.seed, turn.name))
    steps = [{"step": spoiler.family, "level": spoiler.level}]
    two = turn.studio.write(f"{turn.name}-spoiled", spoiled, RATE_HZ, parts, steps)
    question = "One recording may be a worse copy of the other. Do both contain the very same event?"
    return turn.both_ways(question, yes, one, two)


def _count(turn: _Turn) -> list[Item]:
    """How often one event is heard in both recordings together."""
    name, other = turn.pool.strangers(turn.rng, 2)
    clip, extra = turn.clip(name), turn.clip(other)
    few, many = turn.rng.sample(COUNTS, 2)
    one = turn.several("one", [*[(name, clip)] * few, (other, extra)])
    two = turn.several("two", [*[(name, clip)] * many, (other, extra)])
    question = f"How many times do you hear {turn.pool.phrase(name)} in both recordings together?"
    return [
        asking.number(f"{turn.name}-{way}", question, few + many, 0.0, "", clips, turn.name, turn.tags(way))
        for way, clips in enumerate(([one, two], [two, one]))
    ]


def _only(turn: _Turn) -> list[Item]:
    """What one recording has that the other has not; an open question with one right answer."""
    extra, *shared = turn.pool.strangers(turn.rng, 3)
    both = [(name, turn.clip(name)) for name in shared]
    place = turn.rng.randrange(3)
    more = turn.several("more", [*both[:place], (extra, turn.clip(extra)), *both[place:]])
    less = turn.several("less", both)
    question = "Which sound is heard in {} but not in the other one?"
    return [
        asking.label(
            f"{turn.name}-{way}", question.format(WHICH[way]), [turn.pool.phrase(extra)], "corpus",
            [more, less] if way == 0 else [less, more], turn.name, turn.tags(way, **{"class": extra}),
        )
        for way in (0, 1)
    ]  # fmt: skip


def _common(turn: _Turn) -> list[Item]:
    """Which of three sounds is in both recordings; three recordings of two sounds each, every pair of them once."""
    names = turn.pool.strangers(turn.rng, 3)
    clips = {n: turn.clip(n) for n in names}
    without = [
        turn.several(f"without{left}", [(n, clips[n]) for n in turn.rng.sample(names, 3) if n != names[left]])
        for left in range(3)
    ]
    options = [turn.pool.phrase(n) for n in names]
    return [
        asking.choice(
            f"{turn.name}-{shared}", "Which sound is heard in both recordings?", options, shared,
            [without[n] for n in range(3) if n != shared], turn.name, {"task": turn.task},
        )
        for shared in range(3)
    ]  # fmt: skip


TASKS: dict[str, Callable[[_Turn], list[Item]]] = {
    "longer": _longer,
    "louder": _louder,
    "holds": _holds,
    "order": _order,
    "more-often": _more_often,
    "same-kind": _same_kind,
    "same-event": _same_event,
    "count-both": _count,
    "only": _only,
    "common": _common,
}


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Score of each task, and how often all ways of asking are right."""
    found = figures.accuracies(rows, "task")
    sets = [own for own in figures.by_group(rows).values() if len(own) > 1]
    whole = [float(min(map(figures.right, own))) for own in sets]
    return [*found, Measure("both_ways", "right every way round", mean(whole, range(len(whole))))]
