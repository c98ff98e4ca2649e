"""The kinds of generated data."""

from __future__ import annotations

from data_prep.generation.facts import Fact
from data_prep.generation.kinds.captions import ASPECTS, refined_captions, rewritten_captions
from data_prep.generation.kinds.labels import MOST_LABELS, described_labels
from data_prep.generation.kinds.limits import refusals, unanswerable
from data_prep.generation.kinds.questions import audio_instructions, complex_reasoning
from data_prep.generation.kinds.reasoning import MOST_QUESTIONS, rationales
from data_prep.generation.work import Kind
from data_prep.samples import Sample


def _known(_: Sample, facts: tuple[Fact, ...]) -> bool:
    return bool(facts)


_LISTENING = ("listen-whether", *(f"listen-{aspect}" for aspect in ASPECTS))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "aig", "open questions and answers from events, times and captions (LTU)",
            audio_instructions, _known, ("aig",), lambda plan, sample: 1,
        ),
        Kind(
            "compa-r", "questions that need thought, over a described scene and examples (CompA-R)",
            complex_reasoning, _known, ("scene", "compa-r"), lambda plan, sample: 2,
        ),
        Kind(
            "captions", "captions from evidence and a listening model, filtered by likeness (AudioSetCaps)",
            refined_captions, _known, ("caption", *_LISTENING),
            lambda plan, sample: plan.checks.tries + 2 * len(ASPECTS),
        ),
        Kind(
            "descriptions", "labels with words for how they sound (ReCLAP)",
            described_labels, lambda sample, _: bool(sample.labels or sample.events), ("describe",),
            lambda plan, sample: min(MOST_LABELS, len({*sample.labels, *(e.label for e in sample.events)})),
        ),
        Kind(
            "rewrite", "the source's captions in other words",
            rewritten_captions, lambda sample, _: bool(sample.captions), ("rewrite",),
            lambda plan, sample: len(sample.captions),
        ),
        Kind(
            "rationale", "reasoning in steps that name their evidence, up to the source's own answer",
            rationales, lambda sample, facts: bool(sample.questions and facts), ("rationale",),
            lambda plan, sample: min(MOST_QUESTIONS, len(sample.questions)),
        ),
        Kind(
            "no-answer", "questions that the recording does not answer, and answers that say so",
            unanswerable, _known, ("no-answer", "answerable"), lambda plan, sample: 1 + plan.per_sample,
        ),
        Kind(
            "refusal", "requests that are declined, with an offer of what can be done",
            refusals, _known, ("refusal",), lambda plan, sample: 1,
        ),
    )
}  # fmt: skip
