"""The threat table names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "security.md"


def named(text: str) -> list[list[str]]:
    """Tests of each row of the table."""
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| attack")]
    return [re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1]) for row in rows]


def existing() -> set[str]:
    return {name for file in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}


def test_every_attack_has_a_test_that_exists() -> None:
    rows = named(PAGE.read_text(encoding="utf-8"))
    assert len(rows) > 20 and all(rows), "a row names no test"
    assert {name for row in rows for name in row} <= existing()


def test_a_row_without_a_test_is_seen() -> None:
    assert named("| a | b | later |\n| a | b | `test_no_such` |") == [[], ["test_no_such"]]
    assert "test_no_such" not in existing() - {"test_no_such"}
