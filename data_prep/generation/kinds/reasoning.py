"""Slow thinking: a rationale whose every step rests on named facts, and which ends on the source's own answer."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.generation.asking import CUT
from data_prep.generation.filters import wording_fault
from data_prep.generation.grounding import Grounds
from data_prep.generation.reading import Pair, Step, read_steps
from data_prep.generation.wording import normal
from data_prep.generation.work import Made, Rejected, Work
from data_prep.samples import Asked

MOST_QUESTIONS = 3
MOST_STEPS = 8
NO_STEPS = "no steps in the reply"


def rationales(work: Work) -> Iterator[Made | Rejected]:
    """One for each question that the source brings. The writer is not told the answer, so that it must find it."""
    for number, asked in enumerate(work.sample.questions[:MOST_QUESTIONS]):
        question = asked_in_full(asked)
        reply = work.ask("rationale", {"evidence": work.evidence, "question": question}, number)
        if reply.finish == CUT:
            yield Rejected("cut off", "", reply.text)
            continue
        yield _rationale(work, asked, question, *read_steps(reply.text), reply.text)


def _rationale(
    work: Work, asked: Asked, question: str, steps: list[Step], answer: str, reply: str
) -> Made | Rejected:
    if fault := fault_of_steps(work, question, steps):
        return Rejected(*fault, reply)
    if not is_answer(answer, asked):
        return Rejected("another answer", f"{answer[:80]!r}, not {asked.answer[:80]!r}", reply)
    text = " ".join(step.text for step in steps)
    if fault := wording_fault(Pair(question, text), answers=True):
        return Rejected(*fault, reply)
    cited = [list(step.cited) for step in steps]
    meta = {"rationale": text, "answer": asked.answer, "cites": cited}
    return Made(question, f"{text}\nAnswer: {asked.answer}", meta)


def fault_of_steps(work: Work, question: str, steps: list[Step]) -> tuple[str, str] | None:
    """Reason and detail where a step rests on nothing, or says what the facts that it names do not have."""
    if not steps:
        return NO_STEPS, ""
    if len(steps) > MOST_STEPS:
        return "too many steps", str(len(steps))
    for number, step in enumerate(steps, start=1):
        unknown = [n for n in step.cited if not 1 <= n <= len(work.facts)]
        if not step.cited or unknown:
            return "a step without evidence", f"step {number} names {unknown or 'no fact'}"
        facts = [work.facts[n - 1] for n in step.cited]
        if missing := Grounds.of(facts, question).missing(step.text):
            return "not in the evidence", f"step {number}: {'; '.join(missing)}"
    return None


def asked_in_full(asked: Asked) -> str:
    if not asked.options:
        return asked.question
    return f"{asked.question} Options: {'; '.join(asked.options)}."


def is_answer(said: str, asked: Asked) -> bool:
    """Whether the writer came to one of the source's answers: in the same words, but for case and punctuation."""
    wanted = {normal(text) for text in (asked.answer, *asked.accept)}
    return bool(normal(said)) and normal(said) in wanted
