"""Scoring many stored answers is quick and takes little memory; processor seconds, since machines are shared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import score_many


def measured(folder: Path, kind: str, count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.score_many", str(folder), kind, str(count)],
        cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", sorted(score_many.KINDS))
def test_a_hundred_thousand_answers_in_a_minute(tmp_path: Path, kind: str) -> None:
    found = measured(tmp_path, kind, 100_000)
    assert found["cpu_seconds"] < 60 and found["mebibytes"] < 2048, found
