"""How much the wording of a question matters: the same questions about the same recordings in several wordings.

The score in a wording is what one would publish after having chosen that wording; the worst is what a user may meet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from eval.harness import items as harness
from eval.harness.items import ChoiceWant, Item
from eval.harness.prepared import Prepared
from eval.items import CLIP_SECONDS, choice_items, presence_items
from eval.kinds.base import Measure, Row
from eval.metrics import mean
from eval.suites import asking, figures
from eval.suites.studio import Order, Studio

NAME = "alm-wording"
CHOICE: Mapping[str, str] = {
    "plain": "Which of these is heard? Options: {options}.",
    "polite": "Could you please tell me which of the following this recording contains? {options}.",
    "imperative": "Name the sound in this recording. Choose from: {options}.",
    "options-first": "{options}: which of them do you hear?",
    "letters": "Which of these is heard?{letters}",
    "numbers": "Pick the sound that you hear and answer with its text.{numbers}",
    "casual": "hey what's that noise, {commas}?",
    "formal": "Identify the acoustic event that is present in the given audio. Candidate events are {commas}. "
    "Reply with one candidate only.",
}
"""Wordings of a question with options; one sentence of ours each."""
PRESENCE: Mapping[str, str] = {
    "plain": "Is {sound} heard here? Answer yes or no.",
    "polite": "Could you please tell me whether there is {sound} in this recording? Answer yes or no.",
    "imperative": "Decide whether this recording contains {sound}. Say yes or no.",
    "colloquial": "do you hear {sound} in this? yes or no",
    "statement": '"This is {sound}." Is that so, yes or no?',
    "sound-first": "{sound}: does this occur in the audio? Reply with yes or no.",
    "formal": "Determine if {sound} is present in the given audio. Respond only with yes or no.",
    "short": "{sound}, yes or no?",
}
"""Wordings of a question for presence."""


def make(order: Order) -> list[Prepared]:
    """Half of the questions have options, half ask for presence; each in every wording."""
    studio, items = Studio(NAME, order), list[Item]()
    corpus = order.corpus
    each = max(4, order.items // (2 * len(CHOICE)) // 4 * 4)
    with order.progress("wording", 2) as advance:
        for one in choice_items(corpus, order.seed)[:each]:
            clip = studio.original(corpus.by_id[one.id], one.kind, CLIP_SECONDS)
            options = tuple(o.text for o in one.options)
            items += _worded(one.id, clip, ChoiceWant(choices=options, answer=one.gold), "choice", one.source)
        advance(1)
        for one in presence_items(corpus, order.seed)[: max(8, each // 8 * 8)]:
            clip = studio.original(corpus.by_id[one.id[:-2]], one.kind, CLIP_SECONDS)
            want, phrase = ChoiceWant(choices=asking.YES_NO, answer=one.gold), order.pool.phrase(one.facts["asked"])
            items += _worded(one.id, clip, want, "presence", one.source, phrase)
        advance(1)
    return [studio.finish(items)]


def _worded(
    name: str, clip: harness.Clip, want: ChoiceWant, task: str, source: str, sound: str = ""
) -> list[Item]:
    """One question in every wording."""
    slots = {"sound": sound} if sound else _option_slots(want.choices)
    templates = PRESENCE if task == "presence" else CHOICE
    return [
        asking.item(
            f"{name}-{task}-{wording}", text.format(**slots), want, [clip], source,
            {"wording": wording, "task": task, "question": f"{name}-{task}"},
        )
        for wording, text in templates.items()
    ]  # fmt: skip


def _option_slots(options: Sequence[str]) -> dict[str, str]:
    return {
        "options": "; ".join(options),
        "commas": f"{', '.join(options[:-1])} or {options[-1]}",
        "letters": "".join(f"\n{'ABCDEFGH'[n]}. {o}" for n, o in enumerate(options)),
        "numbers": "".join(f"\n{n}) {o}" for n, o in enumerate(options, start=1)),
    }


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Mean over wordings, worst and best wording, spread, and how often all or two wordings agree."""
    found = []
    for task, own in figures.by_tag(rows, "task").items():
        by_wording = figures.by_tag(own, "wording")
        scores = {w: figures.mean_of(r) for w, r in by_wording.items()}
        worst, best = (f(scores, key=lambda w: scores[w].value) for f in (min, max))
        found += [
            Measure(f"{task}.mean", f"{task}: mean over {len(scores)} wordings", figures.mean_of(own)),
            Measure(f"{task}.worst", f"{task}: worst wording", scores[worst], note=worst),
            Measure(f"{task}.best", f"{task}: best wording", scores[best], note=best),
            *_consistency(task, own),
        ]
        found += [Measure(f"{task}.{w}", f"{task}: {w}", e) for w, e in scores.items()]
    return found


def _consistency(task: str, rows: Sequence[Row]) -> list[Measure]:
    """How often wordings agree, right or wrong; an answer that names no option agrees with none."""
    questions: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        questions[row.item.tags["question"]].append(row)
    agree, always, groups = [], [], []
    for own in questions.values():
        said = Counter(p for r in own if (p := figures.picked(r)) is not None)
        pairs = len(own) * (len(own) - 1) / 2
        agree.append(sum(n * (n - 1) / 2 for n in said.values()) / pairs if pairs else 1.0)
        always.append(float(np.min([figures.right(r) for r in own])))
        groups.append(own[0].item.cluster)
    return [
        Measure(f"{task}.consistency", f"{task}: two wordings agree", mean(agree, groups)),
        Measure(f"{task}.every", f"{task}: right in every wording", mean(always, groups)),
    ]
