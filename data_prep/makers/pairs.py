"""Questions about two or more recordings, and few-shot episodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data_prep.makers.base import LETTERS, ORDINALS, Making, Task, Turn
from data_prep.makers.measures import loudness_of, pitch_of
from data_prep.makers.names import Names
from data_prep.makers.sounds import phrases, present
from data_prep.makers.survey import Key, heard, label_key
from data_prep.makers.wording import distinct, plain, seconds_text
from data_prep.phrases import enumeration
from data_prep.records import AUDIO_MARK
from data_prep.samples import Sample
from data_prep.speech_texts import number_words

MANY = (3, 5)
"""Fewest and most recordings where one of many is asked for."""
LONGER_BY = 1.25
LOUDER_BY_DB = 4.0
HIGHER_BY = 1.15
MAX_COMPARED_SECONDS = 60.0
"""Longer recordings are not set side by side."""
TRIES = 12


def apart(sample: Sample, others: Iterable[Sample]) -> bool:
    """Whether the sample is another recording than all of `others`."""
    for other in others:
        if (other.source, other.id) == (sample.source, sample.id) or other.audio == sample.audio:
            return False
        if sample.extras.get("made_of") and set(_made_of(sample)) & set(_made_of(other)):
            return False
    return True


def _made_of(sample: Sample) -> Sequence[str]:
    """Ids of the recordings that the sample was composed of, and its own."""
    found = sample.extras.get("made_of", ())
    return [sample.id, *(str(one) for one in found)] if isinstance(found, list | tuple) else [sample.id]


def another(making: Making, pool: Sequence[Sample], taken: Sequence[Sample]) -> Sample | None:
    """A recording of the pool that is none of those taken, short enough to be compared."""
    fitting = [one for one in pool if short(one) and apart(one, taken) and all(apart(t, [one]) for t in taken)]
    return making.one(fitting) if fitting else None


def short(sample: Sample) -> bool:
    """Whether a listener would hear the sample together with others."""
    return bool(sample.seconds) and (sample.seconds or 0.0) <= MAX_COMPARED_SECONDS


def unlike(names: Names, sample: Sample, others: Sequence[str]) -> bool:
    """Whether nothing in the sample may be taken for one of some labels."""
    return not any(names.related(label, other) for label in present(sample) for other in others)


def _stranger(making: Making, sample: Sample, label: str, taken: Sequence[Sample]) -> Sample | None:
    """A recording of another label, in which `label` is surely not heard and which the sample does not resemble."""
    counts = making.survey.counts(label_key(sample))
    names = making.names.absent(present(sample), counts)
    for _ in range(TRIES if names else 0):
        found = another(making, making.survey.kept(label_key(sample), making.one(names)), taken)
        if found is not None and _surely(making, found) and unlike(making.names, found, [label, *heard(sample)]):
            return found
    return None


def _surely(making: Making, sample: Sample) -> bool:
    return making.surely(sample) or label_key(sample) in making.survey.single


def _one_label(making: Making, sample: Sample) -> str:
    """The label of a recording of one sound, or ''."""
    labels = making.askable(sample)
    return labels[0] if len(labels) == 1 and len(heard(sample)) == 1 and _surely(making, sample) else ""


def _twin(making: Making, sample: Sample, label: str, taken: Sequence[Sample]) -> Sample | None:
    """Another recording with this one label."""
    pool = [one for one in making.survey.kept(label_key(sample), label) if heard(one) == (label,)]
    return another(making, pool, taken)


def same(making: Making, sample: Sample) -> Turn | None:
    """Whether two recordings have the same kind of sound; half have not."""
    label = _one_label(making, sample)
    if not label or not short(sample):
        return None
    x = making.names.phrase(label)
    twin, other = _twin(making, sample, label, [sample]), _stranger(making, sample, label, [sample])
    if twin is None or other is None or len(heard(other)) != 1:
        return None  # where only one answer can be had, neither is asked for: they stay balanced
    if making.coin():
        return Turn(making.ask("same"), making.say("same", x=x), {"answer": "yes"}, (sample, twin))
    y = making.names.phrase(heard(other)[0])
    return Turn(making.ask("same"), making.say("same", "refusals", x=x, y=y), {"answer": "no"}, (sample, other))


def which(making: Making, sample: Sample) -> Turn | None:
    """Which of two recordings has a sound."""
    labels = making.askable(sample)
    if not labels or not short(sample):
        return None
    label = making.one(labels)
    other = _stranger(making, sample, label, [sample])
    if other is None:
        return None
    place = int(making.rng.integers(2))
    x = making.names.phrase(label)
    reply = making.say("which", n=ORDINALS[place], x=x)
    samples = (sample, other) if place == 0 else (other, sample)
    return Turn(making.ask("which", x=x), reply, {"answer": ORDINALS[place], "class": label}, samples)


def which_of_many(making: Making, sample: Sample) -> Turn | None:
    """Which of three to five recordings has a sound."""
    labels = making.askable(sample)
    if not labels or not short(sample):
        return None
    label = making.one(labels)
    row = [sample]
    wanted = min(making.between(MANY), making.plan.max_audios)
    while len(row) < wanted:
        other = _stranger(making, sample, label, row)
        if other is None:
            return None
        row.append(other)
    return _placed(making, "which_of_many", row, label)


def _placed(making: Making, pool: str, row: Sequence[Sample], label: str) -> Turn:
    """The first of `row` is asked for; its place in the question is by chance."""
    order = making.some(row, len(row))
    place = ORDINALS[order.index(row[0])]
    words = {"x": making.names.phrase(label), "k": number_words(len(row))}
    meta = {"answer": place, "class": label}
    return Turn(making.ask(pool, **words), making.say(pool, n=place, **words), meta, tuple(order))


def odd_one(making: Making, sample: Sample) -> Turn | None:
    """Which of three or four recordings is of another kind than the others."""
    label = _one_label(making, sample)
    if not label or not short(sample):
        return None
    other = _stranger(making, sample, label, [sample])
    other_label = _one_label(making, other) if other is not None else ""
    if other is None or not other_label:
        return None
    rest: list[Sample] = []
    for _ in range(making.between((2, 3))):
        twin = _twin(making, other, other_label, [sample, other, *rest])
        if twin is None:
            break
        rest.append(twin)
    if not rest:
        return None
    order = making.some([sample, other, *rest], len(rest) + 2)
    place = ORDINALS[order.index(sample)]
    words = {"n": place, "x": making.names.phrase(label), "y": making.names.phrase(other_label)}
    return Turn(making.ask("odd_one"), making.say("odd_one", **words), {"answer": place}, tuple(order))


def which_longer(making: Making, sample: Sample) -> Turn | None:
    """Which of two recordings is longer."""
    other = another(making, making.survey.whole(), [sample])
    if other is None or not sample.seconds or not other.seconds or not short(sample):
        return None
    lengths = sorted((sample.seconds, other.seconds))
    if lengths[1] < LONGER_BY * lengths[0] + 0.2:
        return None
    pair = tuple(making.some([sample, other], 2))
    place = ORDINALS[int((pair[1].seconds or 0.0) > (pair[0].seconds or 0.0))]
    reply = making.say("which_longer", n=place, x=seconds_text(lengths[1]), y=seconds_text(lengths[0]))
    return Turn(making.ask("which_longer"), reply, {"answer": place}, pair)


def which_more(making: Making, sample: Sample) -> Turn | None:
    """Which of two recordings has more different sounds."""
    other = another(making, making.survey.whole(), [sample])
    if other is None or not short(sample) or not (sample.complete and other.complete):
        return None
    pair = tuple(making.some([sample, other], 2))
    numbers = [len(distinct(making.names.phrase(e.label) for e in one.events if e.label)) for one in pair]
    if not all(numbers) or numbers[0] == numbers[1]:
        return None
    place = ORDINALS[int(numbers[1] > numbers[0])]
    reply = making.say("which_more", n=place, x=number_words(max(numbers)), y=number_words(min(numbers)))
    return Turn(making.ask("which_more"), reply, {"answer": place, "numbers": numbers}, pair)


def difference(making: Making, sample: Sample) -> Turn | None:
    """What the second recording has that the first has not."""
    labels = making.askable(sample)
    if not labels or not making.surely(sample) or not short(sample) or len(labels) != len(heard(sample)):
        return None
    other = _stranger(making, sample, labels[0], [sample])
    if other is None or not making.surely(other):
        return None
    found = phrases(making, labels)
    return Turn(making.ask("difference"), making.say("difference", x=enumeration(found)), {"answer": found},
                (other, sample))  # fmt: skip


def few_shot(making: Making, sample: Sample) -> Turn | None:
    """Examples with names, and one more recording to be named; names may be letters that mean nothing."""
    key, value = _shown_value(making, sample)
    if not value or not short(sample):
        return None
    wanted = making.between(making.plan.shots)
    each = min(making.between(making.plan.examples), (making.plan.max_audios - 1) // wanted)
    groups = _groups(making, sample, key, value, wanted, each)
    if each < 1 or groups is None:
        return None
    values = making.some(sorted(groups), len(groups))
    letters = making.coin(0.3)
    names = {one: LETTERS[k] if letters else _shown(making, key, one) for k, one in enumerate(values)}
    shown = making.some([(one, names[name]) for name, kept in groups.items() for one in kept], each * len(groups))
    lines = "\n".join(f"{AUDIO_MARK} {name}" for _, name in shown)
    question = f"{making.ask('few_shot')}\n{lines}\n{AUDIO_MARK}"
    meta = {"answer": names[value], "options": [names[one] for one in values], "shots": each}
    samples = (*(one for one, _ in shown), sample)
    return Turn(question, making.say("few_shot", x=names[value]), meta, samples)


def _shown(making: Making, key: Key, value: str) -> str:
    return making.names.name(value) if key[0] == "label" else plain(value)


def _shown_value(making: Making, sample: Sample) -> tuple[Key, str]:
    """What the sample may stand as an example of: its one label, its emotion or its genre."""
    label = _one_label(making, sample)
    found = [(label_key(sample), label)] if label else []
    found += [(("emotion", sample.source), sample.voice.emotion)] if sample.voice.emotion else []
    found += [(("genre", sample.source), sample.music.genre[0])] if len(sample.music.genre) == 1 else []
    return making.one(found) if found else (("", ""), "")


def _groups(
    making: Making, sample: Sample, key: Key, value: str, wanted: int, each: int
) -> dict[str, list[Sample]] | None:
    """Examples of the sample's value and of others that cannot be confused with it."""
    groups: dict[str, list[Sample]] = {}
    counts = making.survey.counts(key)
    queue = [value, *making.some(sorted(counts), len(counts))]
    for name in queue[: 1 + 8 * wanted]:
        clear = key[0] != "label" or not any(making.names.related(name, one) for one in groups)
        if name in groups or not clear:
            continue
        kept = _examples(making, sample, key, name, each)
        if len(kept) == each:
            groups[name] = kept
        elif name == value:
            return None
        if len(groups) == wanted:
            return groups
    return None


