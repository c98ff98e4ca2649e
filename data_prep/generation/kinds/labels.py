"""How labels sound: ReCLAP's descriptions in acoustic words, and answers that give label and description."""

from __future__ import annotations

from collections.abc import Iterator

from data_prep.generation.asking import CUT
from data_prep.generation.filters import wording_fault
from data_prep.generation.grounding import vocabulary
from data_prep.generation.prompting import load_pool
from data_prep.generation.reading import Pair, read_list
from data_prep.generation.work import Made, Rejected, Work

MOST_LABELS = 5
LETTERS = (20, 400)


def described_labels(work: Work) -> Iterator[Made | Rejected]:
    """One question on all labels of the sample; each is described anew for every sample out of a few ways."""
    said: dict[str, str] = {}
    faults: list[Rejected] = []
    for label in labels_of(work):
        good, bad = descriptions(work, label)
        faults += bad
        if good:
            said[label] = good[int(work.rng.integers(len(good)))]
    yield from faults
    if said:
        questions = load_pool("description-questions")
        question = questions[int(work.rng.integers(len(questions)))]
        answer = " ".join(f"{label[:1].upper()}{label[1:]}: {text}" for label, text in said.items())
        yield Made(question, answer, {"descriptions": said})


def labels_of(work: Work) -> list[str]:
    named = dict.fromkeys([*(e.label for e in work.sample.events), *work.sample.labels])
    return list(named)[:MOST_LABELS]


def descriptions(work: Work, label: str) -> tuple[list[str], list[Rejected]]:
    """Good and bad descriptions; the same ones for a label in every sample, since the question is the same."""
    reply = work.ask_anywhere("describe", {"label": label, "count": work.plan.per_sample})
    items = read_list(reply.text, reply.finish == CUT)[: work.plan.per_sample]
    good: list[str] = []
    bad = [] if items else [Rejected("no descriptions in the reply", label, reply.text)]
    for item in items:
        fault = _fault(label, item, good)
        if fault:
            bad.append(Rejected(*fault, f"{label}: {item}"))
        else:
            good.append(item)
    return good, bad


def _fault(label: str, item: str, others: list[str]) -> tuple[str, str] | None:
    if item in others:
        return "copies", ""
    if not LETTERS[0] <= len(item) <= LETTERS[1]:
        return "too short or long for a description", f"{len(item)} letters"
    if fault := wording_fault(Pair("How does it sound?", item), answers=True):
        return fault
    if not any(word in item.lower() for word in load_pool("acoustic-words")):
        return "says nothing of the sound", label
    own = {name for mention in vocabulary().find(label) for name in mention.labels}
    foreign = [m.words for m in vocabulary().find(item) if own and not own & set(m.labels)]
    return ("names another sound", ", ".join(foreign)) if len(foreign) > 1 else None
