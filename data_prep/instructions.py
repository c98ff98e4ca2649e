"""Instruction records: which tasks there are, which recordings each takes, and how rows are put together.

Record `index` of a task is a pure function of (seed, split, task, index) and the store: any part can be made again
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from numpy.random import Generator

from data_prep import turns
from data_prep.errors import CorpusError
from data_prep.heard import Context, Heard
from data_prep.phrases import answer
from data_prep.records import AUDIO_MARK, Message, Record
from data_prep.scenes import rng_for
from data_prep.turns import Maker, Turn, ask

ATTEMPTS = 40
STRIDE = 97
"""A recording that does not fit a task is replaced by the one so many places further on."""


@dataclass(frozen=True)
class Draft:
    """A conversation before it becomes a record."""

    items: tuple[Heard, ...]
    turns: tuple[Turn, ...]


Composer = Callable[[Context, Generator, int], Draft | None]


@dataclass(frozen=True)
class Task:
    """One kind of question and its share of the records."""

    name: str
    weight: float
    compose: Composer


def _single(context: Context, rng: Generator, task: str, index: int) -> Heard:
    return context.from_groups(rng, context.singles, task, index)[1]


def _scene(context: Context, rng: Generator, task: str, index: int, *kinds: str) -> Heard:
    groups = {kind: context.of_kind(kind) for kind in kinds}
    return context.from_groups(rng, {kind: items for kind, items in groups.items() if items}, task, index)[1]


def _draft(item: Heard, turn: Turn | None) -> Draft | None:
    return None if turn is None else Draft((item,), (turn,))


def on_single(name: str, maker: Maker) -> Composer:
    """A task on one-sound recordings, balanced over classes."""
    return lambda context, rng, index: _of(maker, context, rng, _single(context, rng, name, index))


def on_scene(name: str, maker: Maker, *kinds: str) -> Composer:
    """A task on scenes of some kinds."""
    return lambda context, rng, index: _of(maker, context, rng, _scene(context, rng, name, index, *kinds))


def on_groups(name: str, maker: Maker, groups: Callable[[Context], dict[str, list[Heard]]]) -> Composer:
    """A task balanced over any grouping of recordings."""
    return lambda context, rng, index: _of(
        maker, context, rng, context.from_groups(rng, groups(context), name, index)[1]
    )


def _of(maker: Maker, context: Context, rng: Generator, item: Heard) -> Draft | None:
    return _draft(item, maker(context, rng, item))


def _yes_no(context: Context, rng: Generator, index: int) -> Draft | None:
    """Even records ask for what is there, odd ones for what is not; half on scenes."""
    if index % 2 and context.of_kind("silence", "noise") and rng.random() < 0.1:
        item = _scene(context, rng, "no", index, "silence", "noise")
    elif (index // 2) % 2 or not context.of_kind("sequence"):
        item = _single(context, rng, "yes_no", index // 2)
    else:
        item = _scene(context, rng, "yes_no", index // 2, "sequence", "mixture", "background")
    if index % 2:
        return _draft(item, turns.no(context, rng, item))
    present = context.askable(item.classes)
    return _draft(item, turns.yes(context, rng, present[int(rng.integers(len(present)))])) if present else None


def _checklist(context: Context, rng: Generator, index: int) -> Draft | None:
    """Odd records are about scenes, where there are any."""
    kinds = ("sequence", "mixture", "background")
    if index % 2 and context.of_kind(*kinds):
        return _of(turns.checklist, context, rng, _scene(context, rng, "checklist", index // 2, *kinds))
    return _of(turns.checklist, context, rng, _single(context, rng, "checklist", index // 2))


def _order(context: Context, rng: Generator, index: int) -> Draft | None:
    maker = (turns.first, turns.listing, turns.after)[index % 3]
    return _of(maker, context, rng, _scene(context, rng, "order", index // 3, "sequence"))


def _caption(context: Context, rng: Generator, index: int) -> Draft | None:
    kinds = ("sequence", "mixture", "background", "repetition")
    item = _single(context, rng, "caption", index) if index % 4 == 3 else _scene(context, rng, "caption", index, *kinds)
    return _of(turns.caption, context, rng, item)


def _talks(context: Context) -> dict[str, list[Heard]]:
    """English speech by origin, so that people are heard as often as machines."""
    human = [item for item in context.talks if not item.synthetic]
    machine = [item for item in context.talks if item.synthetic]
    return {name: items for name, items in (("human", human), ("machine", machine)) if items}


def _told(context: Context) -> dict[str, list[Heard]]:
    facts = {name: [i for i in items if i.speech and i.speech.facts] for name, items in _talks(context).items()}
    return {name: items for name, items in facts.items() if items}


def _kind(context: Context, rng: Generator, index: int) -> Draft | None:
    name, item = context.from_groups(rng, context.by_audio_kind, "kind", index)
    reply = answer("kind", rng, context.split, x=name)
    return Draft((item,), (Turn(ask(context, rng, "kind"), reply, {"answer": name}),))


def _pair(context: Context, rng: Generator, index: int, task: str) -> tuple[str, Heard, str, Heard] | None:
    """Two one-sound recordings of classes that cannot be confused."""
    name, item = context.from_groups(rng, context.singles, task, index)
    others = context.ontology.opposites(item.classes, sorted(context.singles))
    if not others:
        return None
    other = others[int(rng.integers(len(others)))]
    rival = context.pick(rng, context.singles[other])
    return None if set(rival.classes) & set(item.classes) else (name, item, other, rival)


def _same(context: Context, rng: Generator, index: int) -> Draft | None:
    """Even: two recordings of one class. Odd: of two classes."""
    if index % 2:
        pair = _pair(context, rng, index // 2, "same")
        if pair is None:
            return None
        name, item, other, rival = pair
        reply = answer("different", rng, context.split, x=context.phrase(name), y=context.phrase(other))
        return Draft((item, rival), (Turn(ask(context, rng, "same"), reply, {"answer": "no"}),))
    name, item = context.from_groups(rng, context.singles, "same", index // 2)
    mine = {event.clip for event in item.events}
    others = [one for one in context.singles[name] if not mine & {event.clip for event in one.events}]
    if not others:
        return None
    reply = answer("same", rng, context.split, x=context.phrase(name))
    return Draft((item, context.pick(rng, others)), (Turn(ask(context, rng, "same"), reply, {"answer": "yes"}),))


def _which(context: Context, rng: Generator, index: int) -> Draft | None:
    pair = _pair(context, rng, index // 2, "which")
    if pair is None:
        return None
    name, item, _, rival = pair
    items, place = ((item, rival), "first") if index % 2 else ((rival, item), "second")
    phrase = context.phrase(name)
    reply = answer("which", rng, context.split, n=place, x=phrase)
    return Draft(items, (Turn(ask(context, rng, "which", x=phrase), reply, {"answer": place, "class": name}),))


def _absent(context: Context, rng: Generator, index: int) -> Draft | None:
    kinds = ("sequence", "background", "repetition")
    item = _single(context, rng, "absent", index) if index % 2 else _scene(context, rng, "absent", index, *kinds)
    return _of(turns.absent, context, rng, item)


DIALOGUES: dict[str, tuple[Maker, ...]] = {
    "sequence": (turns.listing, turns.count_sounds, turns.first, turns.after, turns.when, turns.yes_no, turns.absent),
    "repetition": (turns.caption, turns.count, turns.yes_no, turns.absent),
    "background": (turns.caption, turns.background, turns.when, turns.yes_no),
    "mixture": (turns.caption, turns.count_sounds, turns.yes_no, turns.absent),
    "utterance": (turns.yes_no, turns.transcribe, turns.about_speech, turns.sex, turns.language),
    "single": (turns.label, turns.yes_no, turns.choice, turns.checklist, turns.absent),
}
"""What can be asked one after the other about one recording."""


def _dialogue(context: Context, rng: Generator, index: int) -> Draft | None:
    """Two or three questions on one recording, in random order."""
    kinds = [kind for kind in DIALOGUES if kind == "single" or context.of_kind(kind)]
    kind = kinds[index % len(kinds)]
    place = index // len(kinds)
    if kind == "single":
        item = _single(context, rng, "dialogue", place)
    else:
        item = _scene(context, rng, f"dialogue-{kind}", place, kind)
    makers = DIALOGUES[kind]
    made = [makers[int(k)](context, rng, item) for k in rng.permutation(len(makers))]
    kept = [turn for turn in made if turn is not None][: int(rng.integers(2, 4))]
    return Draft((item,), tuple(kept)) if len(kept) > 1 else None


TASKS: tuple[Task, ...] = (
    Task("label", 0.14, on_single("label", turns.label)),
    Task("yes_no", 0.14, _yes_no),
    Task("choice", 0.13, on_single("choice", turns.choice)),
    Task("checklist", 0.10, _checklist),
    Task("order", 0.08, _order),
    Task("count", 0.05, on_scene("count", turns.count, "repetition")),
    Task("count_sounds", 0.02, on_scene("count_sounds", turns.count_sounds, "sequence", "mixture", "background")),
    Task("caption", 0.07, _caption),
    Task("when", 0.03, on_scene("when", turns.when, "sequence", "background")),
    Task("background", 0.02, on_scene("background", turns.background, "background")),
    Task("transcribe", 0.05, on_groups("transcribe", turns.transcribe, _talks)),
    Task("about_speech", 0.05, on_groups("about_speech", turns.about_speech, _told)),
    Task("language", 0.03, on_groups("language", turns.language, lambda context: context.by_language)),
    Task("sex", 0.02, on_groups("sex", turns.sex, lambda context: context.by_sex)),
    Task("kind", 0.03, _kind),
    Task("instrument", 0.02, on_groups("instrument", turns.instrument, lambda context: context.instruments)),
    Task("same", 0.02, _same),
    Task("which", 0.03, _which),
    Task("absent", 0.03, _absent),
    Task("nothing", 0.02, on_scene("nothing", turns.nothing, "silence", "noise")),
    Task("dialogue", 0.04, _dialogue),
)


def task_counts(total: int, tasks: tuple[Task, ...] = TASKS) -> dict[str, int]:
    """Records per task, `total` together, by largest remainder."""
    whole = sum(task.weight for task in tasks)
    exact = {task.name: total * task.weight / whole for task in tasks}
    counts = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: (counts[name] - exact[name], name))[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def make_record(context: Context, task: Task, index: int) -> Record | None:
    """Record `index` of a task, or None when no recording of the split fits it."""
    for attempt in range(ATTEMPTS):
        rng = rng_for("record", context.seed, context.split, task.name, index, attempt)
        # A multiple of 12 keeps the place of the index in tasks that alternate by 2, 3, 4 or 6.
        draft = task.compose(context, rng, index + attempt * STRIDE * 12)
        if draft is not None:
            return _assemble(context, task.name, index, draft, rng)
    return None


def _assemble(context: Context, task: str, index: int, draft: Draft, rng: Generator) -> Record:
    marks = AUDIO_MARK * len(draft.items)
    messages: list[Message] = []
    for place, turn in enumerate(draft.turns):
        ahead = context.split != "train" or rng.random() < 0.8
        content = turn.question if place else f"{marks}{turn.question}" if ahead else f"{turn.question}{marks}"
        messages += [Message("user", content), Message("assistant", turn.answer)]
    metas = [turn.meta for turn in draft.turns]
    classes = list(dict.fromkeys(name for item in draft.items for name in item.classes))
    meta = dict(metas[0]) if len(metas) == 1 else {"turns": metas}
    seen = all(name in context.seen for name in classes)
    extra = {
        "classes": classes,
        "seen": seen,
        "recordings": [item.id for item in draft.items],
        "scene": draft.items[0].kind,
    }
    return Record(
        id=f"{context.split}-{task}-{context.seed}-{index:06d}",
        messages=tuple(messages),
        audios=tuple(item.audio for item in draft.items),
        source=" + ".join(dict.fromkeys(name for item in draft.items for name in item.sources)),
        task=task,
        split=context.split,
        licence=" AND ".join(dict.fromkeys(name for item in draft.items for name in item.licences)),
        duration=round(sum(item.seconds for item in draft.items), 3),
        meta=meta | extra,
    )


def make_records(context: Context, total: int, advance: Callable[[int], None] = lambda done: None) -> Iterator[Record]:
    """About `total` records of a split in a mixed order; tasks for which the split has no recordings are left out.

    Equal rows (same question on the same recording with the same answer) are made once.
    """
    made: list[tuple[float, Record]] = []
    seen: set[tuple[tuple[str, ...], tuple[Message, ...]]] = set()
    counts = task_counts(total)
    for task in TASKS:
        for index in range(counts[task.name]):
            record = _try(context, task, index)
            advance(1)
            if record is None:
                break
            if (record.audios, record.messages) not in seen:
                seen.add((record.audios, record.messages))
                made.append((float(rng_for("order", context.seed, record.id).random()), record))
    yield from (record for _, record in sorted(made, key=lambda pair: pair[0]))


def _try(context: Context, task: Task, index: int) -> Record | None:
    """A record, or None when the split has nothing for the task."""
    try:
        return make_record(context, task, index)
    except CorpusError:
        return None