def _examples(making: Making, sample: Sample, key: Key, value: str, each: int) -> list[Sample]:
    found: list[Sample] = []
    pool = [one for one in making.survey.kept(key, value) if key[0] != "label" or _one_label(making, one) == value]
    for _ in range(each):
        one = another(making, pool, [sample, *found])
        if one is not None:
            found.append(one)
    return found


def speaker_same(making: Making, sample: Sample) -> Turn | None:
    """Whether one person speaks in both recordings; half of the time it is another one of the same sex."""
    who, key = sample.voice.speaker, ("speaker", sample.source)
    twin = another(making, making.survey.kept(key, who), [sample]) if who and short(sample) else None
    rival = _rival(making, sample) if twin is not None else None
    if twin is None or rival is None:
        return None
    if making.coin():
        return Turn(making.ask("speaker_same"), making.say("speaker_same"), {"answer": "yes"}, (sample, twin))
    reply = making.say("speaker_same", "refusals")
    return Turn(making.ask("speaker_same"), reply, {"answer": "no"}, (sample, rival))


def _rival(making: Making, sample: Sample) -> Sample | None:
    """Speech of another person of the same sex."""
    key = ("speaker", sample.source)
    others = [name for name in making.survey.counts(key) if name != sample.voice.speaker]
    for _ in range(TRIES if others else 0):
        found = another(making, making.survey.kept(key, making.one(others)), [sample])
        if found is not None and found.voice.sex == sample.voice.sex:
            return found
    return None


