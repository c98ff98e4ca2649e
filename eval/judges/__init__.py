"""Judges of open answers: what they are asked, how their grades are read, and how far they agree with people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.harness.answers import Answered
    from eval.harness.items import Item
    from eval.harness.judging import JudgeQuestion


def questions(item: Item, answered: Answered) -> Sequence[JudgeQuestion]:
    """What a judge is asked about an answer: one question for each rater and order, none where nothing is judged."""
    from eval.judges import asking  # the kinds read prompts, and asking reads the kinds

    return asking.questions(item, answered)
