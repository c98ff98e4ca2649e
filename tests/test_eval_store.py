"""Stage files: whole after a kill, one writer, torn ends repaired, damage named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alm.errors import ConfigError, RecordError
from eval.harness.answers import Answered
from eval.harness.store import StageWriter, records, replace_records


def answer(number: int, **changes: object) -> Answered:
    return Answered.model_validate({"id": f"a{number}", "key": "k", "text": "line\nline", **changes})


def test_what_is_added_is_read_in_order(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "generate.heard.jsonl"
    for part in (range(3), range(3, 5)):
        with StageWriter[Answered](place) as writer:
            for number in part:
                writer.add(answer(number))
    assert [r.id for r in records(place, Answered)] == [f"a{n}" for n in range(5)]
    assert list(records(tmp_path / "none.jsonl", Answered)) == []


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path, cut: int) -> None:
    place = tmp_path / "a.jsonl"
    with StageWriter[Answered](place) as writer:
        writer.add(answer(0, text="y" * 200_000))
        writer.add(answer(1, text="z" * 200_000))
    place.write_bytes(place.read_bytes()[:-cut])
    assert [r.id for r in records(place, Answered)] == ["a0"]
    with StageWriter[Answered](place) as writer:
        assert writer.repaired_bytes > 200_000 - cut
        writer.add(answer(2))
    assert [r.id for r in records(place, Answered)] == ["a0", "a2"]


def test_a_file_of_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    place = tmp_path / "a.jsonl"
    place.write_bytes(b'{"id":"a"')
    StageWriter[Answered](place).close()
    assert place.read_bytes() == b""


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    place = tmp_path / "a.jsonl"
    place.write_text(answer(0).model_dump_json() + "\n{broken}\n" + answer(1).model_dump_json() + "\n")
    with pytest.raises(RecordError, match="line 2"):
        list(records(place, Answered))


def test_there_is_one_writer(tmp_path: Path) -> None:
    place = tmp_path / "a.jsonl"
    with StageWriter[Answered](place), pytest.raises(ConfigError, match="another process"):
        StageWriter[Answered](place)
    StageWriter[Answered](place).close()  # control: it is free again


def test_a_derived_file_is_replaced_whole(tmp_path: Path) -> None:
    place = tmp_path / "score.jsonl"
    replace_records(place, [answer(0)])

    def breaks() -> object:
        yield answer(1)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        replace_records(place, breaks())  # type: ignore[arg-type]
    assert [r.id for r in records(place, Answered)] == ["a0"] and list(tmp_path.iterdir()) == [place]


def test_a_kill_loses_nothing_that_was_added(tmp_path: Path) -> None:
    """Killed while it writes, several times into one file: every record that add() returned from is there."""
    place = tmp_path / "a.jsonl"
    for _ in range(3):
        writing = subprocess.Popen(
            [sys.executable, "-m", "tests.harness_helpers", str(place), "100000"],
            cwd=Path(__file__).resolve().parent.parent, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writing.stdout is not None
        for line in writing.stdout:
            if int(line) >= 150:
                break
        writing.kill()
        *whole, _ = writing.stdout.read().split("\n")
        writing.wait()
        told = int(whole[-1]) if whole else 150
        found = [r.id for r in records(place, Answered)]
        assert f"a{told}" in found[-3:], "one may have been added and not told, one told in half"
    assert found.count("a0") == 3 and found.count("a150") == 3
