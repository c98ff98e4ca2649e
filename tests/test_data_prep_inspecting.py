"""Records looked at: the table, statistics, flags, plots, and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from inspect_store import chirps, record, save, store
from typer.testing import CliRunner

from alm.errors import RecordError
from data_prep.cli import app
from data_prep.errors import CorpusError
from data_prep.inspecting import cards
from data_prep.inspecting.facts import fact_rows
from data_prep.inspecting.flags import Flag, FlagFile
from data_prep.inspecting.plots import Plot, plots_of
from data_prep.inspecting.report import write_report
from data_prep.inspecting.sound import MOST_PLAYERS, Players
from data_prep.inspecting.statistics import read_all
from data_prep.inspecting.table import MAX_LINE_BYTES, NOT_SAID
from data_prep.records import Message, Record, write_records

EVIL = '<img src=x onerror="alert(1)"> | **bold** `code`'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return store(tmp_path / "set")


def test_rows_are_read_where_they_lie(folder: Path) -> None:
    table, found = read_all(folder)
    assert len(table) == found.records == 7 and found.turns == 7
    assert [table.record(row).id for row in range(7)] == [*(f"train-{n}" for n in range(6)), "test-0"]
    assert table.sounds(6, table.record(6)) == [folder / "audio/heard.wav"]
    (folder / "train.jsonl").write_text("{}\n")
    with pytest.raises(RecordError, match=r"train\.jsonl, byte 0"):
        table.record(0)


def test_rows_are_chosen_by_word_and_text(folder: Path) -> None:
    odd = [record("o-1", "audio/0.wav", "Glocke läutet?", task="odd"), record("o-2", "audio/0.wav", task="odd")]
    write_records(odd, folder / "dev.jsonl")
    lines = (folder / "dev.jsonl").read_text()
    table, _ = read_all(folder)
    assert table.chosen({}).tolist() == list(range(9))
    assert table.chosen({"task": "count"}).tolist() == [0, 3]
    assert table.chosen({"task": "count", "split": "test"}).tolist() == []
    assert table.chosen({"licence": "CC-BY-4.0"}, "HEARD.wav").tolist() == [8]
    assert table.chosen({"task": "no such task"}).tolist() == []
    assert table.chosen({}, "LÄUTET").tolist() == [6]
    (folder / "dev.jsonl").write_text(lines.replace("ä", "\\u00e4"))
    assert read_all(folder)[0].chosen({}, "läutet").tolist() == [6], "escaped by JSON"


def test_counts_add_up(folder: Path) -> None:
    _, found = read_all(folder)
    assert found.splits == {"train": 6, "test": 1}
    assert found.tasks == {"label": 5, "count": 2}
    assert found.labels == {"bell": 3, "horn": 3}
    assert found.languages == {"English": 6, NOT_SAID: 1}
    assert found.licences == {"CC0-1.0": 6, "CC-BY-4.0": 1}
    assert found.hours == pytest.approx(7 * 3 / 3600) and found.recordings == 7 and found.missing == 0
    assert found.copies is None and found.leaks is None


def test_faults_of_rows_are_counted(folder: Path) -> None:
    rows = [record("a", "audio/0.wav"), record("b", "audio/0.wav"), record("c", "audio/0.wav", answer="A horn.")]
    rows.append(record("d", "audio/lost.wav"))
    write_records(rows, folder / "dev.jsonl")
    long = json.dumps({"id": "x" * MAX_LINE_BYTES}).encode()
    with (folder / "dev.jsonl").open("ab") as stream:
        stream.write(b'\n{"id": 1}\n\xff\xfe\n' + long + b'\n[' + b"[" * 100_000 + b"\n")
    table, found = read_all(folder)
    assert found.wrong == table.wrong["dev.jsonl"] == 4 and found.records == 11
    assert all("dev.jsonl, byte" in line for line in table.wrong_shown) and len(table.wrong_shown) == 4
    assert (found.repeated, found.contradicting) == (1, 1)
    assert (found.missing, found.missing_shown) == (1, ["audio/lost.wav"])
    assert read_all(folder, check_files=False)[1].missing == -1


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl"])
def test_without_faults_none_are_counted(folder: Path, name: str) -> None:
    found = read_all(folder / name)[1]
    assert (found.wrong, found.repeated, found.contradicting, found.missing) == (0, 0, 0, 0)


def test_no_records_is_an_error(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CorpusError, match="no records"):
            read_all(place)
    (tmp_path / "train.jsonl").write_text("")
    assert plots_of(read_all(tmp_path)[1]) == []


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "pairs": []}', '{"version": 1, "pairs": 3}'])
def test_a_damaged_list_of_copies_is_an_error(folder: Path, text: str) -> None:
    (folder / "copies.json").write_text(text)
    with pytest.raises(CorpusError, match=r"copies\.json: is not what `alm data copies` writes"):
        read_all(folder)


def test_flags_stay(tmp_path: Path) -> None:
    flags = FlagFile(tmp_path / "flags.jsonl")
    flags.set("train.jsonl", "a", "wrong answer", "it is a \ud800 horn\n", "ann")
    flags.set("train.jsonl", "b", "other")
    flags.set("train.jsonl", "b", "")
    flags.set("dev.jsonl", "a", "licence")
    again = FlagFile(tmp_path / "flags.jsonl")
    assert [(flag.file, flag.id, flag.reason, flag.by) for flag in again.flags] == [
        ("train.jsonl", "a", "wrong answer", "ann"),
        ("dev.jsonl", "a", "licence", ""),
    ]
    assert again.get("train.jsonl", "b") is None and len((tmp_path / "flags.jsonl").read_text().splitlines()) == 4
    with pytest.raises(CorpusError, match="unknown reason"):
        flags.set("train.jsonl", "a", "boring")
    with (tmp_path / "flags.jsonl").open("a") as stream:
        stream.write("{\n")
    with pytest.raises(CorpusError, match=r"flags\.jsonl:5: is not a flag"):
        FlagFile(tmp_path / "flags.jsonl")
    with pytest.raises(CorpusError, match="could not be kept"):
        FlagFile(tmp_path / "nowhere" / "flags.jsonl").set("a", "b", "other")


def test_text_of_records_is_never_markup(folder: Path) -> None:
    row = record("evil", "audio/0.wav", EVIL, EVIL, task=EVIL, source=EVIL, licence=EVIL, meta={EVIL: EVIL})
    write_records([row], folder / "dev.jsonl")
    table, found = read_all(folder / "dev.jsonl")
    card = cards.record_card(table, 0, table.record(0), Flag("f", "evil", "other", EVIL), Players(folder))
    for html in (card, cards.facts_table(found), cards.pictures([Plot(EVIL, EVIL, EVIL, b"")])):
        assert "<img src=x" not in html
    assert card.count("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;") >= 6


def test_only_recordings_are_played(folder: Path) -> None:
    secret = folder / "secret.txt"
    secret.write_text("a password")
    made = folder / "players"
    for name in ("../set/secret.txt", str(secret), "https://example.org/a.wav", "audio/none.wav", "a\0b"):
        html = cards.player(folder / name, name, Players(made))
        assert "<audio" not in html and "alm-problem" in html and "a password" not in html
    assert not made.exists()
    assert "<audio" in cards.player(folder / "audio/0.wav", "audio/0.wav", Players(made))


def test_players_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_PLAYERS == 200
    monkeypatch.setattr("data_prep.inspecting.sound.MOST_PLAYERS", 2)
    players = Players(tmp_path / "players")
    for number in range(4):
        players.get(save(chirps(number, 0.3), tmp_path / f"{number}.wav"))
    assert len(list((tmp_path / "players").iterdir())) == 2
    assert players.get(tmp_path / "0.wav").file.is_file(), "made anew"


def test_plots_are_the_same_for_the_same_records(folder: Path) -> None:
    first, second = (plots_of(read_all(folder)[1]) for _ in range(2))
    assert [plot.png for plot in first] == [plot.png for plot in second]
    assert {"tasks", "labels", "languages", "licences", "durations"} <= {plot.name for plot in first}
    assert all(plot.png.startswith(b"\x89PNG") and plot.words for plot in first)


@pytest.mark.slow
def test_report(folder: Path, tmp_path: Path) -> None:
    write_records([record("evil", "audio/0.wav", EVIL, EVIL, task=EVIL)], folder / "dev.jsonl")
    FlagFile(folder / "flags.jsonl").set("dev.jsonl", "evil", "wrong label")
    assert CliRunner().invoke(app, ["copies", str(folder)]).exit_code == 0
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path / "out/data.md"), "--title", "Bells"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out/data.md").read_text()
    assert text.startswith("# Bells\n") and "| records | 8 with 8 answers |" in text
    assert "## Copies on two sides of a split (1)" in text and "audio/heard.wav" in text and "- wrong label: 1" in text
    assert "\\<img src=x" in text and not re.search(r"(?<!\\)<img", text)
    for link in [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]:
        assert (tmp_path / "out" / link).is_file()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    write_report(folder, tmp_path / "out/data.md", "Bells")
    assert {path: path.read_bytes() for path in before} == before


def test_facts_name_the_remedy(folder: Path) -> None:
    facts = dict(fact_rows(read_all(folder)[1]))
    assert "alm data copies" in facts["copies"] and "alm data leaks" in facts["leaks of benchmarks"]
    assert facts["splits"] == "train 6, test 1"


@pytest.mark.slow
def test_a_hundred_thousand_rows_stay_small(tmp_path: Path) -> None:
    """Tens of bytes a row beside the recordings' names, not the rows themselves."""
    import tracemalloc

    body = ("user", "<audio>What is heard? " + "Listen. " * 100), ("assistant", "A bell.")
    messages = tuple(Message(*one) for one in body)
    rows = (
        Record(f"r-{n}", messages, (f"a/{n % 500}.wav",), "bells", "label", "train", "CC0", 3.0) for n in range(100_000)
    )
    write_records(rows, tmp_path / "train.jsonl")
    tracemalloc.start()
    table, found = read_all(tmp_path, check_files=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 100_000 and np.asarray(found.seconds).sum() == 300_000
    assert peak < 25e6 < (tmp_path / "train.jsonl").stat().st_size
