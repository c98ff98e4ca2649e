"""One of several options: by the benchmark's rule, by letter or text, and by likelihood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import eval.official as official
from eval.harness.answers import Answered, Judged, Scored, Status
from eval.harness.items import ChoiceWant, Item
from eval.kinds.arrived import Arrived, arrived
from eval.kinds.base import Measure, Row, Surroundings, Table
from eval.kinds.reading_choice import Options, Reading, options_of, read_choice, says_none
from eval.metrics import Estimate, mean, share
from eval.official.base import Verdict

LIKELY = {"loglik": "likeliest option", "loglik_byte": "likeliest option, per byte"}


def want_of(item: Item) -> ChoiceWant:
    assert isinstance(item.want, ChoiceWant), item.want.kind
    return item.want


def _options(item: Item) -> Options:
    return options_of(want_of(item).choices, item.messages[-1].content)


class Choice:
    """See the module."""

    name = "choice"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        came, want, options = arrived(answered), want_of(item), _options(item)
        verdict = official_verdict(item, came.given, judged, around)
        parts = {"left_out": 1.0} if verdict and not verdict.counted else {}
        if answered is not None and answered.loglik is not None:
            each = [v / max(1, len(t.encode())) for v, t in zip(answered.loglik, want.choices, strict=True)]
            parts["loglik"] = float(likeliest(answered.loglik, want.answer, options))
            parts["loglik_byte"] = float(likeliest(each, want.answer, options))
        for name in _beside(item):
            other = official.OFFICIAL[name].one
            said = other(item, came.given, judged, around) if other else None
            parts[f"by_{name}"] = said.value if said else 0.0
        status, found = read(came, options, want.none_ok)
        return Scored(
            id=item.id,
            status=status,
            value=found.index,
            rule=found.rule,
            official=verdict.value if verdict else None,
            robust=float(found.index is not None and found.index == options.same[want.answer]),
            parts=parts,
        )

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        found = [*official_measures(rows, around), _robust(rows)]
        names = {name: f"{name}'s rule" for r in rows for name in _beside(r.item)}
        for key, label in {**{f"by_{n}": t for n, t in names.items()}, **LIKELY}.items():
            if own := [r for r in rows if key in r.scored.parts]:
                right = [bool(r.scored.parts[key]) for r in own]
                found.append(Measure(key, label, share(right, [r.item.cluster for r in own])))
        return [*found, chance(rows)]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        return [t for t in (positions(rows), oddities(rows)) if t.rows]

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        choices = want_of(item).choices
        return {"first": choices[0], "echo": "\n".join(choices)}


def read(came: Arrived, options: Options, none_ok: bool) -> tuple[Status, Reading]:
    """What an answer means, and what became of it; a refusal that names a letter is an answer all the same."""
    if came.status not in (None, "refused"):
        return came.status, Reading(None, "")
    found = read_choice(came.text, options)
    if came.status == "refused" and found.rule == "contained":
        found = Reading(None, "")
    if found.index is not None:
        return "read", found
    return "abstained" if none_ok and says_none(came.text) else came.status or "unread", found


def _beside(item: Item) -> tuple[str, ...]:
    return official.OFFICIAL[item.official].beside if item.official else ()


def likeliest(loglik: Sequence[float], answer: int, options: Options) -> bool:
    """Whether the right option is likelier than all others; ties count against it, but not those of its twins."""
    gold = options.same[answer]
    return all(s < loglik[answer] for s, same in zip(loglik, options.same, strict=True) if same != gold)


def official_verdict(
    item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings
) -> Verdict | None:
    """By the rule that the item names, where that rule speaks about single answers."""
    rule = official.OFFICIAL[item.official].one if item.official else None
    return rule(item, text, judged, around) if rule else None


def official_measures(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """The official rule over all items, and over those that the published script would count."""
    scored = [r for r in rows if r.scored.official is not None]
    if not scored:
        return []
    ruled = {r.item.official for r in scored}
    waiting = sum(r.scored.official is None and r.item.official in ruled for r in rows)
    note = f"{waiting} answers wait for a judge or an embedder and are not in it" if waiting else ""
    found = [Measure("official", "benchmark's rule", _mean_official(scored), note=note)]
    kept = [r for r in scored if not r.scored.parts.get("left_out")]
    if len(kept) < len(scored):
        note = f"the published script leaves {len(scored) - len(kept)} of {len(scored)} rows out"
        found.append(Measure("official_kept", "benchmark's rule, its denominator", _mean_official(kept), note=note))
    return found


def official_together(rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """Figures of official rules that speak only about all their answers together."""
    found = []
    for name in dict.fromkeys(r.item.official for r in rows if r.item.official):
        if together := official.OFFICIAL[name].together:
            found += together([r for r in rows if r.item.official == name], around)
    return found


def _mean_official(rows: Sequence[Row]) -> Estimate:
    values, sources = [r.scored.official or 0.0 for r in rows], [r.item.cluster for r in rows]
    if all(v in (0.0, 1.0) for v in values):
        return share([bool(v) for v in values], sources)
    return mean(values, sources)


def _robust(rows: Sequence[Row]) -> Measure:
    right = [bool(r.scored.robust) for r in rows]
    return Measure("robust", "letter or text", share(right, [r.item.cluster for r in rows]))


def chance(rows: Sequence[Row]) -> Measure:
    """Drawing one option of each item; known, so without an interval."""
    shares = [1 / len(want_of(r.item).choices) for r in rows]
    value = sum(shares) / len(shares) if shares else 0.0
    count = len(rows)
    return Measure("chance", "chance", Estimate(value, value, value, count, value, value, count))


def positions(rows: Sequence[Row]) -> Table:
    """How often each place is right and is chosen: a model that likes the first option shows here."""
    golds = Counter(want_of(r.item).answer for r in rows)
    picks = Counter(r.scored.value for r in rows if isinstance(r.scored.value, int))
    hits = Counter(want_of(r.item).answer for r in rows if r.scored.robust)
    found = [
        (chr(ord("A") + p), golds[p], picks[p], hits[p] / golds[p] if golds[p] else None)
        for p in range(max([*golds, *picks, -1]) + 1)
    ]
    return Table("By place of the option", ("place", "right", "chosen", "accuracy where right"), tuple(found))


def oddities(rows: Sequence[Row]) -> Table:
    """Items that a rule cannot be fair to."""
    found = Counter[str]()
    for row in rows:
        options = _options(row.item)
        found["options worded alike"] += options.duplicates
        found["more than 8 options"] += len(options.texts) > 8
        found["a wrong option passes the benchmark's rule"] += _wrong_passes(row.item)
    return Table("Items to be wary of", ("what", "items"), tuple((k, v) for k, v in found.items() if v))


def _wrong_passes(item: Item) -> bool:
    want = want_of(item)
    wrong = [c for i, c in enumerate(want.choices) if i != want.answer]
    verdicts = [official_verdict(item, c, (), Surroundings()) for c in wrong]
    return any(v is not None and v.value == 1.0 for v in verdicts)
