"""The costs of schemes: the page sets every arm against the one that ships; arms of one length have one text."""

from __future__ import annotations

import pytest

from bench.schemes import ARMS_MEASURED, measure, page
from training.study.arms import ARMS, BASE


def test_the_page_sets_every_arm_against_the_base() -> None:
    made_up = [
        {"arm": a.name, "seconds": s, "tokens": 16, "step_seconds": 1.0 if a.name == BASE else 0.5, "megabytes": 100.0,
         "first_token_seconds": 0.2, "learning": 10}
        for s in (10.0, 30.0) for a in ARMS_MEASURED
    ]  # fmt: skip
    text = page(made_up, "python -m bench.schemes")
    assert "python -m bench.schemes" in text
    assert text.count("| 0.50 s | 0.50 |") == len(made_up) - 2 and text.count("| 1.00 s | 1.00 |") == 2


@pytest.mark.slow
@pytest.mark.weights
def test_more_tokens_cost_more() -> None:
    few, many = (measure(next(a for a in ARMS if a.name == n), 2.0, 1) for n in ("tokens-4", "tokens-32"))
    assert (few["tokens"], many["tokens"]) == (4, 32)
    assert many["step_seconds"] > few["step_seconds"] > 0 and many["first_token_seconds"] > 0
