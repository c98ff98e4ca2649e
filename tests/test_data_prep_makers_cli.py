"""`alm data tasks`, `measure` and `make` from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.makers import TASKS
from data_prep.records import read_records
from data_prep.sample_files import write_samples
from data_prep.samples import to_json
from tests.maker_toys import world


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


def listed(folder: Path) -> Path:
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(to_json(one)) + "\n" for one in world("train", "test")))
    return path


def test_tasks_are_listed() -> None:
    code, out, _ = run("tasks", "--json")
    assert code == 0 and {row["name"] for row in json.loads(out)} == set(TASKS)
    assert len(run("tasks")[1].splitlines()) == len(TASKS)


def test_rows_are_made_and_counted(tmp_path: Path) -> None:
    source, out = listed(tmp_path), tmp_path / "rows.jsonl"
    code, _, told = run("make", str(source), "--out", str(out), "--rows", "200", "--split", "test")
    made = list(read_records(out))
    assert code == 0 and 150 <= len(made) <= 200 and {row.split for row in made} == {"test"}
    assert f"{len(made)} rows of" in told and "yes_no" in told
    other = tmp_path / "none.jsonl"
    code, _, told = run("make", str(source), "--out", str(other), "--dry-run")
    assert code == 0 and not other.exists() and "nothing is written" in told


def test_recordings_of_a_list_lie_beside_it_and_not_where_rows_are_written(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    source, out = tmp_path / "lists" / "samples.jsonl", tmp_path / "rows.jsonl"
    write_samples([replace(one, audio=str(tmp_path / "lists" / f"{one.id}.wav")) for one in world("train")], source)
    assert '"audio": "/' not in source.read_text(), "control: the list names them from its own folder"
    assert run("make", str(source), "--out", str(out), "--rows", "50")[0] == 0
    named = {Path(audio).parent for row in read_records(out) for audio in row.audios}
    assert named == {tmp_path / "lists"}


def test_measures_are_added_and_kept(tmp_path: Path) -> None:
    source, out = listed(tmp_path), tmp_path / "measured.jsonl"
    code, _, told = run("measure", str(source), "--out", str(out))
    assert code == 0 and "could not be read" in told
    assert len(out.read_text().splitlines()) == len(world("train", "test"))


def test_faults_name_file_and_line_and_exit_with_two(tmp_path: Path) -> None:
    out = str(tmp_path / "rows.jsonl")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a"}\n')
    plan = tmp_path / "plan.yaml"
    plan.write_text("rates: {sing: 1}\n")
    for words, named in (
        (("make", str(bad), "--out", out), "bad.jsonl:1"),
        (("make", str(tmp_path / "none"), "--out", out), "no such file"),
        (("make", str(tmp_path), "--out", out), "no index"),
        (("make", str(listed(tmp_path)), "--out", out, "--plan", str(plan)), "no task sing"),
    ):
        code, _, told = run(*words)
        assert code == 2 and named in told, words
    bad.write_bytes(b"\xff\xfe{\n")
    assert run("make", str(bad), "--out", out)[0] == 2
    assert not Path(out).exists()
