"""Checks of a written question and answer, the cheap ones first."""

from __future__ import annotations

from data_prep.generation.grounding import Grounds
from data_prep.generation.reading import Pair, read_grade
from data_prep.generation.wording import (
    MOST_ANSWER,
    MOST_QUESTION,
    agreement,
    fault_of,
    is_refusal,
    is_unknown,
    normal,
    speaks_of_source,
)
from data_prep.generation.work import Made, Rejected, Work

AGREES = 0.5
"""Agreement in words from which two answers say the same."""


def checked(work: Work, pair: Pair, grounds: Grounds | None, answers: bool = True, **meta: object) -> Made | Rejected:
    """The pair, if nothing speaks against it.

    Args:
        grounds: what the answer may name; None: it is not compared with the evidence.
        answers: whether the answer should answer; else it should say that it does not.
    """
    shown = f"Q: {pair.question}\nA: {pair.answer}"
    if fault := wording_fault(pair, answers):
        return Rejected(*fault, shown)
    if grounds and work.plan.checks.grounding and (missing := grounds.missing(pair.answer)):
        return Rejected("not in the evidence", "; ".join(missing), shown)
    if answers and (disagreement := _disagreement(work, pair)):
        return Rejected("inconsistent", disagreement, shown)
    found = dict(meta)
    if work.plan.checks.least_grade:
        grade = grade_of(work, pair)
        if grade is None or grade < work.plan.checks.least_grade:
            return Rejected("judged bad" if grade else "not judged", f"grade {grade}", shown)
        found["grade"] = grade
    return Made(pair.question, pair.answer, found)


def wording_fault(pair: Pair, answers: bool) -> tuple[str, str] | None:
    """Reason and detail of what is wrong with the words alone."""
    for name, text, most in (("question", pair.question, MOST_QUESTION), ("answer", pair.answer, MOST_ANSWER)):
        if fault := fault_of(text, most):
            return fault, name
        if betrayed := speaks_of_source(text):
            return "speaks of its source", betrayed
    if normal(pair.question) == normal(pair.answer):
        return "repeats the question", ""
    unsaid = is_unknown(pair.answer) or is_refusal(pair.answer)
    if answers and unsaid:
        return "no answer", ""
    if not answers and not unsaid:
        return "answers what it should not", ""
    return None


def _disagreement(work: Work, pair: Pair) -> str:
    """How many of the new answers agree, where they are too few."""
    draws = work.plan.checks.draws
    if not draws:
        return ""
    texts = {"evidence": work.evidence, "question": pair.question}
    others = [work.ask("answer", texts, draw, warm=True).text for draw in range(draws)]
    agree = sum(agreement(pair.answer, other) >= AGREES for other in others)
    return "" if agree >= work.plan.checks.agree * draws else f"{agree} of {draws} agree"


def grade_of(work: Work, pair: Pair) -> int | None:
    """The judge's grade from 1 to 5, or None where it gives none that is plain."""
    texts = {"evidence": work.evidence, "question": pair.question, "answer": pair.answer}
    return read_grade(work.ask("judge", texts, asker=work.servers.judge).text)


def without_doubles(pairs: list[Pair]) -> list[Pair]:
    """Pairs whose question is not almost an earlier one."""
    kept: list[Pair] = []
    for pair in pairs:
        if all(agreement(pair.question, other.question) < 0.9 for other in kept):
            kept.append(pair)
    return kept