def louder(making: Making, sample: Sample) -> Turn | None:
    """Which of two recordings is louder, by their measured levels."""
    other = another(making, making.survey.whole(), [sample])
    if other is None or not short(sample):
        return None
    mine, theirs = loudness_of(sample), loudness_of(other)
    if mine is None or theirs is None or abs(mine - theirs) < LOUDER_BY_DB:
        return None
    return _greater(making, "louder", sample, other, mine > theirs)


def higher(making: Making, sample: Sample) -> Turn | None:
    """Which of two voices is higher, by their measured pitch."""
    other = another(making, making.survey.whole(), [sample])
    if other is None or not short(sample):
        return None
    mine, theirs = pitch_of(sample), pitch_of(other)
    if mine is None or theirs is None or max(mine, theirs) < HIGHER_BY * min(mine, theirs):
        return None
    return _greater(making, "higher", sample, other, mine > theirs)


def _greater(making: Making, pool: str, sample: Sample, other: Sample, mine: bool) -> Turn:
    pair = tuple(making.some([sample, other], 2))
    place = ORDINALS[int((pair[1] is sample) == mine)]
    return Turn(making.ask(pool), making.say(pool, n=place), {"answer": place}, pair)


def _labelled(sample: Sample) -> bool:
    return bool(sample.labels or sample.events)


