"""Statements to judge, the source's own questions, chapters of long recordings, and calls that may be a fraud."""

from __future__ import annotations

import json
from collections.abc import Sequence

from data_prep.makers.base import Making, Task, Turn, options_text
from data_prep.makers.sounds import absent_label, phrases
from data_prep.makers.survey import label_key
from data_prep.makers.wording import clock_text, distinct, plain, sentence
from data_prep.phrases import enumeration
from data_prep.samples import Asked, Chapter, Sample

MAX_CHAPTERS = 60
MAX_OPTIONS = 8
MIN_SUMMARY_WORDS = 3
"""A cue sheet's chapter names its performer there."""
CHAPTER_MARGIN_SECONDS = 5.0
VERDICTS = {"fraud": True, "normal": False, "true": True, "false": False}


def entailment(making: Making, sample: Sample) -> Turn | None:
    """Whether a statement follows from the recording, goes against it, or is open; each a third."""
    labels = making.askable(sample)
    found = absent_label(making, sample, making.one(making.plan.negatives)) if making.surely(sample) else None
    if not labels or found is None:
        return None
    verdict = making.one(("entailment", "contradiction", "neutral"))
    there = making.names.phrase(making.one(labels))
    statement = making.names.phrase(found[0]) if verdict == "contradiction" else there
    text = _neutral(making, there) if verdict == "neutral" else f"There is {statement}."
    reply = making.say("entailment", verdict, y=enumeration(phrases(making, labels)))
    return Turn(making.ask("entailment", x=text), reply, {"answer": verdict, "statement": text})


def _neutral(making: Making, there: str) -> str:
    """What is heard, with something besides that nobody can hear."""
    form = "unheard" if making.split == "train" else "unheard_held"
    forms = making.book["entailment"].said[form]
    return making.one(forms).format(x=there)


def asked(making: Making, sample: Sample) -> Turn | None:
    """One of the questions that the source brings, in its own words."""
    found = making.one(sample.questions)
    question, answer = plain(found.question), plain(found.answer)
    if not question or not answer:
        return None
    meta = {"accept": distinct(plain(text) for text in found.accept if plain(text)), "asked": found.task}
    meta = {name: value for name, value in meta.items() if value}
    if len(options := _options(found)) > 1:
        listed, reply, style = options_text(making, options, answer)
        more = {"answer": answer, "options": options, "correct": options.index(answer), "style": style}
        return Turn(question + listed, reply, more | meta)
    return Turn(question, answer, {"answer": answer} | meta)


def _options(found: Asked) -> list[str]:
    """The source's options when the answer is one of them and letters suffice."""
    options = distinct(plain(option) for option in found.options)
    return options if plain(found.answer) in options and len(options) <= MAX_OPTIONS and "" not in options else []


def _chapters(sample: Sample) -> list[Chapter]:
    found = [chapter for chapter in sample.chapters if plain(chapter.title)]
    return sorted(found, key=lambda chapter: chapter.onset)


def chapters(making: Making, sample: Sample) -> Turn | None:
    """All chapters with start times and titles."""
    found = _chapters(sample)
    if not 2 <= len(found) <= MAX_CHAPTERS:
        return None
    text = "\n".join(f"{clock_text(one.onset)} {plain(one.title)}" for one in found)
    table = [[round(one.onset, 1), plain(one.title)] for one in found]
    return Turn(making.ask("chapters"), making.say("chapters", x=text), {"answer": table})


def _only_title(found: Sequence[Chapter], chapter: Chapter) -> bool:
    return sum(plain(one.title) == plain(chapter.title) for one in found) == 1


def chapter_at(making: Making, sample: Sample) -> Turn | None:
    """Which chapter covers a moment that is not near a border."""
    found = _chapters(sample)
    if len(found) < 2:
        return None
    place = int(making.rng.integers(len(found)))
    start = found[place].onset + CHAPTER_MARGIN_SECONDS
    end = found[place + 1].onset if place + 1 < len(found) else sample.seconds
    if end is None or end - CHAPTER_MARGIN_SECONDS <= start:
        return None
    time = clock_text(float(making.rng.uniform(start, end - CHAPTER_MARGIN_SECONDS)))
    title = plain(found[place].title)
    reply = making.say("chapter_at", x=title, t=time)
    return Turn(making.ask("chapter_at", t=time), reply, {"answer": title, "time": time})


