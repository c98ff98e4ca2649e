"""Gaps between groups of speakers: languages and, where the catalogue says so, women and men.

The corpus labels no accents, and most languages have one speaker, so a gap between groups is at first a gap between
voices. Figures say how many speakers stand behind a group; with one there is no interval over speakers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.corpus import Clip
from eval.harness.items import Item
from eval.harness.prepared import Prepared
from eval.kinds.base import Measure, Row
from eval.metrics import RESAMPLES, Estimate
from eval.suites import asking, figures
from eval.suites.corpus_sets import has_words, in_turn, transcript_item
from eval.suites.drawing import rng_for
from eval.suites.studio import Order, Studio

NAME = "alm-fairness"
SEXES = {"female": "a woman", "male": "a man"}
SPEECH = "speech"
GROUP_LEAST = 20
"""Items a group must have to count in a gap."""
SECONDS = 10.0


def make(order: Order) -> list[Prepared]:
    """Is it speech (by language), is it a woman or a man (by sex), and what is said (by both)."""
    studio = Studio(NAME, order)
    tasks = {"speech": _speech(studio), "voice": _voice(studio), "transcript": _transcript(studio)}
    done = []
    with order.progress("fairness", len(tasks)) as advance:
        for name, items in tasks.items():
            if items:
                done.append(studio.finish(items, name))
            advance(1)
    return done


def _spoken(studio: Studio) -> list[Clip]:
    corpus = studio.order.corpus
    return [c for c in corpus.of(corpus.judged) if SPEECH in c.classes and c.language]


def language(clip: Clip) -> str:
    """Without the country."""
    return clip.language.replace("_", "-").split("-")[0]


def speaker(clip: Clip) -> str:
    """Who speaks, as far as the catalogue tells: a name, or else the language of the package."""
    return f"{clip.package}/{clip.speaker or language(clip)}"


def _tags(clip: Clip) -> dict[str, str]:
    return {"language": language(clip)} | ({"sex": clip.sex} if clip.sex else {})


def _speech(studio: Studio) -> list[Item]:
    """Whether a person speaks; as many recordings without speech, which count in no group."""
    pool, rng = studio.order.pool, rng_for(NAME, "speech", studio.order.seed)
    spoken = in_turn(_spoken(studio), language, studio.order.seed)[: studio.order.items // 2]
    near = pool.corpus.classes.excluded((SPEECH,))
    others = [(n, c) for n, own in pool.clips.items() for c in own if n not in near]
    others = rng.sample(others, min(len(spoken), len(others)))
    question, items = "Do you hear a person speaking?", []
    for clip in spoken[: len(others)]:
        recording = studio.original(clip, SPEECH, SECONDS)
        items.append(asking.yes_no(clip.id, question, True, [recording], speaker(clip), _tags(clip)))
    for name, clip in others:
        recording = studio.original(clip, name, SECONDS)
        items.append(asking.yes_no(clip.id, question, False, [recording], clip.package, {}))
    return items


def _voice(studio: Studio) -> list[Item]:
    """A woman or a man: as many of either, the right one listed first in every second question."""
    known = [c for c in _spoken(studio) if c.sex in SEXES]
    each = min(studio.order.items // 2, *(sum(c.sex == s for c in known) for s in SEXES)) // 2 * 2
    items = []
    for sex, right in SEXES.items():
        wrong = next(v for k, v in SEXES.items() if k != sex)
        own = in_turn([c for c in known if c.sex == sex], speaker, studio.order.seed)[:each]
        for number, clip in enumerate(own):
            options = asking.placed(right, [wrong], number % 2)
            recording = studio.original(clip, SPEECH, SECONDS)
            question = "Who is speaking?"
            items.append(
                asking.choice(clip.id, question, options, number % 2, [recording], speaker(clip), _tags(clip))
            )
    return items


def _transcript(studio: Studio) -> list[Item]:
    """What is said, languages and sexes in turn."""
    said = [c for c in _spoken(studio) if has_words(c)]
    chosen = in_turn(said, lambda c: f"{language(c)}/{c.sex}", studio.order.seed)[: studio.order.items]
    return [transcript_item(studio, c, _tags(c)).model_copy(update={"group": speaker(c)}) for c in chosen]


def measures(rows: Sequence[Row]) -> list[Measure]:
    """Our score by group, and the gap between the best and the worst group of at least 20 items.

    Recordings without a group, such as those without speech, are left out.
    """
    found = []
    for tag in ("language", "sex"):
        groups = {k: own for k, own in figures.by_tag(rows, tag).items() if len(own) >= GROUP_LEAST}
        for name, own in groups.items():
            found.append(Measure(f"{tag}.{name}", f"{tag} {name}", figures.mean_of(own), note=_behind(own)))
        if len(groups) > 1:
            found.append(_gap(tag, groups))
    return found


def _behind(rows: Sequence[Row]) -> str:
    count = len({r.item.cluster for r in rows})
    return "one speaker or source" if count == 1 else f"{count} speakers or sources"


def _gap(tag: str, groups: dict[str, list[Row]]) -> Measure:
    means = {k: figures.mean_of(own).value for k, own in groups.items()}
    best, worst = max(means, key=means.__getitem__), min(reversed(means), key=means.__getitem__)
    note = f"{best} against {worst}; {_behind(groups[best])} against {_behind(groups[worst])}"
    return Measure(f"{tag}.gap", f"{tag}: gap", _difference(groups[best], groups[worst]), note=note, better=-1)


def _difference(one: Sequence[Row], other: Sequence[Row]) -> Estimate:
    """Difference of two means, both drawn anew: by item, and by speaker where both have several."""
    values = [[figures.right(r) for r in rows] for rows in (one, other)]
    low, high = _interval([np.array([[v, 1.0] for v in own]) for own in values])
    sums = [_by_speaker(rows) for rows in (one, other)]
    several = all(len(s) > 1 for s in sums)
    by_speaker = _interval(sums) if several else (-np.inf, np.inf)
    value = float(np.mean(values[0]) - np.mean(values[1]))
    count = len(one) + len(other)
    return Estimate(value, low, high, count, *by_speaker, sum(map(len, sums)))


def _by_speaker(rows: Sequence[Row]) -> figures.Counts:
    """Sum and number of each speaker's scores, `[speakers, 2]`."""
    scores = {k: [figures.right(r) for r in own] for k, own in figures.by_group(rows).items()}
    return np.array([[sum(own), len(own)] for own in scores.values()], dtype=np.float64)


def _interval(sums: Sequence[figures.Counts]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = [s[rng.integers(len(s), size=(RESAMPLES, len(s)))].sum(1) for s in sums]
    gaps = drawn[0][:, 0] / drawn[0][:, 1] - drawn[1][:, 0] / drawn[1][:, 1]
    return float(np.quantile(gaps, 0.025)), float(np.quantile(gaps, 0.975))
