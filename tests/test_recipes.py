"""Recipes: a build does what changed and no more, refuses what is wrong, and gives the same bytes whatever happened."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_prep_toys import toy_store
from shards_toys import a_record, tree, write_tones
from typer.testing import CliRunner

from alm.errors import ConfigError, RecordError
from data_prep import cli, readers
from data_prep.errors import CorpusError
from data_prep.readers.base import Lost, ReadOptions, Source
from data_prep.recipes import units
from data_prep.recipes.kinds import source as source_kind
from data_prep.recipes.recipe import find_recipe, read_recipe
from data_prep.recipes.running import plan_recipe, run_recipe
from data_prep.records import write_records
from data_prep.samples import Sample, sample_from_json
from data_prep.shards import ShardStream

REPOSITORY = Path(__file__).parent.parent
ROWS = """
recipe: 1
name: toys
seed: {seed}
steps:
  - use: rows
    store: corpus
    train: {train}
    dev: 20
    test: 30
  - use: check
    store: corpus
  - use: shards
    megabytes: 0.2
"""
FILES = """
recipe: 1
name: files
steps:
  - use: records
    files: [rows.jsonl]
  - use: check
  - use: shards
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    toy_store(folder / "corpus")
    return folder


def recipe(folder: Path, text: str = ROWS, **values: int) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text.format(**{"seed": 0, "train": 90} | values))
    return path


def test_two_runs_give_the_same_bytes_and_the_second_does_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe(tmp_path)
    run_recipe(path, tmp_path / "a", root=root)
    run_recipe(path, tmp_path / "b", root=root, work=tmp_path / "work")
    made = tree(tmp_path / "a")
    assert made == tree(tmp_path / "b") and len(made) > 8
    assert len(list(ShardStream(tmp_path / "a"))) > 50
    assert str(tmp_path).encode() not in b"".join(made.values()), "no path of the machine gets in"
    run_recipe(recipe(tmp_path, seed=1), tmp_path / "c", root=root)
    assert tree(tmp_path / "c") != made, "the control"

    inodes = {name: (tmp_path / "a" / name).stat().st_ino for name in made if name.endswith((".tar", ".parquet"))}
    monkeypatch.setattr(units, "import_module", lambda name: pytest.fail(f"{name} ran again"))
    run_recipe(path := recipe(tmp_path), tmp_path / "a", root=root)
    assert tree(tmp_path / "a") == made
    assert inodes == {name: (tmp_path / "a" / name).stat().st_ino for name in inodes}
    states = {part.state for part in plan_recipe(path, tmp_path / "a", root=root)}
    assert states == {"done", "writes what is not there"}


