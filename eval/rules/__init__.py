"""Constraints on an answer that a program can check; `OpenWant.rules` names them with their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alm.errors import RecordError
from eval.rules.checks import CHECKS

__all__ = ["CHECKS", "passes"]


def passes(text: str, rule: Mapping[str, Any]) -> bool:
    """Whether an answer keeps one constraint, `{"rule": NAME, ...}`.

    Raises:
        RecordError: there is no such constraint, or an argument is missing or of another type.

    >>> passes("One two.", {"rule": "number-words-at-most", "N": 2})
    True
    """
    name = str(rule.get("rule", ""))
    if name not in CHECKS:
        raise RecordError(f"rule {name!r} is none of {', '.join(sorted(CHECKS))}")
    try:
        return CHECKS[name](text, {k: v for k, v in rule.items() if k != "rule"})
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"rule {name!r}: {type(error).__name__} {error} in {dict(rule)}") from error
