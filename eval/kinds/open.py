"""Free answers: by a judge's grades, by constraints that a program checks, or by one-word answers that they hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import eval.official as official
from eval.harness.answers import Answered, Judged, Scored, Status
from eval.harness.items import AUDIO_MARK, Item, JudgeSpec, OpenWant
from eval.judges.prompting import JudgePrompt, judge_prompt
from eval.judges.reading import pair_in
from eval.kinds.arrived import Arrived, arrived
from eval.kinds.base import Measure, Row, Surroundings, Table
from eval.kinds.choice import official_measures, official_verdict
from eval.kinds.wording import core, words
from eval.metrics import mean, share
from eval.rules import passes
from eval.text import holds

SHORT_WORDS = 3
"""Longest accepted answer that is looked for in a longer one."""


def want_of(item: Item) -> OpenWant:
    assert isinstance(item.want, OpenWant), item.want.kind
    return item.want


@dataclass(frozen=True)
class Graded:
    """The grades of one answer put together."""

    grade: float | None
    """On the prompt's scale; None: some are missing."""
    missing: int
    apart: float
    """How far the two orders are apart."""


def put_together(prompt: JudgePrompt, judged: Sequence[Judged]) -> Graded:
    """The mean over the orders of the raters' mean, without the best and the worst of them where the prompt says so."""
    by_order: dict[int, list[float]] = defaultdict(list)
    for one in judged:
        if one.grade is not None:
            by_order[one.order].append(one.grade)
    orders = (0, 1) if prompt.swap else (0,)
    missing = sum(max(0, prompt.raters - len(by_order[o])) for o in orders)
    if missing:
        return Graded(None, missing, 0.0)
    means = [trimmed(by_order[o], prompt.trim) for o in orders]
    return Graded(sum(means) / len(means), 0, max(means) - min(means))


def trimmed(grades: Sequence[float], trim: int) -> float:
    """Mean without the `trim` lowest and highest.

    >>> trimmed([1.0, 0.2, 0.4, 0.6, 0.0], 1)
    0.4000000000000001
    """
    kept = sorted(grades)[trim : len(grades) - trim] if len(grades) > 2 * trim else sorted(grades)
    return sum(kept) / len(kept)


def above_reference(judged: Sequence[Judged]) -> float:
    """1 where the judge's grades of the answer are above the reference's, both orders together."""
    gap = 0.0
    for one in judged:
        if one.grade is not None and (pair := pair_in(one.raw, (1.0, 10.0))):
            gap += (pair[1] - pair[0]) * (1 if one.order == 0 else -1)
    return float(gap > 0)


def scores_single(item: Item) -> bool:
    """Whether the benchmark has a rule for single answers."""
    rule = official.OFFICIAL.get(item.official)
    return bool(rule and rule.one)


class Open:
    """See the module. An answer whose grades are not all there is unjudged, and no figure counts it."""

    name = "open"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        came, want = arrived(answered), want_of(item)
        status, robust, parts = self._worth(item, came, judged)
        verdict = official_verdict(item, came.given, judged, around) if status != "unjudged" else None
        if verdict and not verdict.counted:
            parts["left_out"] = 1.0
        worth = verdict.value if verdict else None
        if worth is None and status not in ("read", "unjudged") and scores_single(item):
            worth = 0.0  # nobody judges what is no answer
        return Scored(
            id=item.id,
            status=status,
            value=parts.get("grade"),
            rule="judge" if want.judge else "rules" if want.rules else "words",
            official=worth,
            robust=robust,
            parts=parts,
        )

    def _worth(
        self, item: Item, came: Arrived, judged: Sequence[Judged]
    ) -> tuple[Status, float | None, dict[str, float]]:
        want = want_of(item)
        prompt = judge_prompt(want.judge.prompt) if want.judge else None
        if came.status is not None and not (came.status == "refused" and prompt and prompt.refusals):
            return came.status, 0.0, {}
        parts = {f"rule:{r.get('rule')}": float(passes(came.text, r)) for r in want.rules}
        if prompt and want.judge:
            found = put_together(prompt, judged)
            if found.grade is None:
                return "unjudged", None, {**parts, "ungraded": float(found.missing)}
            return "read", on_scale(found.grade, want.judge) * min([1.0, *parts.values()]), {
                **parts,
                "grade": found.grade,
                "apart": found.apart,
                **({"above_reference": above_reference(judged)} if prompt.reads == "pair" else {}),
            }
        if parts:
            return "read", sum(parts.values()) / len(parts), parts
        if accepted := short_references(want):
            parts = one_word(came.text, accepted)
            return "read", parts["contained"], parts
        return "read", None, parts

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        rows = sorted(rows, key=lambda r: r.item.id)  # sums of floats and draws depend on the order
        found = official_measures(rows, around)
        for name in sorted({r.item.official for r in rows}):
            rule = official.OFFICIAL.get(name)
            if rule and rule.together:
                found += rule.together([r for r in rows if r.item.official == name], around)
        return [*found, *_robust(rows), *_grades(rows), *_rules(rows), *_words(rows)]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        return [t for t in (_histogram(rows),) if t.rows]

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        asked = item.messages[-1].content.replace(AUDIO_MARK, "").strip()
        return {"echo": asked} if asked else {}


