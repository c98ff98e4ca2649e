"""Records of the stages, one JSON line each: what was answered, how a judge graded it, what it scored."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from eval.harness.items import Frozen

Status = Literal["read", "unread", "empty", "refused", "abstained", "missing", "truncated", "error", "unjudged"]
"""What became of an answer; all but `read` and `unjudged` score nothing and stay in the denominator."""


class Answered(Frozen):
    """Stage `generate`: one item's answer under one condition."""

    id: str
    key: str
    """Hash of all that the answer depends on; another key is another answer."""
    text: str = ""
    """As the model wrote it, reasoning included."""
    finish: str = ""
    """`stop`, `length` or `cancelled`."""
    error: str = ""
    audio_seconds: float = 0.0
    audio_cut: bool = False
    """Recordings were longer than the model takes, and were cut."""
    long: str = ""
    """What was done with recordings longer than the model takes (`chunk`, `truncate`, `refuse`); empty: none was."""
    seconds: float = 0.0
    loglik: tuple[float, ...] | None = None
    """Log-likelihood of each choice or label (sums over tokens, the end included), where it was asked for."""


class Judged(Frozen):
    """Stage `judge`: one grade by one rater in one order."""

    id: str
    key: str
    rater: str
    """The judge's dated name."""
    order: int = 0
    """1 where two answers were shown the other way round."""
    raw: str = ""
    grade: float | None = None
    """None: the judge said nothing that can be read; it is asked again."""
    error: str = ""


class Scored(Frozen):
    """Stage `score`: what one answer is worth by both rules."""

    id: str
    status: Status
    value: Any = None
    """What was read out of the answer."""
    rule: str = ""
    """Which step of the parser read it."""
    official: float | None = None
    """By the benchmark's own rule, 0 to 1; None where the rule speaks only about all answers together."""
    robust: float | None = None
    """By ours."""
    parts: dict[str, float] = Field(default_factory=dict)
    """Further figures of this answer that the summary adds up, such as word errors."""
