"""Many rows: memory stays what it is, and the measured ways do the same work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import conversion
from data_prep.records import read_records

GROWTH_MEBIBYTES = 12.0
"""More than what an allocator keeps; the rows themselves are ten times as much."""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """The control is the plain way, which holds the list."""
    peaks: dict[str, list[float]] = {"ours": [], "plain": []}
    for rows in (20_000, 100_000):
        conversion.make(tmp_path / "x.json", rows)
        for way, found in peaks.items():
            done = conversion.measured(way, tmp_path / "x.json", tmp_path / f"{way}.jsonl")
            assert done["rows"] == rows
            found.append(done["mebibytes"])
    assert peaks["ours"][1] - peaks["ours"][0] < GROWTH_MEBIBYTES
    assert peaks["plain"][1] - peaks["plain"][0] > 5 * GROWTH_MEBIBYTES


@pytest.mark.slow
def test_the_measured_ways_do_the_same_work(tmp_path: Path) -> None:
    conversion.make(tmp_path / "x.json", 300)
    assert conversion.ours(tmp_path / "x.json", tmp_path / "ours.jsonl") == 300
    assert conversion.plain(tmp_path / "x.json", tmp_path / "plain.jsonl") == 300
    plain = [json.loads(line) for line in (tmp_path / "plain.jsonl").read_text(encoding="utf-8").splitlines()]
    for one, other in zip(read_records(tmp_path / "ours.jsonl", absolute=False), plain, strict=True):
        assert [message.content for message in one.messages] == [message["content"] for message in other["messages"]]
        assert (list(one.audios), one.source, one.task) == (other["audios"], other["source"], other["task"])
        assert one.meta.get("input", "") == other["meta"]["input"]