def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of units, as they run."""
    seen: list[str] = []
    real = units.digest_of

    def watched(folder: Path) -> str:
        seen.append(f"{folder.parent.name}/{folder.name.rpartition('-')[0]}")
        return real(folder)

    monkeypatch.setattr(units, "digest_of", watched)
    return seen


def test_only_what_changed_runs_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run_recipe(recipe(tmp_path), out, root=root)
    seen = ran(monkeypatch)
    run_recipe(recipe(tmp_path, train=150), out, root=root)
    assert seen == ["rows/train", "rows/dev", "rows/test", "check/rows"]
    folders = [path for path in (out / ".work").glob("*/*-*") if path.is_dir()]
    assert len(folders) == 4, "what no step takes any more is removed"
    seen.clear()
    (tmp_path / "recipe.yaml").write_text((tmp_path / "recipe.yaml").read_text().replace("0.2", "0.1"))
    run_recipe(tmp_path / "recipe.yaml", out, root=root)
    assert seen == [], "the size of shards has no part in rows"


def test_new_code_runs_again_but_equal_results_go_no_further(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_recipe(recipe(tmp_path), tmp_path / "out", root=root)
    seen, real = ran(monkeypatch), units.code_version
    changed = "data_prep.recipes.kinds.rows"
    monkeypatch.setattr(units, "code_version", lambda *names: real(*names) + ("new" if changed in names else ""))
    run_recipe(recipe(tmp_path), tmp_path / "out", root=root)
    assert seen == ["rows/train", "rows/dev", "rows/test"]


def test_the_code_version_is_that_of_everything_that_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from data_prep.code_version import code_version

    def version(name: str, changed: str) -> str:
        real = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + (b"#" if path.name == changed else b""))
        code_version.cache_clear()
        found = code_version(name)
        monkeypatch.undo()
        code_version.cache_clear()
        return found

    rows = "data_prep.recipes.kinds.rows"
    for other in ("fetch.py", "packing.py", "leaks.py", "plan.py"):
        assert version(rows, "") == version(rows, other), "what it does not import has no part in it"
    others = {version(rows, name) for name in ("", "rows.py", "turns.py", "phrases.py", "classes.csv")}
    assert len(others) == 5, "also what is imported inside of functions, and the manifests"


def test_dry_run_tells_and_writes_nothing(root: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["build", str(recipe(tmp_path)), "--out", str(tmp_path / "out"), "--root", str(root)]
    told = runner.invoke(cli.app, [*arguments, "--dry-run"])
    assert told.exit_code == 0 and "rows\ttrain\tto do" in told.stdout and "known after rows" in told.stdout
    assert not (tmp_path / "out").exists()
    made = runner.invoke(cli.app, arguments)
    assert made.exit_code == 0, made.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["splits"]["dev"]["records"] > 10 and report["steps"][1]["units"]["rows"]["repeated"] == 0
    assert "rows\ttrain\tdone" in runner.invoke(cli.app, [*arguments, "--dry-run"]).stdout


WRONG = {
    "must begin with": "name: x",
    "no kind of step": "recipe: 1\nsteps: [{use: cook}]",
    "unknown key 'trian'": "recipe: 1\nsteps: [{use: rows, trian: 3}, {use: shards}]",
    "train is": "recipe: 1\nsteps: [{use: rows, train: many}, {use: shards}]",
    "there twice": "recipe: 1\nrecipe: 1\nsteps: [{use: shards}]",
    "aliases": "recipe: 1\nsteps: [&a {use: shards}, *a]",
    "the last step": "recipe: 1\nsteps: [{use: rows}]",
    "name earlier steps": "recipe: 1\nsteps: [{use: check, takes: [rows]}, {use: shards}]",
    "its own": "recipe: 1\nsteps: [{use: rows}, {use: rows}, {use: shards}]",
    "relative to --root": "recipe: 1\nsteps: [{use: rows, store: /corpus}, {use: shards}]",
    "stay below": "recipe: 1\nsteps: [{use: rows, store: ../corpus}, {use: shards}]",
    "a list of 1 to": "recipe: 1\nsteps: []",
    "audio is 'mp3'": "recipe: 1\nsteps: [{use: shards, audio: mp3}]",
    "no readable recipe": "recipe: [",
    "unknown key 'tite'": "recipe: 1\ntite: x\nsteps: [{use: shards}]",
    "seed is": "recipe: 1\nseed: -1\nsteps: [{use: shards}]",
    "no source is called": "recipe: 1\nsteps: [{use: source, source: none-such, at: x}, {use: shards}]",
    "unknown key 'max_requests'": (
        "recipe: 1\nsteps: [{use: generate, endpoint: 'http://127.0.0.1:1/v1', model: m, "
        "plan: {kinds: [aig], budget: {max_requests: 3}}}, {use: shards}]"
    ),
    "no such file": "recipe: 1\nsteps: [{use: records, files: [absent.jsonl]}, {use: shards}]",
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_recipe_is_refused_with_its_place(tmp_path: Path, message: str) -> None:
    path = recipe(tmp_path, WRONG[message].replace("{", "{{").replace("}", "}}"))
    with pytest.raises(ConfigError, match=message):
        run_recipe(path, tmp_path / "out", root=tmp_path)


def test_shipped_recipes_are_found_and_right(tmp_path: Path) -> None:
    assert read_recipe(find_recipe("default")).name == "default"
    with pytest.raises(ConfigError, match="there are: default"):
        find_recipe("dinner")


def test_a_leak_between_splits_is_refused(tmp_path: Path) -> None:
    names = write_tones(tmp_path, 4)
    rows = [a_record("a", (names[0],)), a_record("b", (names[1],), "test"), a_record("c", (names[0],))]
    write_records(rows, tmp_path / "rows.jsonl")
    run_recipe(recipe(tmp_path, FILES), tmp_path / "out", root=tmp_path)
    write_records([*rows, a_record("d", (names[0], names[2]), "test")], tmp_path / "rows.jsonl")
    with pytest.raises(CorpusError, match=r"record 'd': recording tones/000.flac is used by train and by test"):
        run_recipe(recipe(tmp_path, FILES), tmp_path / "out", root=tmp_path)


def test_rows_that_say_the_same_twice_are_left_out_and_counted(tmp_path: Path) -> None:
    names = write_tones(tmp_path, 2)
    first = a_record("a", (names[0],))
    write_records([first, dataclasses.replace(first, id="b"), a_record("c", (names[1],))], tmp_path / "rows.jsonl")
    run_recipe(recipe(tmp_path, FILES), tmp_path / "out", root=tmp_path)
    assert sorted(item.record.id for item in ShardStream(tmp_path / "out")) == ["a", "c"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["steps"][1]["units"]["rows"] | {"digest": ""} == {"digest": "", "records": 2, "repeated": 1}


def test_a_damaged_row_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(RecordError, match=r"rows.jsonl:1: row 1: field .id. is"):
        run_recipe(recipe(tmp_path, FILES), tmp_path / "out", root=tmp_path)


def test_a_source_is_read_again_when_its_download_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(folder: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
        for path in sorted(folder.glob("*.flac")):
            yield Sample(path.stem, str(path), "tones", "train", "CC0-1.0", labels=("tone",))
        yield Lost("missing file", f"{folder}/list.csv:3")

    tones = Source("tones", "Tones", "CC0-1.0", "", "", "", ("labels",), "", read)
    monkeypatch.setattr(readers, "SOURCES", {"tones": tones}, raising=False)
    write_tones(tmp_path, 3)
    text = "recipe: 1\nsteps:\n  - use: source\n    source: tones\n    at: tones\n"
    path = recipe(tmp_path, text + "  - use: records\n    files: [rows.jsonl]\n  - use: shards\n")
    write_records([a_record("a", ("tones/000.flac",))], tmp_path / "rows.jsonl")
    run_recipe(path, tmp_path / "out", root=tmp_path)
    (listed,) = (tmp_path / "out").glob(".work/source/tones-*/samples.jsonl")
    rows = [sample_from_json(json.loads(line)) for line in listed.read_text().splitlines()]
    assert [row.audio for row in rows] == ["tones/000.flac", "tones/001.flac", "tones/002.flac"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())["steps"][0]["units"]["tones"]
    assert report["samples"] == {"train": 3} and report["lost"] == {"missing file": 1}
    assert report["first_lost"][0]["where"] == "tones/list.csv:3"
    assert source_kind.SourceOptions("tones", "tones").limit == 0
    write_tones(tmp_path, 4)
    run_recipe(path, tmp_path / "out", root=tmp_path)
    (listed,) = (tmp_path / "out").glob(".work/source/tones-*/samples.jsonl")
    assert len(listed.read_text().splitlines()) == 4


MIXED = """
recipe: 1
name: mixed
seed: 3
steps:
  - use: source
    source: corpus
    at: corpus
  - use: compose
    takes: [source]
    values:
      scenes: {{train: 3, test: 2}}
      seconds: [5, 6]
  - use: make
    plan: {{rows: 60}}
    splits: [train, test]
  - use: check
  - use: shards
    audio: flac
