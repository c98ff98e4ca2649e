"""By what a row's answer is graded: what its task and its `meta` say, else the shape of the answer that it teaches.

Every set holds one kind of answer, so that one rule is right for all of it.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eval.corpus import Classes
from eval.harness.items import CaptionWant, ChoiceWant, LabelWant, OpenWant, StructuredWant, TranscriptWant, Want
from eval.kinds.base import LabelSet
from eval.kinds.open import SHORT_WORDS
from eval.kinds.speech_text import normalised
from eval.kinds.wording import core
from eval.rows.reading import InstructionRow
from eval.suites.asking import YES_NO
from eval.suites.temporal import DURATION_TOLERANCE, ONSET_TOLERANCE

SOUNDS = "sounds"
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_SAYS = re.compile(r"(yes|no)\b", re.IGNORECASE)
NORMALISER = "whisper-basic"
SHOWN_AS = {"silence": "silent"}
"""Answers whose wording is another than their name."""


@dataclass(frozen=True)
class Graded:
    """How one row is graded."""

    set: str
    want: Want
    max_tokens: int = 48


@dataclass(frozen=True)
class Facts:
    """What a row alone does not tell."""

    classes: Classes
    closed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """All answers of a task that has few of them."""

    @cached_property
    def sounds(self) -> LabelSet:
        """Classes by their phrases; the bare name and synonyms that belong to no other class are other wordings."""
        every = list(self.classes.by_name.values())
        owners = Counter(w for c in every for w in {core(t) for t in (c.phrase, c.name, *c.synonyms)})
        own = {c.phrase: tuple(w for w in dict.fromkeys((c.name, *c.synonyms)) if owners[core(w)] == 1) for c in every}
        return LabelSet(SOUNDS, own)

    @cached_property
    def phrases(self) -> dict[str, str]:
        """The phrase of a class by its name, and by the phrase itself: rows name sounds either way."""
        every = self.classes.by_name.items()
        return {c.phrase: c.phrase for _, c in every} | {name: c.phrase for name, c in every}


class NoRuleError(Exception):
    """A row that no rule can grade; the text says why."""


Rule = Callable[[InstructionRow, Mapping[str, Any], Facts], Graded]


def closed_answers(rows: Iterable[InstructionRow]) -> dict[str, tuple[str, ...]]:
    """The answers of each task that is told apart by few words (`CLOSED`)."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        answer = row.meta.get("answer")
        if row.task in CLOSED and isinstance(answer, str):
            found[row.task].add(SHOWN_AS.get(answer, answer))
    return {task: tuple(sorted(answers)) for task, answers in found.items()}


def graded(row: InstructionRow, facts: Facts) -> Graded:
    """
    Raises:
        NoRuleError: nothing but a person or a judge could grade it.
    """
    task, meta = _last_turn(row)
    for rule in (RULES.get(task, _by_shape), _by_shape):
        try:
            return rule(row, meta, facts)
        except (LookupError, TypeError, ValueError, OverflowError):
            continue  # `meta` is not as the makers write it: the answer's own shape is left
    raise NoRuleError("no rule grades such an answer")


def _last_turn(row: InstructionRow) -> tuple[str, Mapping[str, Any]]:
    """Task and facts of what is asked last; rows of several turns keep those of each."""
    turns = row.meta.get("turns")
    last = turns[-1] if isinstance(turns, list) and turns else None
    return (str(last.get("task", row.task)), last) if isinstance(last, dict) else (row.task, row.meta)