def on_scale(grade: float, spec: JudgeSpec) -> float:
    """A grade from 0 to 1."""
    low, high = spec.scale
    return min(1.0, max(0.0, (grade - low) / (high - low)))


def short_references(want: OpenWant) -> tuple[str, ...]:
    """Accepted answers of a few words; none where one is longer."""
    short = all(len(r.split()) <= SHORT_WORDS for r in want.references)
    return want.references if short else ()


def one_word(text: str, accepted: Sequence[str]) -> dict[str, float]:
    """Whether an answer is one of the accepted ones, and whether it holds one as whole words.

    "Yes" and "no" are looked for in the first word alone: "no" may stand anywhere.

    >>> one_word("It is a dog.", ["dog", "a puppy"]), one_word("Yes, no doubt", ["no"])["contained"]
    ({'exact': 0.0, 'contained': 1.0}, 0.0)
    """
    said, cores = core(text), [core(a) for a in accepted]
    first = said.split(" ", 1)[0]
    held = [first == c if c in ("yes", "no") else holds(words(text), c) or holds(said, c) for c in cores]
    return {"exact": float(said in cores), "contained": float(any(held))}


def _robust(rows: Sequence[Row]) -> list[Measure]:
    kept = [r for r in rows if r.scored.robust is not None]
    waiting = sum(r.scored.status == "unjudged" for r in rows)
    note = f"incomplete: {waiting} of {len(rows)} answers wait for a judge and are not in it" if waiting else ""
    if not kept:
        return []
    values, sources = [r.scored.robust or 0.0 for r in kept], [r.item.cluster for r in kept]
    return [Measure("robust", "mean score", mean(values, sources), note=note)]


def _grades(rows: Sequence[Row]) -> list[Measure]:
    """The judge's own scale, with nothing said graded lowest; share above the bar; what the order of two decides."""
    groups: dict[str, list[tuple[Row, JudgeSpec]]] = defaultdict(list)
    for row in rows:
        if (spec := want_of(row.item).judge) and row.scored.status != "unjudged":
            groups[spec.prompt].append((row, spec))
    found = []
    for name, own in sorted(groups.items()):
        prompt, key = judge_prompt(name), f"{name}:" if len(groups) > 1 else ""
        grades = [r.scored.parts.get("grade", s.scale[0]) for r, s in own]
        sources = [r.item.cluster for r, _ in own]
        low, high = prompt.scale
        note = f"{low:g} to {high:g}; prompt {name} {prompt.hash}"
        found.append(Measure(f"{key}grade", "mean grade", mean(grades, sources), "", note))
        if bars := [(g >= s.bar, c) for g, (_, s), c in zip(grades, own, sources, strict=True) if s.bar is not None]:
            good = share([b for b, _ in bars], [c for _, c in bars])
            found.append(Measure(f"{key}above", "grade at or above the bar", good))
        if prompt.swap:
            apart = mean([r.scored.parts.get("apart", 0.0) for r, _ in own], sources)
            found.append(Measure(f"{key}apart", "grades apart by order", apart, "", better=-1))
    return found


def _rules(rows: Sequence[Row]) -> list[Measure]:
    ruled = [r for r in rows if want_of(r.item).rules and not want_of(r.item).judge]
    if not ruled:
        return []
    kept = [min([r.scored.robust == 1.0, *_checks(r)], default=False) for r in ruled]
    return [Measure("rules", "all constraints kept", share(kept, [r.item.cluster for r in ruled]))]


def _checks(row: Row) -> list[bool]:
    return [bool(v) for k, v in row.scored.parts.items() if k.startswith("rule:")]


def _words(rows: Sequence[Row]) -> list[Measure]:
    own = [r for r in rows if r.scored.rule == "words" and short_references(want_of(r.item))]
    if not own:
        return []
    sources = [r.item.cluster for r in own]
    exact = share([bool(r.scored.parts.get("exact")) for r in own], sources)
    held = share([bool(r.scored.parts.get("contained")) for r in own], sources)
    return [
        Measure("exact", "the answer is an accepted one", exact),
        Measure("contained", "the answer holds an accepted one", held),
    ]


def _histogram(rows: Sequence[Row]) -> Table:
    grades = Counter(round(r.scored.parts["grade"], 1) for r in rows if "grade" in r.scored.parts)
    return Table("Grades", ("grade", "answers"), tuple(sorted(grades.items())))
