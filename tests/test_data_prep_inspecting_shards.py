"""Shards looked at: the same records, figures and recordings as in the files that they were made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from inspect_store import store
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.errors import CorpusError
from data_prep.inspecting import cards
from data_prep.inspecting.flags import FlagFile
from data_prep.inspecting.page import InspectPage
from data_prep.inspecting.sound import Players
from data_prep.inspecting.statistics import read_all
from data_prep.inspecting.stored import is_shards
from data_prep.records import Record, read_records, to_row
from data_prep.shards import ShardSettings, write_shards


def _records(folder: Path) -> list[Record]:
    return [r for split in ("train", "test") for r in read_records(folder / f"{split}.jsonl", absolute=False)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Records, and their shards."""
    plain = store(tmp_path / "set")
    write_shards(_records(plain), tmp_path / "shards", ShardSettings(records=2), recordings=plain)
    return plain, tmp_path / "shards"


def test_shards_show_the_same_records_and_recordings(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plain, shards = folders
    assert is_shards(shards) and not is_shards(plain)
    table, found = read_all(shards)
    _, wanted = read_all(plain)
    told = {"records", "turns", "recordings", "hours", "missing", "wrong", "repeated", "contradicting"}
    assert {n: getattr(found, n) for n in told} == {n: getattr(wanted, n) for n in told}
    assert found.tasks == wanted.tasks and found.labels == wanted.labels and found.languages == wanted.languages
    rows = {table.record(row).id: row for row in range(len(table))}
    records = {record.id: record for record in _records(plain)}
    assert {name: to_row(table.record(row)) for name, row in rows.items()} == {n: to_row(r) for n, r in records.items()}
    (tmp_path / "players").mkdir()
    for name, row in rows.items():
        assert table.sounds(row, records[name]) == [(plain / audio).read_bytes() for audio in records[name].audios]
        card = cards.record_card(table, row, records[name], None, Players(tmp_path / "players"))
        assert "<audio" in card and "alm-problem" not in card and table.file_name(row) in card
    assert len(list((tmp_path / "players").iterdir())) == 7


def test_rows_of_shards_are_chosen_by_word_and_text(folders: tuple[Path, Path]) -> None:
    table, _ = read_all(folders[1])

    def ids(wanted: dict[str, str], text: str = "") -> set[str]:
        return {table.record(row).id for row in table.chosen(wanted, text).tolist()}

    assert ids({"task": "count"}) == {"train-0", "train-3"} and ids({"split": "test"}) == {"test-0"}
    assert ids({}, "RINGS in 4") == {"train-4"} and ids({"task": "count"}, "rings in 4") == set()
    assert ids({}, "audio/heard.wav") == {"test-0"}, "by the name that it had"


def test_the_page_and_the_report_open_shards(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table, found = read_all(folders[1])
    page = InspectPage(table, found, FlagFile(tmp_path / "flags.jsonl"), Players(tmp_path))
    assert "shards" in page._title() and "alm-problem" not in page._card(page.everything, 0)
    result = CliRunner().invoke(app, ["report", str(folders[1]), "--out", str(tmp_path / "report.md")])
    assert result.exit_code == 0, result.output
    assert "| records | 7 with 7 answers |" in (tmp_path / "report.md").read_text()


def test_damage_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shards = folders[1]
    table, _ = read_all(shards)
    tar = sorted(shards.rglob("*.tar"))[0]
    parquet = tar.with_suffix(".parquet")
    parquet.write_bytes(b"x" * parquet.stat().st_size)
    with pytest.raises(CorpusError, match="is damaged"):
        read_all(shards)
    parquet.unlink()
    with pytest.raises(CorpusError, match="is absent"):
        read_all(shards)
    row = next(row for row in range(len(table)) if shards / table.file_name(row) == tar)
    tar.write_bytes(b"x" * tar.stat().st_size)
    with pytest.raises(CorpusError, match="no sample of a shard"):
        table.record(row)
    shutil.rmtree(shards)
    with pytest.raises(CorpusError, match="cannot be read"):
        table.record(row)
