"""Captions: refined over what a listener says and filtered by their likeness to the sound; and rewritten ones."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.generation.asking import CUT
from data_prep.generation.facts import Fact, numbered
from data_prep.generation.filters import checked
from data_prep.generation.grounding import Grounds, vocabulary
from data_prep.generation.reading import Pair, read_list, read_text, read_yes_no
from data_prep.generation.wording import agreement, normal
from data_prep.generation.work import Made, Rejected, Work
from data_prep.phrases import QUESTIONS

ASPECTS = ("speech", "music", "sound")
NEAR_COPY = 0.999
LENGTHS = (0.4, 2.5)
"""How long a rewritten caption may be, as a part of the one that it says anew."""


def refined_captions(work: Work) -> Iterator[Made | Rejected]:
    """A caption from the evidence and from what a listener says, written anew until the recording agrees."""
    heard = list(_listened(work)) if work.servers.listener else []
    facts = [*work.facts, *heard]
    question = QUESTIONS["caption"].pick(work.rng, work.sample.split)
    last: Made | Rejected | None = None
    for draw in range(work.plan.checks.tries):
        reply = work.ask("caption", {"evidence": numbered(facts)}, draw, warm=draw > 0)
        if reply.finish == CUT:
            last = Rejected("cut off", "", reply.text)
            continue
        pair = Pair(question, read_text(reply.text))
        last = _like_the_sound(work, checked(work, pair, Grounds.of(facts), listened=[str(f) for f in heard]))
        if isinstance(last, Made):
            break
    assert last is not None
    yield last


def _listened(work: Work) -> Iterator[Fact]:
    """A chain: which aspects there are, and then what each is like."""
    for aspect in ASPECTS:
        if read_yes_no(work.listen("listen-whether", {"aspect": _spoken(aspect)}).text):
            said = read_text(work.listen(f"listen-{aspect}", {}).text)
            if said:
                yield Fact(f"heard {aspect}", said)


def _spoken(aspect: str) -> str:
    return {"speech": "human speech", "music": "music", "sound": "sounds other than speech and music"}[aspect]


def _like_the_sound(work: Work, made: Made | Rejected) -> Made | Rejected:
    measure, least = work.servers.similarity, work.plan.checks.least_similarity
    if measure is None or isinstance(made, Rejected):
        return made
    value = measure(work.sample, made.answer)
    if value is None:
        return Rejected("likeness cannot be told", measure.name, made.answer)
    if value < least:
        return Rejected("unlike the recording", f"{measure.name} {value:.2f}, at least {least:.2f}", made.answer)
    return Made(made.question, made.answer, {**made.meta, "similarity": {measure.name: round(value, 4)}})


def rewritten_captions(work: Work) -> Iterator[Made | Rejected]:
    """The source's captions in other words: nothing lost, nothing added."""
    for number, caption in enumerate(work.sample.captions):
        reply = work.ask("rewrite", {"caption": caption, "count": work.plan.per_sample}, number)
        items = read_list(reply.text, reply.finish == CUT)[: work.plan.per_sample]
        if not items:
            yield Rejected("no captions in the reply", reply.finish, reply.text)
        seen = {normal(caption)}
        for item in items:
            fault = _change(caption, item, seen)
            seen.add(normal(item))
            question = QUESTIONS["caption"].pick(work.rng, work.sample.split)
            pair, grounds = Pair(question, item), Grounds.of((Fact("caption", caption),))
            yield Rejected(*fault, item) if fault else checked(work, pair, grounds, of=caption)


def _change(caption: str, item: str, seen: set[str]) -> tuple[str, str] | None:
    if normal(item) in seen or agreement(caption, item) > NEAR_COPY:
        return "copies", ""
    if not LENGTHS[0] <= len(item) / len(caption) <= LENGTHS[1]:
        return "much longer or shorter", f"{len(item)} letters for {len(caption)}"
    kept = {label for mention in vocabulary().find(item) for label in mention.labels}
    lost = [m.words for m in vocabulary().find(caption) if not kept & set(m.labels)]
    return ("loses something", ", ".join(lost)) if lost else None
