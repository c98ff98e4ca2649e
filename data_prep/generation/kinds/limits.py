"""Where an answer ends: questions that a recording does not answer, and requests that are declined."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.generation.asking import CUT
from data_prep.generation.filters import checked, without_doubles
from data_prep.generation.grounding import Grounds
from data_prep.generation.prompting import load_pool
from data_prep.generation.reading import Pair, read_pairs, read_yes_no
from data_prep.generation.wording import is_refusal
from data_prep.generation.work import Made, Rejected, Work


def unanswerable(work: Work) -> Iterator[Made | Rejected]:
    """Questions that the evidence leaves open, with an answer that says so; asked back whether it really does."""
    for pair in _asked(work, "no-answer", {"evidence": work.evidence, "count": work.plan.per_sample}):
        if isinstance(pair, Rejected):
            yield pair
            continue
        made = checked(work, pair, Grounds.of(work.facts, pair.question), answers=False)
        yield made if isinstance(made, Rejected) else _open_question(work, made)


def _open_question(work: Work, made: Made) -> Made | Rejected:
    told = read_yes_no(work.ask("answerable", {"evidence": work.evidence, "question": made.question}).text)
    if told is None:
        return Rejected("not judged", "whether it can be answered", made.question)
    return Rejected("can be answered", "", made.question) if told else made


def refusals(work: Work) -> Iterator[Made | Rejected]:
    """One request of a kind that an assistant should decline, and its answer with an offer of what it can do."""
    topics = load_pool("refusal-topics")
    topic = topics[int(work.rng.integers(len(topics)))]
    texts = {"evidence": work.evidence, "topic": topic["request"], "why": topic["why"], "count": 1}
    for pair in _asked(work, "refusal", texts):
        if isinstance(pair, Rejected):
            yield pair
            continue
        made = checked(work, pair, Grounds.of(work.facts, pair.question), answers=False, topic=topic["name"])
        if isinstance(made, Made) and not is_refusal(pair.answer):
            made = Rejected("declines nothing", topic["name"], pair.answer)
        yield made


def _asked(work: Work, prompt: str, texts: dict[str, str | int]) -> Iterator[Pair | Rejected]:
    reply = work.ask(prompt, texts)
    pairs = without_doubles(read_pairs(reply.text, reply.finish == CUT))[: int(texts["count"])]
    if not pairs:
        yield Rejected("no questions in the reply", reply.finish, reply.text)
    yield from pairs
