"""Questions and answers about one recording. Every maker gives None when its question does not fit the recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.random import Generator

from data_prep.heard import POPULAR, Context, Heard
from data_prep.phrases import QUESTIONS, answer, capital, enumeration, sequence
from data_prep.scenes import UNCLEAR
from data_prep.speech_texts import number_words

LETTERS = "ABCD"
CHOICE_STYLES = {"text": 0.45, "lettered": 0.35, "letter": 0.2}
"""Layouts of a choice and their shares."""
CHECKLIST = (4, 8)
"""Fewest and most sounds of a checklist."""
NEGATIVES = ("random", "group", "popular")
NOISE_CLASS = "static noise"
"""What plain noise may fairly be called."""


@dataclass(frozen=True)
class Turn:
    """One question with its answer; `meta` says how to score it."""

    question: str
    answer: str
    meta: dict[str, Any] = field(default_factory=dict)


Maker = Callable[[Context, Generator, Heard], Turn | None]


def ask(context: Context, rng: Generator, name: str, **words: str) -> str:
    """One phrasing of a question with its blanks filled."""
    return QUESTIONS[name].pick(rng, context.split).format(**words)


def _main_class(context: Context, item: Heard) -> str:
    """The class of a one-sound recording, or ''."""
    names = context.askable(item.events[0].classes[:1]) if len(item.events) == 1 else []
    return names[0] if names else ""


def _scoring(context: Context, name: str) -> dict[str, Any]:
    kind = context.ontology.by_name[name]
    return {"answer": name, "accept": [kind.phrase, *kind.synonyms], "group": kind.group}


def label(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """What is heard, in a sentence or as a bare name."""
    name = _main_class(context, item)
    if not name:
        return None
    scoring = _scoring(context, name)
    if rng.random() < 0.35:
        return Turn(ask(context, rng, "label_short"), name, scoring | {"style": "name"})
    reply = answer("label", rng, context.split, x=context.phrase(name))
    return Turn(ask(context, rng, "label"), reply, scoring | {"style": "sentence"})


def absent_class(context: Context, rng: Generator, item: Heard, strategy: str) -> str | None:
    """A class surely not in the recording: any, one of the same group, or a popular one."""
    among = {"popular": context.askable(POPULAR)}.get(strategy, context.vocabulary)
    known = [name for name in item.classes if name in context.ontology.by_name]
    absent = context.ontology.opposites(known + ([NOISE_CLASS] if item.kind == "noise" else []), among)
    if strategy == "group" and known:
        group = context.group(known[0])
        absent = [name for name in absent if context.group(name) == group]
    return absent[int(rng.integers(len(absent)))] if absent else None


def yes_no(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """Whether a sound is there; half of the questions are about a sound that is not."""
    present = context.askable(item.classes)
    if present and not set(item.classes) & UNCLEAR and rng.random() < 0.5:
        return yes(context, rng, present[int(rng.integers(len(present)))])
    return no(context, rng, item)


def yes(context: Context, rng: Generator, name: str) -> Turn:
    """A question about a sound that is there."""
    phrase = context.phrase(name)
    reply = answer("yes", rng, context.split, x=phrase)
    return Turn(ask(context, rng, "yes_no", x=phrase), reply, {"answer": "yes", "class": name})


def no(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """A question about a sound that is not there."""
    strategy = NEGATIVES[int(rng.integers(len(NEGATIVES)))]
    name = absent_class(context, rng, item, strategy) or absent_class(context, rng, item, "random")
    if name is None:
        return None
    phrase = context.phrase(name)
    heard = enumeration(item.phrases) if item.phrases else ""
    reply = answer("no" if heard else "no_nothing", rng, context.split, x=phrase, y=heard)
    return Turn(ask(context, rng, "yes_no", x=phrase), reply, {"answer": "no", "class": name, "negative": strategy})


def checklist(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """Several sounds, each with yes or no: many decisions for one reading of the recording."""
    if set(item.classes) & UNCLEAR:
        return None
    chosen = context.askable(item.classes)
    present = set(chosen)
    wanted = int(rng.integers(CHECKLIST[0], CHECKLIST[1] + 1))
    for _ in range(4 * wanted):
        name = absent_class(context, rng, item, NEGATIVES[int(rng.integers(len(NEGATIVES)))])
        if name is not None and name not in chosen:
            chosen.append(name)
        if len(chosen) >= wanted:
            break
    if len(chosen) < CHECKLIST[0]:
        return None
    names = [chosen[int(k)] for k in rng.permutation(len(chosen))]
    worded = wordings(context, rng, names)
    said = ["yes" if name in present else "no" for name in names]
    reply = "; ".join(f"{text}: {word}" for text, word in zip(worded, said, strict=True)) + "."
    return Turn(ask(context, rng, "checklist", options="; ".join(worded)), reply, {"answer": said, "options": names})


def _distractors(context: Context, rng: Generator, item: Heard, name: str, hard: bool) -> list[str]:
    """Three other classes, of one group with the right one when `hard`, else of other groups; none confusable."""
    chosen: list[str] = []
    group = context.group(name)
    while len(chosen) < 3:
        left = context.ontology.opposites([*item.classes, *chosen], context.vocabulary)
        fitting = [other for other in left if (context.group(other) == group) == hard] or left
        if not fitting:
            return []
        chosen.append(fitting[int(rng.integers(len(fitting)))])
    return chosen


def choice(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """Four options, one right; lettered or not."""
    name = _main_class(context, item)
    hard = bool(rng.random() < 0.4)
    others = _distractors(context, rng, item, name, hard) if name else []
    if not others:
        return None
    worded = wordings(context, rng, [name, *others])
    options = [worded[int(k)] for k in rng.permutation(4)]
    return choose(context, rng, options, worded[0], hard)


def wordings(context: Context, rng: Generator, names: list[str]) -> list[str]:
    """Classes as people may write them: as phrases, in train also by name or by a synonym, all in the same way.

    Synonyms that two of the classes share would make two options one, so phrases stand in for them.
    """
    phrases = [context.phrase(name) for name in names]
    way = rng.random() if context.split == "train" else 0.0
    if way < 0.5:
        return phrases
    kinds = [context.ontology.by_name[name] for name in names]
    pools = [[k.name] if way < 0.7 or not k.synonyms else list(k.synonyms) for k in kinds]
    worded = [pool[int(rng.integers(len(pool)))] for pool in pools]
    return worded if len(set(worded)) == len(worded) else phrases


def choose(context: Context, rng: Generator, options: list[str], right: str, hard: bool) -> Turn:
    """A question with `options`, asked in one of several layouts.

    The answer is the option's text, a letter only where the question asks for it: small language models bind a sound to
    a text far sooner than to a letter.
    """
    style = str(rng.choice(tuple(CHOICE_STYLES), p=tuple(CHOICE_STYLES.values())))
    if style == "text":
        listed, reply = " Options: " + "; ".join(options) + ".", right
    else:
        mark = ("{}) ", "{}. ", "({}) ")[int(rng.integers(3))]
        listed = "".join(f"\n{mark.format(key)}{text}" for key, text in zip(LETTERS, options, strict=False))
        listed += "\nAnswer with the letter only." if style == "letter" else ""
        reply = LETTERS[options.index(right)] if style == "letter" else right
    meta = {"answer": right, "options": options, "correct": options.index(right), "hard": hard, "style": style}
    return Turn(ask(context, rng, "choice", options=listed), reply, meta)


def _ordered(item: Heard) -> bool:
    return item.kind == "sequence" and len(item.events) >= 2 and len(item.phrases) == len(item.events)


def first(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """Which of two sounds comes first; the order of naming is by chance."""
    if not _ordered(item):
        return None
    places = sorted(int(k) for k in rng.choice(len(item.events), 2, replace=False))
    early, late = (item.events[k].phrase for k in places)
    named = [early, late] if rng.random() < 0.5 else [late, early]
    reply = answer("first", rng, context.split, x=early)
    return Turn(ask(context, rng, "first", x=named[0], y=named[1]), reply, {"answer": early, "options": named})


def after(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """Which sound follows another."""
    if not _ordered(item):
        return None
    place = int(rng.integers(len(item.events) - 1))
    x, y = item.events[place].phrase, item.events[place + 1].phrase
    return Turn(ask(context, rng, "after", x=x), answer("after", rng, context.split, y=y), {"answer": y})


def listing(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """All sounds in order."""
    if not _ordered(item):
        return None
    reply = f"First {sequence_words(item.phrases)}."
    return Turn(ask(context, rng, "list"), reply, {"answer": item.phrases, "ordered": True})


def sequence_words(phrases: list[str]) -> str:
    """'a, then b, then c'."""
    return ", then ".join(phrases)


def count(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """How many times one event occurs."""
    if item.kind != "repetition" or not item.events or len(item.phrases) != 1:
        return None
    number = len(item.events)
    form = "count_one" if number == 1 else "count"
    reply = answer(form, rng, context.split, n=number_words(number))
    return Turn(ask(context, rng, "count", x=item.phrases[0]), reply, {"answer": number})


def count_sounds(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """How many different sounds there are."""
    if item.kind not in ("sequence", "mixture", "background") or len(item.phrases) < 2:
        return None
    words = {"n": number_words(len(item.phrases)), "list": enumeration(item.phrases)}
    reply = answer("count_sounds", rng, context.split, **words)
    return Turn(ask(context, rng, "count_sounds"), reply, {"answer": len(item.phrases)})


def describe(item: Heard) -> str:
    """A caption of what is known to be heard, or ''."""
    parts = item.phrases
    if item.kind == "background" and len(parts) == 2:
        below = next(event.phrase for event in item.events if event.background)
        above = next(phrase for phrase in parts if phrase != below)
        return f"{above} with {below} in the background"
    if item.kind == "mixture" and len(parts) > 1:
        return f"{enumeration(parts)} at the same time"
    if item.kind == "repetition" and parts:
        times = len(item.events)
        return parts[0] if times == 1 else f"{parts[0]}, {number_words(times)} times"
    if item.kind == "clip" and item.description:
        return item.description
    return sequence(parts) if parts else ""


def caption(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """The recording in one sentence."""
    text = describe(item)
    if not text:
        return None
    meta = {"answer": text, "phrases": item.phrases, "ordered": item.kind == "sequence"}
    return Turn(ask(context, rng, "caption"), capital(text) + ".", meta)


def when(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """When a sound starts, for sounds that do not start with the recording."""
    late = [event for event in item.events if event.onset >= 0.5 and item.phrases.count(event.phrase) == 1]
    if item.kind not in ("sequence", "background") or not late:
        return None
    event = late[int(rng.integers(len(late)))]
    reply = answer("when", rng, context.split, t=f"{event.onset:.1f}")
    return Turn(ask(context, rng, "when", x=event.phrase), reply, {"answer": event.onset, "phrase": event.phrase})


def background(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """The sound that lasts."""
    below = [event for event in item.events if event.background]
    if not below or len(item.phrases) < 2:
        return None
    reply = answer("background", rng, context.split, x=below[0].phrase)
    return Turn(ask(context, rng, "background"), reply, {"answer": below[0].phrase})


def transcribe(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """The spoken words."""
    if item.speech is None or not item.speech.text:
        return None
    return Turn(ask(context, rng, "transcribe"), capital(item.speech.text), {"answer": item.speech.text})


def about_speech(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """A question about something that is said."""
    if item.speech is None or not item.speech.facts:
        return None
    fact = item.speech.facts[int(rng.integers(len(item.speech.facts)))]
    return Turn(fact.question, fact.answer, {"answer": fact.short, "transcript": item.speech.text})


def language(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """The spoken language."""
    if item.speech is None or not item.speech.language:
        return None
    name = item.speech.language
    return Turn(ask(context, rng, "language"), answer("language", rng, context.split, x=name), {"answer": name})


def sex(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """Whether a man or a woman speaks."""
    if item.speech is None or not item.speech.sex:
        return None
    who = {"female": "a woman", "male": "a man"}[item.speech.sex]
    return Turn(ask(context, rng, "sex"), answer("sex", rng, context.split, x=who), {"answer": who})


def instrument(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """The musical instrument."""
    name = _main_class(context, item)
    if not name or context.group(name) != "instrument":
        return None
    reply = answer("instrument", rng, context.split, x=context.phrase(name))
    return Turn(ask(context, rng, "instrument"), reply, _scoring(context, name))


def absent(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """A question that takes a sound for granted that is not there; the answer says so."""
    strategy = NEGATIVES[int(rng.integers(len(NEGATIVES)))]
    name = absent_class(context, rng, item, strategy) or absent_class(context, rng, item, "random")
    if name is None or not item.phrases:
        return None
    phrase = context.phrase(name)
    reply = answer("absent", rng, context.split, x=phrase, y=enumeration(item.phrases))
    meta = {"answer": "absent", "class": name, "negative": strategy}
    return Turn(ask(context, rng, "absent", x=phrase), reply, meta)


def nothing(context: Context, rng: Generator, item: Heard) -> Turn | None:
    """What is heard in silence or plain noise."""
    if item.kind not in ("silence", "noise"):
        return None
    name = ("label", "caption")[int(rng.integers(2))]
    return Turn(ask(context, rng, name), answer(item.kind, rng, context.split), {"answer": item.kind})