def _by_shape(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    options = meta.get("options")
    if isinstance(options, list) and len(options) > 1 and meta.get("answer") in options:
        return _options(row, meta, facts)
    if said := _SAYS.match(row.answer):
        return Graded("choice", ChoiceWant(choices=YES_NO, answer=YES_NO.index(said[1].lower())))
    return _words(row, meta, facts)


def _options(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    options = [str(o) for o in meta["options"]]
    return Graded("choice", ChoiceWant(choices=tuple(options), answer=options.index(meta["answer"])))


def _yes_no(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    return Graded("choice", ChoiceWant(choices=YES_NO, answer=YES_NO.index(meta["answer"])))


def _which(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    choices = ORDINALS[: len(row.audios)]
    return Graded("choice", ChoiceWant(choices=choices, answer=choices.index(meta["answer"])))


def _closed(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    choices = facts.closed[_last_turn(row)[0]]
    answer = SHOWN_AS.get(meta["answer"], meta["answer"])
    return Graded("choice", ChoiceWant(choices=choices, answer=choices.index(answer)))


def _count(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    return Graded("count", StructuredWant(form="number", answer=int(meta["answer"]), tolerance=0.0))


def _time(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    return _seconds(meta, ONSET_TOLERANCE)


def _length(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    return _seconds(meta, DURATION_TOLERANCE)


def _seconds(meta: Mapping[str, Any], tolerance: float) -> Graded:
    want = StructuredWant(form="number", answer=_finite(meta["answer"]), unit="s", tolerance=tolerance)
    return Graded("seconds", want)


def _finite(value: Any) -> float:
    if not math.isfinite(seconds := float(value)):
        raise ValueError(f"{seconds} is no time")
    return seconds


def _spans(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    found = meta["answer"] if isinstance(meta["answer"][0], list) else [meta["answer"]]
    spans = [[_finite(start), _finite(end)] for start, end in found]
    return Graded("spans", StructuredWant(form="spans", answer=spans, options={"seconds": row.duration}))


def _table(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    found = [(str(name), _finite(start), _finite(end)) for name, start, end in meta["answer"]]
    events = [{"class": name, "start": start, "end": end} for name, start, end in found]
    options = {"classes": sorted({name for name, _, _ in found}), "seconds": row.duration}
    return Graded("table", StructuredWant(form="events", answer=events, options=options), max_tokens=192)


def _sounds(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    named = meta["answer"] if isinstance(meta["answer"], list) else [meta["answer"]]
    labels = tuple(dict.fromkeys(facts.phrases[n] for n in named))
    return Graded("sounds", LabelWant(labels=labels, label_set=SOUNDS, multi=True, mode="named"), max_tokens=96)


def _said(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    if not normalised(row.answer, NORMALISER):
        raise NoRuleError("no words are said that could be compared")
    want = TranscriptWant(reference=row.answer, language="und", normaliser=NORMALISER)
    return Graded("said", want, max_tokens=128)


def _caption(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    return Graded("caption", CaptionWant(references=(row.answer,)))


def _words(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
    """Any of the accepted answers, where these are a few words."""
    accepted = meta.get("accept") or [meta.get("answer", row.answer)]
    if not all(isinstance(a, str) and 0 < len(core(a).split()) <= SHORT_WORDS for a in accepted):
        raise NoRuleError("the answer is a sentence, which a judge would have to grade")
    return Graded("words", OpenWant(references=tuple(accepted)))


def _none(why: str) -> Rule:
    def rule(row: InstructionRow, meta: Mapping[str, Any], facts: Facts) -> Graded:
        raise NoRuleError(why)

    return rule


def _same(rule: Rule, tasks: str) -> dict[str, Rule]:
    return dict.fromkeys(tasks.split(), rule)


CLOSED = frozenset({"pitch", "energy", "speed", "entailment", "sex", "kind", "language", "nothing"})
RULES: dict[str, Rule] = {
    **_same(_options, "choice few_shot order_first longest louder_of nearer"),
    **_same(_yes_no, "yes_no overlap statement same mentioned speaker_same"),
    **_same(_which, "which which_of_many which_more which_longer louder higher odd_one"),
    **dict.fromkeys(CLOSED, _closed),
    **_same(_count, "count count_sounds speakers"),
    **_same(_time, "when duration"),
    **_same(_length, "event_length overlap_seconds"),
    **_same(_spans, "span grounding quiet"),
    **_same(_table, "event_table"),
    **_same(_sounds, "label label_name label_described instrument at_time order_after order_before while background"),
    **_same(_sounds, "difference order_list"),
    **_same(_said, "transcribe said_at"),
    **_same(_caption, "caption"),
    **_same(_words, "asked about_speech note"),
    "checklist": _none("a list of yes and no, which no rule reads"),
    "absent": _none("a denial in a sentence, which no rule reads"),
}
"""By task of `alm data make`; other tasks go by the shape of the answer."""

