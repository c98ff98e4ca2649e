"""How far a judge agrees with people: Krippendorff's alpha, and a file of fifty items that a person grades blind."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alm.errors import RecordError
from eval.harness.answers import Answered
from eval.harness.items import AUDIO_MARK, Item, OpenWant
from eval.kinds.arrived import arrived

CHECKED_ITEMS = 50
COLUMNS = ("id", "scale", "question", "context", "reference", "answer", "grade", "note")
MOST_CELL = 20_000


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]], level: str = "interval") -> float | None:
    """Agreement of raters beyond chance: 1 is perfect, 0 is chance.

    Args:
        ratings: one row a rater, one column an item; None where a rater gave none.
        level: `nominal` (equal or not), `ordinal` (ranks) or `interval` (squared differences).

    Returns:
        None where it is not defined: no item has two ratings, or all ratings are the same.

    >>> krippendorff_alpha([[1, 2, 3, None], [1, 2, 3, 3]]), krippendorff_alpha([[1, 1], [1, 1]])
    (1.0, None)
    """
    units = [[float(r) for r in unit if r is not None] for unit in zip(*ratings, strict=True)]
    units = [u for u in units if len(u) > 1]
    values = sorted({v for u in units for v in u})
    place = {v: i for i, v in enumerate(values)}
    together = np.zeros((len(values), len(values)))
    for unit in units:
        counts = np.bincount([place[v] for v in unit], minlength=len(values)).astype(float)
        together += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    totals = together.sum(axis=1)
    apart = _DISTANCES[level](np.array(values), totals)
    expected = (np.outer(totals, totals) - np.diag(totals)) / max(1.0, totals.sum() - 1)
    if not (chance := float((expected * apart).sum())):
        return None
    return 1 - float((together * apart).sum()) / chance


def _ranks_apart(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Squares of how many ratings lie between two values, half of those at the ends."""
    middles = np.cumsum(totals) - totals / 2
    return np.asarray((middles[:, None] - middles[None]) ** 2)


_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": lambda values, totals: (values[:, None] != values[None]).astype(float),
    "interval": lambda values, totals: np.asarray((values[:, None] - values[None]) ** 2),
    "ordinal": _ranks_apart,
}


def check_sample(items: Sequence[Item], count: int = CHECKED_ITEMS) -> list[Item]:
    """Items with a judge that a person is to grade: always the same of a benchmark, in no meaningful order."""
    judged = [i for i in items if isinstance(i.want, OpenWant) and i.want.judge]
    return sorted(judged, key=lambda i: hashlib.sha256(i.id.encode()).hexdigest())[:count]


def write_check(
    path: Path, items: Sequence[Item], answers: Mapping[str, Answered], count: int = CHECKED_ITEMS
) -> int:
    """Write the file that a person fills in, a CSV with an empty column `grade`; the judge's grades are not in it.

    Returns:
        How many rows were written; items without an answer have none.
    """
    rows = [_row(item, answers[item.id]) for item in check_sample(items, count) if item.id in answers]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return len(rows)


def _row(item: Item, answered: Answered) -> list[str]:
    want = item.want
    assert isinstance(want, OpenWant) and want.judge
    question = "\n".join(m.content.replace(AUDIO_MARK, "").strip() for m in item.messages if m.role == "user")
    low, high = want.judge.scale
    texts = [question, want.context, "\n".join(want.references), arrived(answered).text]
    return [item.id, f"{low:g} to {high:g}", *(_cell(t) for t in texts), "", ""]


def _cell(text: str) -> str:
    """What a spreadsheet would take for a formula is quoted."""
    text = text[:MOST_CELL].encode("utf-8", "replace").decode()
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def read_check(path: Path) -> dict[str, float]:
    """Grades that a person filled in, by item; rows with an empty grade are passed over.

    Raises:
        RecordError: the file is another one, or a grade is no number or not on the scale.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path}: {error}; give the file that `write_check` wrote, saved as CSV in UTF-8") from error
    found = {}
    for number, row in enumerate(rows, start=2):
        if missing := [c for c in ("id", "scale", "grade") if row.get(c) is None]:
            raise RecordError(f"{path}, line {number}: no column {missing[0]}; keep the columns of the file")
        if row["grade"].strip():
            found[row["id"]] = _person_grade(f"{path}, line {number}", row["grade"], row["scale"])
    return found


def _person_grade(where: str, given: str, scale: str) -> float:
    try:
        low, high = map(float, scale.split(" to "))
        grade = float(given.strip().replace(",", "."))
    except ValueError:
        raise RecordError(f"{where}: grade {given!r} is no number; write one of {scale}") from None
    if not low <= grade <= high:
        raise RecordError(f"{where}: grade {given} is not of {scale}")
    return grade


@dataclass(frozen=True)
class Agreement:
    """A judge's grades beside a person's."""

    items: int
    alpha: float | None
    """Krippendorff's, of intervals."""
    same: float
    """Share of equal grades."""
    near: float
    """Share within a tenth of the range of the person's grades, or within 1 where that is more."""
    bias: float
    """Judge minus person, on the mean."""
    order: float | None
    """Share of pairs, graded unlike by the person, that the judge puts in the same order; ties are half."""


def agreement(judge: Mapping[str, float], person: Mapping[str, float]) -> Agreement:
    """
    Raises:
        RecordError: they have no item in common.
    """
    both = sorted(judge.keys() & person.keys())
    if not both:
        raise RecordError("the judge and the person graded no item in common")
    pairs = [(judge[i], person[i]) for i in both]
    apart = [a - b for a, b in pairs]
    near = max(1.0, (max(p for _, p in pairs) - min(p for _, p in pairs)) / 10)
    return Agreement(
        len(both),
        krippendorff_alpha([[a for a, _ in pairs], [b for _, b in pairs]]),
        sum(d == 0 for d in apart) / len(both),
        sum(abs(d) <= near for d in apart) / len(both),
        sum(apart) / len(both),
        _same_order(pairs),
    )


def _same_order(pairs: Sequence[tuple[float, float]]) -> float | None:
    worth = [
        0.5 if a == c else float((a - c) * (b - d) > 0)
        for i, (a, b) in enumerate(pairs)
        for c, d in pairs[i + 1 :]
        if b != d
    ]
    return sum(worth) / len(worth) if worth else None
