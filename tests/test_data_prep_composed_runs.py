"""Plans and files of samples that others wrote, runs that are killed, and scenes of an hour."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from composed_toys import files_of, toy_samples

from alm.errors import AlmError, RecordError
from data_prep.composed.plan import ScenePlan, load_plan, plan_from_mapping
from data_prep.errors import CorpusError
from data_prep.sample_files import parse_sample, read_samples, write_samples
from data_prep.samples import Event, Sample, to_json

VARIANTS = 2000
ODD = [None, True, -1, 0, 1e300, float("nan"), "", "\0", "../../x", "x" * 5000, [], [1], [2, 1], ["a"], {}, {"a": 1}]


def test_samples_survive_their_file(tmp_path: Path) -> None:
    made = toy_samples(tmp_path / "clips", takes=1)
    made[0] = dataclasses.replace(made[0], events=(Event("frog", 0.5, 1.0),), transcript="ü", complete=True)
    path = tmp_path / "lists" / "samples.jsonl"
    assert write_samples(made, path) == len(made)
    assert list(read_samples(path)) == made
    assert str(tmp_path) not in path.read_text(), "the place of the folder is written down"
    moved = tmp_path / "moved"
    (tmp_path / "lists").rename(moved)
    assert [s.id for s in read_samples(moved / "samples.jsonl")] == [s.id for s in made]


def _spoilt(row: dict[str, Any], rng: random.Random) -> bytes:
    row = dict(row)
    change = rng.choice(["drop", "odd", "new", "bytes", "cut", "nest"])
    name = rng.choice(sorted(row))
    if change == "drop":
        del row[name]
    elif change == "odd":
        row[name] = rng.choice(ODD)
    elif change == "new":
        row[rng.choice(["huge", "events", "voice", "start", "seconds"])] = rng.choice(ODD)
    elif change == "nest":
        row["events"] = [rng.choice([*ODD, {"label": "a", "onset": rng.choice(ODD)}])]
    data = json.dumps(row).encode()
    if change == "bytes":
        return data.replace(b"a", bytes([rng.randrange(128, 256)]), 1)
    return data[: rng.randrange(len(data))] if change == "cut" else data


def test_spoilt_samples_are_refused_or_whole(tmp_path: Path) -> None:
    row, rng, kept, refused = to_json(toy_samples(tmp_path / "clips", takes=1)[0]), random.Random(5), 0, 0
    path = tmp_path / "samples.jsonl"
    for number in range(VARIANTS):
        line = _spoilt(row, rng)
        try:
            if number % 20:  # the others from a file
                kept += isinstance(parse_sample(line.decode("latin-1"), tmp_path, f"{path}:1"), Sample)
            else:
                path.write_bytes(line or b"{")
                kept += len(list(read_samples(path)))
        except RecordError as fault:
            refused += 1
            assert f"{path}:1" in str(fault) and len(str(fault)) < 1000
    assert kept > 100 and refused > 500 and kept + refused == VARIANTS


def test_a_line_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"id": "' + b"x" * 40_000_000 + b'"}\n')
    with pytest.raises(RecordError, match=r"samples.jsonl:1: .*longer"):
        list(read_samples(path))


def test_plans_are_checked() -> None:
    rng, names = random.Random(7), [item.name for item in dataclasses.fields(ScenePlan)]
    kept = 0
    for _ in range(VARIANTS):
        values: Any = {rng.choice([*names, "unknown"]): rng.choice(ODD) for _ in range(rng.randrange(1, 3))}
        try:
            plan_from_mapping(values if rng.random() < 0.95 else rng.choice(ODD), "plan.yaml")
            kept += 1
        except CorpusError as fault:
            assert str(fault).startswith("plan.yaml: ") and len(str(fault)) < 1500
    assert 20 < kept < VARIANTS // 2


def test_a_plan_that_is_no_plan_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    for text in ("seconds: [5", "- 1", "seconds: [9, 5]", "kinds: {sonata: 1}", "scenes: {train: -1}"):
        path.write_text(text)
        with pytest.raises(AlmError, match=r"plan\.yaml"):
            load_plan(str(path))
    with pytest.raises(CorpusError, match="mixed"):
        load_plan("no such plan")


RUN = """
import sys
from pathlib import Path
from composed_toys import toy_plan
from data_prep.composed import compose
from data_prep.sample_files import read_samples
plan = toy_plan(scenes={"train": 12}, kinds={"sequence": 1, "overlap": 1}, codec_chance=0.5)
for _ in compose(read_samples(Path(sys.argv[1])), plan, 0, Path(sys.argv[2])): pass
"""


@pytest.mark.slow
def test_runs_that_are_killed_give_the_same_bytes(tmp_path: Path) -> None:
    """kill -9 at ten random moments, then to the end."""
    listed = tmp_path / "samples.jsonl"
    write_samples(toy_samples(tmp_path / "clips"), listed)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

    def start(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", RUN, str(listed), str(tmp_path / out)], env=env)

    assert start("whole").wait(120) == 0
    began = time.monotonic()
    assert start("whole again").wait(120) == 0  # the first start reads libraries from the disk, and tells little
    took, rng, killed = time.monotonic() - began, random.Random(0), 0
    for _ in range(10):
        process = start("killed")
        try:
            process.wait(took * rng.uniform(0.3, 0.9))
            took *= 0.8  # it was quicker than the one that was measured
        except subprocess.TimeoutExpired:
            process.kill()
            killed += process.wait(60) == -signal.SIGKILL
    assert killed
    assert start("killed").wait(120) == 0
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


LONG = """
import resource, sys
from pathlib import Path
from composed_toys import toy_plan, toy_samples
from data_prep.composed import compose
seconds = float(sys.argv[1])
plan = toy_plan(scenes={"train": 1}, kinds={"needle": 1}, seconds=(seconds, seconds), codec_chance=1.0,
    codecs=("telephone",), noise_chance=1.0, rate_hz=8_000)
(scene,) = compose(toy_samples(Path(sys.argv[2]) / "clips"), plan, 0, Path(sys.argv[2]))
assert scene.seconds == seconds and len(scene.events) > 2
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

    def megabytes(seconds: int) -> int:
        command = [sys.executable, "-c", LONG, str(seconds), str(tmp_path / str(seconds))]
        return int(subprocess.run(command, env=env, check=True, capture_output=True, timeout=600).stdout)

    assert megabytes(3600) < megabytes(60) + 60
