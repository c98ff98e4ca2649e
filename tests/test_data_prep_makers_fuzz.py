"""Whatever a sample holds, makers give checked rows or count a loss; nothing is raised and counts add up."""

from __future__ import annotations

import random
from typing import Any

import pytest

from alm.errors import RecordError
from data_prep.makers import MakeReport, TaskPlan, make_records
from data_prep.records import from_row, to_row
from data_prep.samples import Sample, sample_from_json, to_json
from tests.maker_toys import world

VARIANTS = 2000
NASTY: tuple[Any, ...] = (
    "", " ", "<audio>", "{x}", "{0}", "a" * 5000, "\N{FACE WITH TEARS OF JOY}\N{RIGHT-TO-LEFT OVERRIDE}x", "\x00",
    "x\ny", "../../a", "/elsewhere/of/others/a.wav", 0, -1, 1e308, 86_400.0, float("nan"), None, True, [], {}, [1],
    {"a": 1}, ["<audio>", 3],
)  # fmt: skip


def broken(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """The row with one to three of its values, at any depth, taken away or replaced."""
    for _ in range(rng.randint(1, 3)):
        place: Any = row
        while True:
            key = rng.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
                break
            place = inner
        if rng.random() < 0.2 and isinstance(place, dict):
            del place[key]
        else:
            place[key] = rng.choice(NASTY)
        if not row:
            break
    return row


def fuzzed(count: int, seed: int = 0) -> tuple[list[Sample], int]:
    """Samples that are still samples, and how many are none any more."""
    rng, good = random.Random(seed), [to_json(one) for one in world()]
    kept: list[Sample] = []
    refused = 0
    for number in range(count):
        try:
            one = sample_from_json(broken(rng, _copy(rng.choice(good))) | {"id": f"fuzz-{number}"})
            kept.append(one)
        except RecordError:
            refused += 1
    return kept, refused


def _copy(row: Any) -> Any:
    if isinstance(row, dict):
        return {key: _copy(value) for key, value in row.items()}
    return [_copy(value) for value in row] if isinstance(row, list | tuple) else row


def check(count: int) -> None:
    samples, refused = fuzzed(count)
    assert len(samples) + refused == count and refused and len(samples) > count / 4
    report = MakeReport()
    made = list(make_records(samples, TaskPlan(tags=True), 0, "train", report))
    assert made and sum(report.rows.values()) == len(made)
    assert report.samples + report.lost["bad sample"] == sum(one.split == "train" for one in samples)
    for row in made:
        assert from_row(to_row(row)) == row
        assert "{x}" not in row.messages[0].content or any("{x}" in str(to_json(one)) for one in samples)


def test_a_few_broken_samples_give_rows_or_losses() -> None:
    check(150)


@pytest.mark.slow
def test_two_thousand_broken_samples_give_rows_or_losses() -> None:
    check(VARIANTS)
