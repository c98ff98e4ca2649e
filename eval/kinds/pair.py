"""Comparisons: captions against recordings in a matrix, two answers before a judge, two recordings in a question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from eval.harness.answers import Answered, Judged, Scored
from eval.harness.items import Item, PairWant
from eval.kinds.arrived import arrived
from eval.kinds.base import Measure, Row, Surroundings, Table
from eval.kinds.choice import likeliest, official_together, read
from eval.kinds.matrix import matrix_measures
from eval.kinds.reading_choice import options_of
from eval.metrics import mean, share


def want_of(item: Item) -> PairWant:
    assert isinstance(item.want, PairWant), item.want.kind
    return item.want


class Pair:
    """See the module."""

    name = "pair"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        want = want_of(item)
        if want.mode == "versus":
            return versus(item, answered, judged)
        if want.mode == "matrix" and "/" in want.cell:
            return _cell(item, answered)
        return _chosen(item, answered)

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        found = official_together(rows, around)
        by_mode: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_mode[want_of(row.item).mode].append(row)
        for mode, own in by_mode.items():
            key = "robust" if len(by_mode) == 1 else f"robust_{mode}"
            if mode == "matrix":
                found += matrix_measures([(r, want_of(r.item).cell) for r in own], key)
                found += _chosen_share(own, f"{key}_choices")
            else:
                found += (versus_measures if mode == "versus" else two_clip_measures)(own, key)
        return found

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        return []

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        choices = want_of(item).choices
        return {"first": choices[0], "echo": "\n".join(choices)} if len(choices) > 1 else {}


def _cell(item: Item, answered: Answered | None) -> Scored:
    """A number for one recording with one caption: the log-likelihood of the caption or, where the question is whether
    they belong together, how much likelier the first choice ("yes") is than the second; without either, 1 for yes."""
    loglik = answered.loglik if answered is not None and not answered.error else None
    if len(want_of(item).choices) == 2:
        asked = _chosen(item, answered)
        said = None if asked.value is None else float(asked.value == 0)
        return asked.model_copy(update={"value": loglik[0] - loglik[1] if loglik else said})
    if not loglik:
        return Scored(id=item.id, status="error" if answered is not None and answered.error else "missing")
    return Scored(id=item.id, status="read", value=loglik[0], rule="loglik")


def _chosen(item: Item, answered: Answered | None) -> Scored:
    want = want_of(item)
    assert want.answer is not None, f"item {item.id}: nothing says which of {want.choices} is right"
    options = options_of(want.choices, item.messages[-1].content)
    parts = {}
    if answered is not None and answered.loglik is not None:
        parts["loglik"] = float(likeliest(answered.loglik, want.answer, options))
    status, found = read(arrived(answered), options, none_ok=False)
    right = found.index is not None and found.index == options.same[want.answer]
    return Scored(id=item.id, status=status, value=found.index, rule=found.rule, robust=float(right), parts=parts)


def _chosen_share(rows: Sequence[Row], key: str) -> list[Measure]:
    """Single answers of a matrix that is asked by choices."""
    own = [r for r in rows if r.scored.robust is not None]
    right = share([bool(r.scored.robust) for r in own], [r.item.cluster for r in own])
    return [Measure(key, "single choices", right)] if own else []


def versus(item: Item, answered: Answered | None, judged: Sequence[Judged]) -> Scored:
    """Share of the judge's verdicts for the model's answer; grades are 1, 0.5 or 0 whichever way round it was shown."""
    came = arrived(answered)
    if came.status in ("missing", "error", "empty", "truncated"):
        return Scored(id=item.id, status=came.status, robust=0.0)
    grades: dict[int, list[float]] = defaultdict(list)
    for one in judged:
        if one.grade is not None:
            grades[one.order].append(one.grade)
    wanted = (0, 1) if (spec := want_of(item).judge) and spec.swap else (0,)
    if any(order not in grades for order in wanted):
        return Scored(id=item.id, status="unjudged")
    means = [sum(grades[order]) / len(grades[order]) for order in wanted]
    value = sum(means) / len(means)
    parts = {"tie": float(value == 0.5), "flipped": float(any(a != b for a, b in pairwise(means)))}
    return Scored(id=item.id, status="read", value=value, rule="judge", robust=value, parts=parts)


def versus_measures(rows: Sequence[Row], key: str) -> list[Measure]:
    """Win rate (a tie is half a win), ties, and the share of verdicts that the order decides."""
    kept = [r for r in rows if r.scored.status != "unjudged"]
    waiting = len(rows) - len(kept)
    note = f"incomplete: {waiting} answers wait for a judge and are not in it" if waiting else ""
    sources = [r.item.cluster for r in kept]
    wins = mean([r.scored.robust or 0.0 for r in kept], sources)
    found = [Measure(key, "win rate", wins, note=note)]
    for part, label in (("tie", "ties"), ("flipped", "verdicts that change with the order")):
        found.append(Measure(f"{key}_{part}", label, share([bool(r.scored.parts.get(part)) for r in kept], sources)))
    return found


def two_clip_measures(rows: Sequence[Row], key: str) -> list[Measure]:
    """Share of right answers, of groups with no wrong one (both orders of two recordings), and by likelihood."""
    sources = [r.item.cluster for r in rows]
    found = [Measure(key, "letter or text", share([bool(r.scored.robust) for r in rows], sources))]
    groups: dict[str, list[bool]] = defaultdict(list)
    for row, source in zip(rows, sources, strict=True):
        groups[source].append(bool(row.scored.robust))
    if len(groups) < len(rows):
        whole = share([all(g) for g in groups.values()], list(groups))
        found.append(Measure(f"{key}_group", "groups without a wrong answer", whole))
    if likely := [r for r in rows if "loglik" in r.scored.parts]:
        right = share([bool(r.scored.parts["loglik"]) for r in likely], [r.item.cluster for r in likely])
        found.append(Measure("loglik", "likeliest option", right))
    return found