def chapter_when(making: Making, sample: Sample) -> Turn | None:
    """When a chapter begins that is not the first."""
    found = _chapters(sample)
    later = [one for one in found[1:] if _only_title(found, one)]
    if not later:
        return None
    chapter = making.one(later)
    time = clock_text(chapter.onset)
    meta = {"answer": round(chapter.onset, 1), "title": plain(chapter.title)}
    return Turn(making.ask("chapter_when", x=plain(chapter.title)), making.say("chapter_when", t=time), meta)


def chapter_summary(making: Making, sample: Sample) -> Turn | None:
    """What a chapter is about."""
    found = _chapters(sample)
    told = [one for one in found if len(one.summary.split()) >= MIN_SUMMARY_WORDS and _only_title(found, one)]
    if not told:
        return None
    chapter = making.one(told)
    text = sentence(chapter.summary)
    reply = making.say("chapter_summary", y=text)
    return Turn(making.ask("chapter_summary", x=plain(chapter.title)), reply, {"answer": text})


def _verdict(value: object) -> bool | None:
    return value if isinstance(value, bool) else VERDICTS.get(str(value).lower())


def _with_thinking(making: Making, sample: Sample, pool: str, key: str, value: object) -> Turn:
    """The answer as JSON, after the source's own thoughts where they belong to this one question."""
    thoughts = sample.extras.get("thinking")
    known = [name for name in ("is_fraud", "fraud_type", "scene") if name in sample.extras]
    answer = json.dumps({key: value}, ensure_ascii=False)
    question, meta = making.ask(pool), {"answer": value, "key": key}
    about = known == [key] or (len(sample.questions) == 1 and key in sample.questions[0].question)
    own = isinstance(thoughts, list | tuple) and len(thoughts) == 1 and about
    if not own or not isinstance(thoughts, list | tuple) or not plain(str(thoughts[0])):
        return Turn(question, making.say(pool, x=answer), meta)
    thinking = plain(str(thoughts[0]))
    told = making.say(pool, x=f"<think>{thinking}</think>\n{answer}")
    return Turn(f"{question} {making.say(pool, 'thinking')}", told, meta | {"thinking": True})


def fraud(making: Making, sample: Sample) -> Turn | None:
    """Whether a call is a fraud."""
    verdict = _verdict(sample.extras.get("is_fraud"))
    return None if verdict is None else _with_thinking(making, sample, "fraud", "is_fraud", verdict)


def fraud_type(making: Making, sample: Sample) -> Turn | None:
    """Of what type a fraud is."""
    name = sample.extras.get("fraud_type")
    known = isinstance(name, str) and plain(name) and _verdict(sample.extras.get("is_fraud")) is not False
    return _with_thinking(making, sample, "fraud_type", "fraud_type", plain(str(name))) if known else None


def call_scene(making: Making, sample: Sample) -> Turn | None:
    """What a call is about."""
    name = sample.extras.get("scene")
    known = isinstance(name, str) and plain(name)
    return _with_thinking(making, sample, "call_scene", "scene", plain(str(name))) if known else None


def _labelled(sample: Sample) -> bool:
    return bool(sample.labels or sample.events) and bool(label_key(sample))


def _parted(sample: Sample) -> bool:
    return bool(sample.chapters)


TASKS = (
    Task("entailment", "reasoning", "a statement: entailed, contradicted or open", _labelled, entailment, 3),
    Task("asked", "own", "the source's own questions", lambda s: bool(s.questions), asked, 8, pools=("-",)),
    Task("chapters", "chapters", "all chapters with times", _parted, chapters, 2, kind="analysis", times=True),
    Task("chapter_at", "chapters", "the chapter at a moment", _parted, chapter_at, 1, times=True),
    Task("chapter_when", "chapters", "when a chapter begins", _parted, chapter_when, 1, times=True),
    Task("chapter_summary", "chapters", "what a chapter is about", _parted, chapter_summary, 1),
    Task("fraud", "calls", "whether a call is a fraud", lambda s: "is_fraud" in s.extras, fraud, 2, kind="analysis"),
    Task("fraud_type", "calls", "type of fraud", lambda s: "fraud_type" in s.extras, fraud_type, 1, kind="analysis"),
    Task("call_scene", "calls", "what a call is about", lambda s: "scene" in s.extras, call_scene, 1, kind="analysis"),
)
