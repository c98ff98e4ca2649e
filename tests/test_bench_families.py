"""Free answers task by task: graded one by one, paired, known and new told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_helpers import ScriptModel, right_text, toy
from test_eval_scoring import full_run, half_right

from bench.families import Asked, graded, lines, page
from eval.harness.items import AUDIO_MARK


def asked(tmp_path: Path) -> list[Asked]:
    """Of two adapters the first is right in half, the second always, unless its recordings are others'."""
    plain = toy(tmp_path, 24, 8).items
    tagged = [i.model_copy(update={"tags": {"task": "count" if n % 3 else "choice"}}) for n, i in enumerate(plain)]
    prepared = toy(tmp_path, made=tagged)
    full_run(tmp_path / "half" / "choice", prepared, ScriptModel(half_right))
    full_run(tmp_path / "whole" / "choice", prepared, ScriptModel(lambda one: right_text(one.item)))
    return graded(["half", "whole"], ["choice"], tmp_path)


def test_questions_are_paired_and_tasks_told_apart(tmp_path: Path) -> None:
    found = asked(tmp_path)
    assert len(found) == 24 and AUDIO_MARK in found[0].item.messages[0].content
    rows = {r[0]: r for r in lines(found, ["half", "whole"], ["choice"])}
    assert list(rows) == ["`choice`", "`count` (new)", "**all known**", "**all new**"]
    assert rows["`choice`"][2] == 8 and rows["**all new**"][2] == 16
    _, rule, _, chance, half, whole, change, *_ = rows["**all new**"]
    assert (rule, whole) == ("", "100.0") and float(half) < 100.0 and float(chance) == pytest.approx(100 / 3, abs=20)
    assert change.startswith(f"+{100 - float(half):.1f} (")
    assert "all known" not in page(found, ["half", "whole"], [], ["made"])
