"""The order of the encoders' measurement, and what its page says of growth and of what was cut short."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bench.encoders import Settings, exponent, first_sizes_first, measured, table


def row(size: str, wanted: float, seconds: float, heard: float | None = None) -> dict[str, Any]:
    heard = wanted if heard is None else heard
    return {
        "family": "beats", "size": size, "wanted": wanted, "heard": heard, "seconds": seconds, "tokens": 50 * heard,
        "peak_mebibytes": 900.0, "dim": 768, "parameters": 90_300_000,
    }  # fmt: skip


def test_every_familys_first_size_comes_first() -> None:
    chosen = [("ast", "base"), ("ast", "esc-50"), ("ast", "small"), ("beats", "base"), ("eat", "base")]
    chosen.append(("eat", "large"))
    ordered = first_sizes_first(chosen)
    assert ordered[:3] == [("ast", "base"), ("beats", "base"), ("eat", "base")]
    assert ordered[3:] == [("ast", "esc-50"), ("eat", "large"), ("ast", "small")]


def test_growth_is_the_slope_of_logarithms() -> None:
    linear = exponent([row("base", s, 0.1 * s) for s in (10.0, 60.0, 1800.0)])
    square = exponent([row("base", s, 0.1 * s * s) for s in (10.0, 60.0)])
    assert linear is not None and square is not None
    assert abs(linear - 1) < 1e-9 and abs(square - 2) < 1e-9
    assert exponent([row("base", 10.0, 1.0)]) is None


def test_the_table_says_what_was_cut_short_and_what_was_not_run() -> None:
    text = table([row("base", 10.0, 1.0), row("base", 1800.0, 300.0, heard=1200.0), row("large", 10.0, 2.0)])
    base, large = text.splitlines()[2:]
    assert "0.100, 500, 900 MiB" in base and "(stopped after 1200 s)" in base
    assert "0.200, 250, 900 MiB | not run" in large


def test_what_was_stopped_is_measured_anew_when_more_time_is_given_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, str, float]] = []

    def one(self: Settings, name: str, size: str, seconds: float) -> subprocess.CompletedProcess[str]:
        asked.append((self.most_minutes, size, seconds))
        heard = min(seconds, self.most_minutes * 600)  # ten times faster than the sound
        done = json.dumps(row(size, seconds, heard / 10, heard))
        return subprocess.CompletedProcess([], int(size == "broken"), f"noise\n{done}")

    monkeypatch.setattr(Settings, "one", one)
    kept, ends, chosen = tmp_path / "cost.json", time.monotonic() + 60, [("beats", "base"), ("beats", "broken")]
    lengths = (10.0, 1800.0)
    found, failed = measured(chosen, lengths, Settings(2, 1), kept, ends)
    assert [r["heard"] for r in found] == [10, 600] and list(failed) == [("beats", "broken")]
    assert measured(chosen[:1], lengths, Settings(2, 1), kept, ends)[0] == found
    assert measured(chosen[:1], lengths, Settings(2, 0.5), kept, ends)[0] == found, "what was heard is thrown away"
    found, _ = measured(chosen[:1], lengths, Settings(2, 3), kept, ends)
    assert [r["heard"] for r in found] == [10, 1800]
    assert [a for a in asked if a[1] == "base"] == [(1, "base", 10.0), (1, "base", 1800.0), (3, "base", 1800.0)]
    assert measured(chosen[:1], lengths, Settings(1, 3), kept, 0.0)[0] == [], "another count of threads"