def _has_value(sample: Sample) -> bool:
    return _labelled(sample) or bool(sample.voice.emotion or sample.music.genre)


FAMILY = "comparison"
TASKS = (
    Task("same", FAMILY, "two recordings: the same kind?", _labelled, same, 2, by="label", several=True),
    Task("which", FAMILY, "two recordings: which has it?", _labelled, which, 3, by="label", several=True),
    Task("which_of_many", FAMILY, "three to five recordings: which has it?", _labelled, which_of_many, 1, several=True),
    Task("odd_one", FAMILY, "the one of another kind", _labelled, odd_one, 1, by="label", several=True),
    Task("which_longer", FAMILY, "the longer of two", lambda s: bool(s.seconds), which_longer, 0.5, several=True),
    Task("which_more", FAMILY, "more different sounds", lambda s: bool(s.events), which_more, 0.5, several=True),
    Task("difference", FAMILY, "what only the second has", _labelled, difference, 1, by="label", several=True),
    Task("few_shot", FAMILY, "examples with names, then one to name", _has_value, few_shot, 3, several=True),
    Task(
        "speaker_same", FAMILY, "two recordings: the same speaker?",
        lambda sample: bool(sample.voice.speaker), speaker_same, 1, several=True,
    ),
    Task("louder", FAMILY, "the louder of two", lambda s: loudness_of(s) is not None, louder, 0.5, several=True),
    Task("higher", FAMILY, "the higher of two voices", lambda s: pitch_of(s) is not None, higher, 0.5, several=True),
)  # fmt: skip
