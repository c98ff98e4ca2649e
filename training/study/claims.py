"""What papers claim, and what the study says of it at its own scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.study.report import FAMILIES, TOLD_ARM, WORDS, Floats, Questions, Scores, figure, interval, markdown


@dataclass(frozen=True)
class Claim:
    """One arm is said to be better than another, or no worse."""

    text: str
    source: str
    better: str
    worse: str
    equal: bool = False
    """The claim is that nothing is lost: it fails if the first is surely worse, and cannot be shown otherwise."""


CLAIMS = (
    Claim("Audio that enters after the early layers serves better than at the input", "PAL", "delayed-8", "prefix"),
    Claim("Keys and values alone lose nothing to audio among the rows", "PAL", "keys-values-8", "delayed-8", True),
    Claim("Some audio among the rows serves better than keys and values alone", "PAL", "hybrid-8", "keys-values-8"),
    Claim("Keys and values serve as well as gated cross-attention", "PAL's reviewers ask", "keys-values-8",
          "cross-attention-8", True),
    Claim("Two encoders hear more than Whisper alone", "SALMONN, PAL, GAMA", "delayed-8", "whisper"),
    Claim("Two encoders hear more than the sound encoder alone", "SALMONN, PAL", "delayed-8", "aisfx"),
    Claim("A curriculum from perception on serves better than everything mixed", "LTU", "delayed-8", "mixed"),
    Claim("A Q-Former serves better than pooled frames and one projection", "GAMA, SALMONN", "delayed-8", "linear-16"),
    Claim("More tokens a window serve better: 32 against 16", "Qwen-Audio keeps many", "tokens-32", "delayed-8"),
    Claim("Four tokens a window are too few", "Qwen-Audio keeps many", "delayed-8", "tokens-4"),
    Claim("An aligner that knows the question serves better", "APT", "question-aware", "single"),
    Claim("Text beside the audio (tags, transcript) helps", "LTU-AS, GAMA", TOLD_ARM, "delayed-8"),
    Claim("Frozen feed-forward blocks lose nothing", "PAL", "delayed-8", "lora-ffn", True),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """How much better the first arm is, each with its 95 % interval."""

    points: tuple[float, float, float]
    """Of answers that are right, the mean of the families: figure, low, high."""
    nats: tuple[float, float, float]
    """A token of the true answer, saved; the mean of the tasks."""
    seeds: int


def compared(claim: Claim, known: Mapping[str, Scores], questions: Questions) -> Found | None:
    """Paired by question and seed; None where one of the arms is not done."""
    if claim.better not in known or claim.worse not in known:
        return None
    own, other = known[claim.better], known[claim.worse]
    seeds = min(len(own.right), len(other.right))
    key = f"{claim.better} over {claim.worse}"
    families = [m for f in FAMILIES for m in _one(questions, f)]
    words = [questions.tasks == w for w in WORDS if (questions.tasks == w).any()]
    points = 100 * (own.right[:seeds] - other.right[:seeds])
    saved = other.nats[:seeds] - own.nats[:seeds]
    each = [m for f in FAMILIES for m in questions.family(f)] + words
    return Found(_with_interval(points, families, questions, key), _with_interval(saved, each, questions, key), seeds)


def _one(questions: Questions, family: str) -> list[np.ndarray]:
    """The questions of a family as one mask."""
    masks = questions.family(family)
    return [np.any(masks, axis=0)] if masks else []


def _with_interval(
    values: Floats, masks: list[np.ndarray], questions: Questions, key: str
) -> tuple[float, float, float]:
    low, high = interval(values, masks, questions.sources, key)
    return figure(values.mean(0), masks), low, high


def verdict(claim: Claim, found: Found) -> str:
    """In words; nothing is told of one seed, whose luck no interval knows."""
    if found.seeds < 2:
        return "cannot be told: one seed"
    signs = {(low > 0) - (high < 0) for _, low, high in (found.points, found.nats)}
    if signs == {1, -1}:
        return "cannot be told: right answers and nats disagree"
    if -1 in signs:
        return "does not hold here"
    if claim.equal:
        return "holds here, and the first is better" if 1 in signs else "nothing is lost that could be seen"
    return "holds here" if 1 in signs else "cannot be told"


def table(known: Mapping[str, Scores], questions: Questions) -> list[str]:
    """Markdown: every claim whose arms are done."""
    rows = []
    for claim in CLAIMS:
        if (found := compared(claim, known, questions)) is not None:
            (points, *ends), (nats, *far) = found.points, found.nats
            rows.append([
                claim.text, claim.source, f"`{claim.better}` over `{claim.worse}`", str(found.seeds),
                f"{points:+.1f} ({ends[0]:+.1f} to {ends[1]:+.1f})", f"{nats:+.3f} ({far[0]:+.3f} to {far[1]:+.3f})",
                f"**{verdict(claim, found)}**",
            ])  # fmt: skip
    return markdown(["claim", "whose", "arms", "seeds", "right answers, points", "nats saved", "at this scale"], rows)
