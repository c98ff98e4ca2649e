"""Open questions: LTU's audio instruction generation, and CompA-R's way over a described scene."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.generation.asking import CUT
from data_prep.generation.filters import checked, without_doubles
from data_prep.generation.grounding import Grounds
from data_prep.generation.prompting import load_pool
from data_prep.generation.reading import read_pairs, read_text
from data_prep.generation.wording import MOST_ANSWER, fault_of, normal
from data_prep.generation.work import Made, Rejected, Work

EXAMPLES = 3


def audio_instructions(work: Work) -> Iterator[Made | Rejected]:
    """Questions and answers straight from the evidence."""
    texts: dict[str, str | int] = {"evidence": work.evidence, "count": work.plan.per_sample}
    yield from _pairs(work, "aig", texts, Grounds.of(work.facts))


def complex_reasoning(work: Work) -> Iterator[Made | Rejected]:
    """Evidence becomes a described scene; scene, evidence and examples become questions that need thought."""
    scene = read_text(work.ask("scene", {"evidence": work.evidence}).text)
    grounds = Grounds.of(work.facts)
    if fault := fault_of(scene, MOST_ANSWER):
        yield Rejected(f"scene: {fault}", "", scene)
        return
    if work.plan.checks.grounding and (missing := grounds.missing(scene)):
        yield Rejected("scene: not in the evidence", "; ".join(missing), scene)
        return
    pool = load_pool("compa-r-examples")
    chosen = work.rng.choice(len(pool), EXAMPLES, replace=False)
    examples = "\n".join(f"Q: {pool[i]['q']}\nA: {pool[i]['a']}" for i in sorted(chosen))
    texts: dict[str, str | int] = {"evidence": work.evidence, "scene": scene, "examples": examples}
    copied = {normal(pool[i]["q"]) for i in chosen}
    for one in _pairs(work, "compa-r", texts | {"count": work.plan.per_sample}, grounds):
        copies = isinstance(one, Made) and normal(one.question) in copied
        yield Rejected("copies an example", "", one.question) if isinstance(one, Made) and copies else one


def _pairs(work: Work, prompt: str, texts: dict[str, str | int], grounds: Grounds) -> Iterator[Made | Rejected]:
    reply = work.ask(prompt, texts)
    pairs = read_pairs(reply.text, reply.finish == CUT)[: work.plan.per_sample]
    if not pairs:
        yield Rejected("no questions in the reply", reply.finish, reply.text)
    kept = without_doubles(pairs)
    yield from (Rejected("asks twice", "", pair.question) for pair in pairs if pair not in kept)
    for pair in kept:
        yield checked(work, pair, grounds)
