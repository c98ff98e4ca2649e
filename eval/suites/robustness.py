"""The same questions about the same recordings, clean and spoiled in stated ways (`eval.suites.perturbations`)."""

from __future__ import annotations

from collections.abc import Sequence

from alm.audio import load_audio
from eval.corpus import Clip
from eval.harness.items import Item
from eval.harness.prepared import Prepared
from eval.items import CLIP_SECONDS, QUESTION_CHOICE, choice_items
from eval.items import Item as Asked
from eval.kinds.base import Measure, Row
from eval.suites import asking, figures
from eval.suites.drawing import noise_rng
from eval.suites.perturbations import PERTURBATIONS
from eval.suites.studio import Order, Part, Studio, file_name

NAME = "alm-robustness"
CLEAN = "clean"


def make(order: Order) -> list[Prepared]:
    """Which of four, in every condition; sets of four stay whole."""
    studio, items, corpus = Studio(NAME, order), list[Item](), order.corpus
    each = max(4, order.items // (1 + len(PERTURBATIONS)) // 4 * 4)
    base = choice_items(corpus, order.seed)[:each]
    with order.progress("robustness", len(base)) as advance:
        for one in base:
            for condition in (CLEAN, *PERTURBATIONS):
                items.append(_item(studio, one, corpus.by_id[one.id], condition))
            advance(1)
    return [studio.finish(items)]


def _item(studio: Studio, one: Asked, clip: Clip, condition: str) -> Item:
    recording = load_audio(clip.path)
    samples, steps = recording.samples[: round(CLIP_SECONDS * recording.rate)], []
    family, level = CLEAN, ""
    part = Part(clip, one.kind, 0.0, len(samples) / recording.rate)
    if condition != CLEAN:
        spoiler = PERTURBATIONS[condition]
        family, level = spoiler.family, spoiler.level
        samples = spoiler.apply(samples, recording.rate, noise_rng(NAME, studio.order.seed, clip.id, condition))
        steps = [{"step": family, "level": level}]
    name = file_name(f"{one.id}.{condition}")
    audio = studio.write(name, samples, recording.rate, [part], steps)
    options = [o.text for o in one.options]
    tags = {"condition": condition, "family": family, "level": level, "question": one.id}
    return asking.choice(name, QUESTION_CHOICE, options, one.gold, [audio], one.source, tags)


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Score in each condition, and what is lost against the clean recordings, question by question."""
    conditions = figures.by_tag(rows, "condition")
    clean = {r.item.tags["question"]: figures.right(r) for r in conditions.get(CLEAN, [])}
    found = []
    for name in (CLEAN, *PERTURBATIONS):
        if own := conditions.get(name):
            found.append(Measure(f"{name}.score", name, figures.mean_of(own)))
            paired = [r for r in own if r.item.tags["question"] in clean]
            if name != CLEAN and paired:
                loss = figures.mean_of(paired, lambda r: clean[r.item.tags["question"]] - figures.right(r))
                found.append(Measure(f"{name}.loss", f"{name}: lost against clean", loss, better=-1))
    return found
