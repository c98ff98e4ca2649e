"""One or several of a closed set of labels, in five columns that do not mix.

*listed*: the labels stood in the question, and the answer is one of them word for word. *named*: they did not, and a
free answer is taken for all that it names word for word; it is worth the F1 of these. *embedded*: the nearest label to
a free answer, without what leads to the sound, by sentence embedding, or none where nothing is near. *loglik*: the
likeliest label. *ltu*: LTU's steps (`eval.kinds.embedded`), which give every answer a label, refusals too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.errors import RecordError
from eval.harness.answers import Answered, Judged, Scored, Status
from eval.harness.items import Item, LabelWant
from eval.kinds import embedded
from eval.kinds.arrived import Arrived, arrived
from eval.kinds.base import LabelSet, Measure, Row, Surroundings, Table
from eval.kinds.choice import official_measures, official_together, official_verdict
from eval.kinds.label_measures import f1, mean_average_precision
from eval.metrics import mean, share

COLUMNS = {
    "listed": "listed", "named": "named", "embedded": "embedded", "loglik": "likeliest label", "ltu": "LTU's steps",
}  # fmt: skip
WORD_FOR_WORD = ("listed", "named")
BY_STAGE = ("embedded", "ltu")
"""Columns that the stage of `eval.kinds.embedded` fills."""
_SEPARATOR = re.compile(r"[;\n]")
LOWEST = -1e9
"""Score of every label where there is no answer."""
CONFUSIONS = 40
"""Pairs that the table of confusions shows."""


def want_of(item: Item) -> LabelWant:
    assert isinstance(item.want, LabelWant), item.want.kind
    return item.want


def set_of(item: Item, around: Surroundings) -> LabelSet:
    """The label set of an item.

    Raises:
        RecordError: there is no such set, or a right label is not in it.
    """
    want = want_of(item)
    found = around.label_sets.get(want.label_set)
    if found is None:
        raise RecordError(f"item {item.id}: no label set {want.label_set!r}; prepare the benchmark again")
    if unknown := [label for label in want.labels if label not in found.labels]:
        raise RecordError(f"item {item.id}: {unknown[0]!r} is not a label of {want.label_set!r}; prepare it again")
    return found


@dataclass(frozen=True)
class Label:
    """See the module."""

    name = "label"
    near: float = 0.3
    """Cosine under which an answer is near to no label: the embedded column abstains."""

    def score(
        self, item: Item, answered: Answered | None, judged: Sequence[Judged], around: Surroundings
    ) -> Scored:
        came, want, labels = arrived(answered), want_of(item), set_of(item, around)
        columns = self._columns(came, answered, judged, item, labels)
        said, status, rule = self._best(came, columns, want, labels)
        verdict = official_verdict(item, came.given, judged, around)
        parts = {c: float(set(f.said) == set(want.labels)) for c, f in columns.items()}
        exact = float(bool(said) and set(said) == set(want.labels))
        if verdict and not verdict.counted:
            parts["left_out"] = 1.0
        if came.status is None and any(c in columns and not columns[c].scores for c in BY_STAGE):
            parts["waiting"] = 1.0
        return Scored(
            id=item.id,
            status=status,
            value={"said": said, **{c: f.kept(want.multi) for c, f in columns.items()}},
            rule=rule,
            official=verdict.value if verdict else None,
            robust=overlap(said, want.labels) if want.mode == "named" else exact,
            parts=parts,
        )

    def _columns(
        self, came: Arrived, answered: Answered | None, judged: Sequence[Judged], item: Item, labels: LabelSet
    ) -> dict[str, Column]:
        """The columns that this item's question is for."""
        want = want_of(item)
        found: dict[str, Column] = {}
        if want.mode in WORD_FOR_WORD:
            found[want.mode] = Column(listed(came.text if came.status is None else "", want.multi, labels))
        if want.mode == "open":
            for way in embedded.ways_of(item):
                column, bar = ("ltu", -2.0) if way == "ltu" else ("embedded", self.near)
                found[column] = Column.ranked(embedded.found(judged, way), labels, bar)
        if want.mode == "loglik" or (answered is not None and answered.loglik is not None):
            found["loglik"] = Column.ranked(by_length(answered, labels), labels, -np.inf)
        return found

    @staticmethod
    def _best(
        came: Arrived, columns: dict[str, Column], want: LabelWant, labels: LabelSet
    ) -> tuple[list[str], Status, str]:
        """What the robust rule takes an answer for, what became of it, and by which step."""
        if want.mode == "loglik":
            said = columns["loglik"].said
            return said, "read" if said else "missing", "loglik"
        if came.status is not None:
            return [], came.status, ""
        if want.mode == "open" and columns["embedded"].scores is not None:
            said = columns["embedded"].said
            return said, "read" if said else "abstained", "embedded"
        if said := columns[want.mode].said if want.mode in WORD_FOR_WORD else []:
            return said, "read", "exact"
        held = [labels.names[i] for i in labels.phrases.held(came.text)]
        if held and (want.multi or len(held) == 1):
            return held, "read", "contained"
        return [], "unread", "several" if held else "none"

    def measures(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        found = [*official_measures(rows, around), *official_together(rows, around), *_robust(rows)]
        for column in COLUMNS:
            own = [r for r in rows if column in r.scored.parts]
            if own and not (column in BY_STAGE and all(_waits(r) for r in own)):
                found += _column_measures(column, own, around)
        return found

    def headline(self, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
        """The two rules alone, for many subsets."""
        return [*official_measures(rows, around), *official_together(rows, around), _robust_share(rows)]

    def tables(self, rows: Sequence[Row], around: Surroundings) -> list[Table]:
        own = _headline(rows)
        return [t for t in (confusions(own), frequencies(own)) if t.rows]

    def baselines(self, item: Item, around: Surroundings) -> dict[str, str]:
        names = set_of(item, around).names
        return {"first": names[0].replace("_", " "), "echo": "; ".join(n.replace("_", " ") for n in names)}


@dataclass(frozen=True)
class Column:
    """What one way of reading takes an answer for."""

    said: list[str]
    scores: tuple[float, ...] | None = None
    """One for each label of the set."""

    @staticmethod
    def ranked(scores: Sequence[float] | None, labels: LabelSet, bar: float) -> Column:
        """The first label of the largest score, if that is over the bar."""
        if scores is None:
            return Column([])
        best = int(np.argmax(scores))
        return Column([labels.names[best]] if scores[best] > bar else [], tuple(scores))

    def kept(self, multi: bool) -> Any:
        """What later figures need: scores only where several labels are right."""
        return {"said": self.said, "scores": self.scores} if multi and self.scores else {"said": self.said}


def by_length(answered: Answered | None, labels: LabelSet) -> list[float] | None:
    """Log-likelihood per byte of each label, normalised over the labels, so that items can be compared."""
    if answered is None or answered.loglik is None:
        return None
    lengths = [max(1, len(name.encode())) for name in labels.names]
    each = np.array(answered.loglik) / lengths
    return [float(e) for e in each - np.logaddexp.reduce(each)]


def listed(text: str, multi: bool, labels: LabelSet) -> list[str]:
    """Labels that an answer to a question with the list names word for word; of several, each part does."""
    if not multi:
        found = labels.phrases.exact(text)
        return [labels.names[found[0]]] if len(found) == 1 else []
    said: list[int] = []
    for part in _SEPARATOR.split(text):
        said += labels.phrases.exact(part) or labels.phrases.held(part)
    return [labels.names[i] for i in dict.fromkeys(said)]


def _headline(rows: Sequence[Row]) -> list[Row]:
    """Listed questions where there are any: three questions about one clip are not three items."""
    return [r for r in rows if want_of(r.item).mode == "listed"] or list(rows)


def _robust(rows: Sequence[Row]) -> list[Measure]:
    own, first = _headline(rows), _robust_share(rows)
    return [first, *_f1("robust", own, [r.scored.value["said"] for r in own], first.note)]


def _robust_share(rows: Sequence[Row]) -> Measure:
    if all(want_of(r.item).mode == "named" for r in rows):
        return Measure("robust", "F1 of what is named, mean of items", mean(_worths(rows), _clusters(rows)))
    own = _headline(rows)
    note = "" if len(own) == len(rows) else "answers to the question with the list"
    right = share([bool(r.scored.robust) for r in own], _clusters(own))
    return Measure("robust", "exact, or the only label held", right, note=note)


def _column_measures(column: str, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """Accuracy (of several labels: all of them and no other), F1, average precision, abstentions."""
    label, said = COLUMNS[column], [r.scored.value[column]["said"] for r in rows]
    right = share([bool(r.scored.parts[column]) for r in rows], _clusters(rows))
    silent = share([not s for s in said], _clusters(rows))
    waiting = sum("waiting" in r.scored.parts for r in rows) if column in BY_STAGE else 0
    note = f"{waiting} answers are not embedded yet and count as wrong" if waiting else ""
    return [
        Measure(column, label, right, note=note),
        *_f1(column, rows, said),
        *_precisions(column, rows, around),
        Measure(f"{column}_none", f"{label}: no label", silent, better=-1),
    ]


def _waits(row: Row) -> bool:
    """Whether an answer has no vector: the stage was not run, or there is nothing to embed."""
    return row.scored.status not in ("read", "unread", "abstained") or "waiting" in row.scored.parts


def _f1(key: str, rows: Sequence[Row], said: Sequence[Sequence[str]], note: str = "") -> list[Measure]:
    """Labels of different sets are different labels, whatever their names."""
    sets = [want_of(r.item).label_set for r in rows]
    gold = [[(s, label) for label in want_of(r.item).labels] for s, r in zip(sets, rows, strict=True)]
    claimed = [[(s, label) for label in one] for s, one in zip(sets, said, strict=True)]
    return [
        Measure(f"{key}_f1_{average}", f"{average} F1", f1(gold, claimed, _clusters(rows), average), note=note)
        for average in ("macro", "micro", "weighted")
    ]


def _precisions(column: str, rows: Sequence[Row], around: Surroundings) -> list[Measure]:
    """Mean average precision, for each label set with several right labels an item."""
    found = []
    several = [r for r in rows if want_of(r.item).multi]
    for name in dict.fromkeys(want_of(r.item).label_set for r in several):
        own = [r for r in several if want_of(r.item).label_set == name]
        places = {label: i for i, label in enumerate(around.label_sets[name].names)}
        gold = [[places[label] for label in want_of(r.item).labels] for r in own]
        scores = np.stack([_scores(r, column, places) for r in own])
        note = "of yes and no: recall times precision" if column in WORD_FOR_WORD else "labels that occur"
        estimate = mean_average_precision(gold, scores, _clusters(own))
        found.append(Measure(f"{column}_map_{name}", f"mean average precision, {name}", estimate, note=note))
    return found


def _scores(row: Row, column: str, places: dict[str, int]) -> NDArray[np.float64]:
    """One score for each label; an answer that is missing is the same for all."""
    kept = row.scored.value[column]
    if kept.get("scores"):
        return np.array(kept["scores"])
    found = np.full(len(places), 0.0 if column in WORD_FOR_WORD else LOWEST)
    found[[places[label] for label in kept["said"]]] = 1.0
    return found


def overlap(said: Sequence[str], labels: Sequence[str]) -> float:
    """F1 of the labels that one answer names.

    >>> overlap(["a dog"], ["a dog", "rain"])
    0.6666666666666666
    """
    return 2 * len(set(said) & set(labels)) / max(1, len(set(said)) + len(set(labels)))


def _worths(rows: Sequence[Row]) -> list[float]:
    return [r.scored.robust or 0.0 for r in rows]


def _clusters(rows: Sequence[Row]) -> list[str]:
    return [r.item.cluster for r in rows]


def confusions(rows: Sequence[Row]) -> Table:
    """What single labels were taken for, most frequent first."""
    pairs: Counter[tuple[str, str]] = Counter()
    for row in rows:
        want, said = want_of(row.item), row.scored.value["said"]
        if not want.multi and said != list(want.labels):
            pairs[want.labels[0], said[0] if len(said) == 1 else "(none)"] += 1
    shown = sorted(pairs.items(), key=lambda p: (-p[1], p[0]))[:CONFUSIONS]
    return Table("What was taken for what", ("right", "said", "items"), tuple((*pair, n) for pair, n in shown))


def frequencies(rows: Sequence[Row]) -> Table:
    """How often each label is right and is said: captions pull towards frequent labels."""
    right = Counter(label for r in rows for label in want_of(r.item).labels)
    said = Counter(label for r in rows for label in r.scored.value["said"])
    names = sorted({*right, *said}, key=lambda n: (-right[n], n))
    return Table("How often each label", ("label", "right", "said"), tuple((n, right[n], said[n]) for n in names))
