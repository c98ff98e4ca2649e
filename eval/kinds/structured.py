"""Numbers, times, events, entities: what a parser can read; by the form's reader and by the benchmark's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import eval.official as official
from eval.harness.answers import Answered, Judged, Scored, Status
from eval.harness.items import Item, StructuredWant
from eval.kinds.arrived import Arrived, arrived
from eval.kinds.base import Measure, Row, Surroundings, Table
from eval.kinds.choice import official_measures
from eval.kinds.forms import FORMS
from eval.kinds.forms.base import Form, Taken
from eval.metrics import mean
from eval.official.tallied import Tallied


def _want(item: Item) -> StructuredWant:
    assert isinstance(item.want, StructuredWant), item.want.kind
    return item.want


def _form(rows: Sequence[Row]) -> Form:
    return FORMS[_want(rows[0].item).form]


class Structured:
    """See the module."""

    name = "structured"

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        came, want = arrived(answered), _want(item)
        form = FORMS[want.form]
        status, taken = _read(came, form, want)
        marks = form.mark(want, taken.value)
        ruled = official_parts(item, came.given)
        return Scored(
            id=item.id,
            status=status,
            value=taken.value,
            rule=taken.rule,
            official=ruled[0],
            robust=marks.robust,
            parts={**marks.parts, **ruled[1]},
        )

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        """Official figures first, of each rule that is named; then the form's."""
        if not rows:
            return []
        rows = sorted(rows, key=lambda r: r.item.id)  # sums of floats and draws depend on the order
        found = official_measures(rows, around)
        for name in sorted({r.item.official for r in rows}):
            rule = official.OFFICIAL.get(name)
            if rule and rule.together:
                found += rule.together([r for r in rows if r.item.official == name], around)
        return [*found, *_form_measures(_by_form(rows), rows)]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        return [t for group in _by_form(rows).values() for t in _form(group).tables(group)]

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        return FORMS[_want(item).form].baselines(_want(item))


def _by_form(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_want(row.item).form, []).append(row)
    return dict(sorted(found.items()))


def _form_measures(groups: Mapping[str, Sequence[Row]], rows: Sequence[Row]) -> list[Measure]:
    """The form's figures; of several forms those of each, and the mean of the items' own scores over all."""
    if len(groups) == 1:
        return _form(rows).measures(rows)
    own = mean([r.scored.robust or 0.0 for r in rows], [r.item.cluster for r in rows])
    found = [Measure("robust", "mean of the items' own scores", own, note=f"forms: {', '.join(groups)}")]
    for name, group in groups.items():
        for one in _form(group).measures(group):
            found.append(replace(one, key=f"{name}:{one.key}", label=f"{name}: {one.label}"))
    return found


def _read(came: Arrived, form: Form, want: StructuredWant) -> tuple[Status, Taken]:
    if came.status not in (None, "refused"):
        return came.status, Taken(None, "")
    if came.status == "refused":
        return "refused", Taken(None, "")
    taken = form.read(want, came.text)
    return ("unread" if taken.value is None else "read"), taken


def official_parts(item: Item, text: str | None) -> tuple[float | None, dict[str, float]]:
    """The official value and parts, these with `official_` before their names."""
    rule = official.OFFICIAL.get(item.official) if item.official else None
    if not isinstance(rule, Tallied):
        return None, {}
    ruled = rule.tally(item, text)
    parts = {f"official_{k}": v for k, v in ruled.parts.items()}
    return ruled.value, parts if ruled.counted else {**parts, "left_out": 1.0}