"""


@pytest.mark.slow
def test_from_samples_by_scenes_to_rows_and_shards(root: Path, tmp_path: Path) -> None:
    """The real reader, composer and makers; twice, and in different folders."""
    for name in "ab":
        run_recipe(recipe(tmp_path, MIXED), tmp_path / name, root=root)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    told = json.loads((tmp_path / "a" / "report.json").read_text())
    units = {step["use"]: step["units"] for step in told["steps"]}
    assert units["compose"]["train"]["samples"] == 3 and units["compose"]["test"]["samples"] == 2
    assert units["make"]["train"]["records"] > 40 and told["splits"]["test"]["records"] > 10
    rows = list(ShardStream(tmp_path / "a"))
    assert {item.record.split for item in rows} == {"train"}
    assert all(item.waveform(place).seconds > 0 for item in rows for place in range(len(item.audios)))


def test_a_benchmark_may_be_trained_on_only_by_name(tmp_path: Path) -> None:
    names = write_tones(tmp_path, 3)
    (tmp_path / "bench").mkdir()
    shutil.copy(tmp_path / names[0], tmp_path / "bench" / "renamed.flac")
    write_records([a_record("a", (names[0],)), a_record("b", (names[1],))], tmp_path / "rows.jsonl")
    with_bench = FILES.replace("- use: check", "- use: check\n    benchmarks: {{tones: bench}}")
    with pytest.raises(CorpusError, match=r"share sound with the benchmark 'tones'.*000\.flac"):
        run_recipe(recipe(tmp_path, with_bench), tmp_path / "out", root=tmp_path)
    allowed = with_bench.replace("bench}}", "bench}}\n    allow: [tones]")
    run_recipe(recipe(tmp_path, allowed), tmp_path / "out", root=tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["steps"][1]["units"]["rows"]["leaks"] == {"tones": 1}


OPENAQA = [
    {"instruction": "What is it?", "input": "", "audio_id": "tones/000.flac", "dataset": "toys", "task": "label",
     "output": "A tone."},
    {"instruction": "And this?", "input": "", "audio_id": 7, "dataset": "toys", "task": "label", "output": "A tone."},
]  # fmt: skip


def test_rows_of_another_project_become_shards(tmp_path: Path) -> None:
    write_tones(tmp_path, 1)
    (tmp_path / "rows.jsonl").write_text(json.dumps(OPENAQA))
    openaqa = FILES.replace("[rows.jsonl]", "[rows.jsonl]\n    format: openaqa")
    with pytest.raises(RecordError, match=r"row 2: field 'audio_id' is '7'"):
        run_recipe(recipe(tmp_path, openaqa), tmp_path / "out", root=tmp_path)
    lenient = openaqa.replace("openaqa", "openaqa\n    bad: leave_out")
    run_recipe(recipe(tmp_path, lenient), tmp_path / "out", root=tmp_path)
    (item,) = ShardStream(tmp_path / "out")
    assert item.record.messages[1].content == "A tone." and item.waveform().rate == 8_000
    report = json.loads((tmp_path / "out" / "report.json").read_text())["steps"][0]["units"]["files"]
    assert report["records"] == 1 and report["bad"] == {"audio_id": 1}


def command(root: Path, path: Path, out: Path, *more: str) -> list[str]:
    code = "from alm.cli import app_main; app_main()"
    return [sys.executable, "-c", code, "data", "build", str(path), "--out", str(out), "--root", str(root), *more]


def test_one_build_at_a_time(root: Path, tmp_path: Path) -> None:
    import fcntl

    work = tmp_path / "out" / ".work"
    work.mkdir(parents=True)
    with (work / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CorpusError, match="another build"):
            run_recipe(recipe(tmp_path), tmp_path / "out", root=root)
    run_recipe(recipe(tmp_path), tmp_path / "out", root=root)


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, train=600)
    calm = tmp_path / "calm"
    subprocess.run(command(root, path, calm), check=True, capture_output=True, cwd=REPOSITORY)
    rng, out, killed, stages = random.Random(0), tmp_path / "out", 0, set()
    while killed < 10:
        # The moment is a number of files, not a time: on a slow machine most of a time goes into imports.
        process = subprocess.Popen(command(root, path, out), stderr=subprocess.DEVNULL, cwd=REPOSITORY)
        moment = len(list(out.rglob("*"))) + rng.randint(1, 8)
        while len(list(out.rglob("*"))) < moment and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            stages.add((len(list(out.rglob("done.json"))), len(list(out.rglob("*.tar")))))
        else:  # It was done before it could be killed: begin anew.
            out.rename(tmp_path / f"done-{killed}-{time.monotonic()}")
    assert len(stages) > 2, f"the kills came at different stages: {stages}"
    subprocess.run(command(root, path, out), check=True, capture_output=True, cwd=REPOSITORY)
    assert tree(out) == tree(calm)


@pytest.mark.slow
def test_ray_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'alm[ray]'")
    path = recipe(tmp_path)
    run_recipe(path, tmp_path / "here", root=root)
    more = ("--engine", "ray", "--workers", "2")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command(root, path, tmp_path / "there", *more), env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    absent = recipe(tmp_path, WRONG["no such file"].replace("{", "{{").replace("}", "}}"))
    assert subprocess.run(command(root, absent, tmp_path / "x", *more), env=environment).returncode == 2
