"""Pairs: matrices of recordings and captions, judged comparisons with swap, questions about two recordings."""

from __future__ import annotations

import itertools

import pytest
from kinds_helpers import NOTHING, answer, figures, many, measured, pair, row

from eval.harness.answers import Judged
from eval.harness.items import JudgeSpec
from eval.kinds import KINDS
from eval.kinds.base import Row

CAPTIONS = ("a dog barks, then rain falls", "rain falls, then a dog barks")


def matrix(numbers: dict[str, float | None], group: str = "g", official: str = "compa") -> list[Row]:
    items = [pair(mode="matrix", cell=cell, group=group, official=official, name=f"{group}{cell}") for cell in numbers]
    answers = [None if n is None else answer(loglik=(n,)) for n in numbers.values()]
    return [row(one, said) for one, said in zip(items, answers, strict=True)]


def cells(a: float | None, b: float | None, c: float | None, d: float | None) -> dict[str, float | None]:
    return {"audio0/text0": a, "audio0/text1": b, "audio1/text0": c, "audio1/text1": d}


def scores(rows: list[Row]) -> tuple[float, float, float]:
    found = figures(rows)
    assert (found["official"], found["official_text"]) == (found["robust"], found["robust_text"])
    return found["robust_text"], found["robust_audio"], found["robust"]


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        (cells(2, 1, 1, 2), (1, 1, 1)),
        (cells(2, 1, 3, 4), (1, 0, 0)),
        (cells(2, 3, 1, 4), (0, 1, 0)),
        (cells(1, 2, 2, 1), (0, 0, 0)),
        (cells(2, 2, 1, 3), (0, 1, 0)),
        (cells(2, 1, 1, None), (0, 0, 0)),
    ],
)
def test_text_audio_and_group(numbers: dict[str, float | None], wanted: tuple[float, ...]) -> None:
    """Each recording prefers its caption; each caption its recording; both. A tie and a missing cell lose."""
    assert scores(matrix(numbers)) == wanted


def test_chance_is_a_quarter_a_quarter_and_a_sixth() -> None:
    groups = [cells(*order) for order in itertools.permutations((1.0, 2.0, 3.0, 4.0))]
    rows = [r for n, numbers in enumerate(groups) for r in matrix(numbers, f"g{n}")]
    assert scores(rows) == pytest.approx((1 / 4, 1 / 4, 1 / 6))
    by_key = {m.key: m for m in measured(rows)}
    assert by_key["robust"].estimate.items == 24 and "16.7 %" in by_key["robust"].note


def test_three_by_three() -> None:
    numbers = {f"audio{i}/text{j}": float(i == j) for i in range(3) for j in range(3)}
    assert scores(matrix(numbers)) == (1, 1, 1)
    assert scores(matrix({**numbers, "audio2/text0": 2.0})) == (0, 0, 0)


def test_a_matrix_by_choices() -> None:
    items = many(
        [
            *(pair(mode="matrix", choices=CAPTIONS, answer=i, cell=f"audio{i}", group="g") for i in (0, 1)),
            *(pair(mode="matrix", choices=("first", "second"), answer=i, cell=f"text{i}", group="g") for i in (0, 1)),
        ]
    )
    right = [row(one, said) for one, said in zip(items, ("A", "B", "the first", "second"), strict=True)]
    assert (figures(right)["robust_text"], figures(right)["robust_audio"], figures(right)["robust"]) == (1, 1, 1)
    always = [row(one, "A") for one in items]
    found = figures(always)
    assert (found["robust_text"], found["robust"], found["robust_choices"]) == (0, 0, 0.5)
    assert figures(right[:2]).get("robust") is None, "no group score where recordings were not asked for"


def test_a_matrix_by_yes_and_no() -> None:
    items = [
        pair(mode="matrix", choices=("yes", "no"), answer=int(i != j), cell=f"audio{i}/text{j}", group="g")
        for i in (0, 1)
        for j in (0, 1)
    ]
    assert figures([row(one, t) for one, t in zip(items, ("yes", "no", "no", "yes"), strict=True)])["robust"] == 1.0
    assert figures([row(one, "yes") for one in items])["robust"] == 0.0, "always yes ties"
    leaning = [answer("yes", loglik=n) for n in ((-1.0, -5.0), (-1.0, -3.0), (-1.0, -2.0), (-1.0, -4.0))]
    assert figures([row(one, said) for one, said in zip(items, leaning, strict=True)])["robust"] == 1.0


def verdict(order: int, grade: float | None) -> Judged:
    return Judged(id="a", key="k", rater="judge@1", order=order, grade=grade)


def test_versus_is_asked_in_both_orders() -> None:
    both = pair(mode="versus", judge=JudgeSpec(prompt="p", swap=True))
    told = {
        "win": [verdict(0, 1.0), verdict(1, 1.0)],
        "first place": [verdict(0, 1.0), verdict(1, 0.0)],
        "tie": [verdict(0, 0.5), verdict(1, 0.5)],
        "half": [verdict(0, 1.0)],
        "unreadable": [verdict(0, 1.0), verdict(1, None)],
    }
    rows = {name: row(both, "text", judged=judged) for name, judged in told.items()}
    assert [r.scored.robust for r in rows.values()] == [1.0, 0.5, 0.5, None, None]
    assert rows["half"].scored.status == rows["unreadable"].scored.status == "unjudged"
    found = figures(list(rows.values()))
    assert found["robust"] == pytest.approx(2 / 3)
    assert found["robust_tie"] == pytest.approx(2 / 3) and found["robust_flipped"] == pytest.approx(1 / 3)
    assert "2 answers wait" in measured(list(rows.values()))[0].note
    assert row(both, "").scored.robust == 0.0, "an empty answer loses without a judge"
    once = pair(mode="versus", judge=JudgeSpec(prompt="p"))
    assert row(once, "text", judged=told["half"]).scored.robust == 1.0


def test_two_clips_are_right_in_both_orders() -> None:
    items = many(pair(mode="two-clip", choices=("first", "second"), answer=i % 2, group=f"g{i // 2}") for i in range(4))
    rows = [row(one, said) for one, said in zip(items, ("the first", "B", "first", "first"), strict=True)]
    found = figures(rows)
    assert found["robust"] == 0.75 and found["robust_group"] == 0.5
    always = [row(one, "first") for one in items]
    assert figures(always)["robust"] == 0.5 and figures(always)["robust_group"] == 0.0
    assert KINDS["pair"].baselines(items[0], NOTHING)["first"] == "first"
