"""Two processes make what one makes; runs go on with another number of them; a killed one leaves a whole checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import torch

from alm.errors import ConfigError
from tests import training_processes as runs
from training import checkpoint, processes, sharding
from training.config import StageConfig, load_config
from training.loop import Stop
from training.processes import Processes, join, wanted_shards
from training.sharding import even_parts
from training.shares import answer_weight, share

ROOT = Path(__file__).parent.parent
NAME = {"align": "align", "language": "talk"}
LONG = 26
"""Steps of a run that is killed twenty times."""


TALK = StageConfig(name="talk", kind="language", train=("lora",), lr={"lora": 1e-3, "llm": 1e-5}, steps=1)
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
"""What accelerate's launcher sets for training/launch/fsdp.yaml."""
ZERO3 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
"""And for training/launch/deepspeed.yaml."""
needs_compiler = pytest.mark.skipif(which("c++") is None, reason="no c++: for CPUs DeepSpeed builds a part of itself")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where DeepSpeed keeps what it compiled; not the user's folder, in which a killed compiler leaves its lock."""
    return tmp_path_factory.mktemp("built")


def launch(
    count: int, kind: str, folder: Path, killed_after: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Train in `count` processes as a user starts them."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m",
        "tests.training_processes", kind, str(folder), str(killed_after),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


def losses(folder: Path, kind: str, checks: bool = False) -> list[float]:
    """The validations' figures and, without `checks`, the logged losses of a run."""
    rows = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    rows = [r for r in rows if r.get("validation") or not checks]
    return [v for r in rows for k, v in r.items() if k.startswith(("loss", "score", "norm", "class", "tags"))]


def new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def finish(kind: str, folder: Path) -> list[float]:
    """The rest of a run in this process."""
    stage, _ = runs.MAKE[kind](folder)
    assert stage.run(Stop())
    return losses(folder, kind)


def test_the_parts_of_a_batch_are_the_whole_batch(tmp_path: Path) -> None:
    stage, model = runs.language_run(tmp_path)
    objective: Any = stage.objective
    batch, settings = objective.batch(0), model.config
    torch.manual_seed(0)
    whole, _ = objective.loss(batch)
    parts, seen = [], 0
    for rank in range(3):
        torch.manual_seed(0)
        processes = Processes(rank, 3)
        part = share(batch, 0.1, processes, settings.audio_token_id, settings.tokens_per_window)
        seen += len(part.ids)
        each, where, _ = objective._token_losses(part, 0.0)
        parts.append((each * part.weights[where]).sum() / answer_weight(batch))
    assert seen == len(batch.ids)
    torch.testing.assert_close(sum(parts), whole, rtol=1e-5, atol=1e-6)
    assert abs(float((parts[0] - whole).detach())) > 1e-3, "control: one part is not the whole"


def test_a_process_without_a_part_counts_for_nothing(tmp_path: Path) -> None:
    stage, model = runs.language_run(tmp_path)
    batch, settings = stage.objective.batch(0), model.config
    idle = [
        part for rank in range(8)
        if not bool((part := share(
            batch, 0.0, Processes(rank, 8), settings.audio_token_id, settings.tokens_per_window
        )).weights.any())
    ]  # fmt: skip
    assert len(idle) == 3 and all(len(p.ids) for p in idle), "five bundles for eight processes"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["align", "language"])
def test_two_processes_make_the_losses_of_one(tmp_path: Path, kind: str) -> None:
    one = finish(kind, new(tmp_path, "one"))
    done = launch(2, kind, new(tmp_path, "two"))
    assert done.returncode == 0, done.stdout + done.stderr
    # Not by line: two processes share one standard output.
    assert {"0", "1"} == set(re.findall(r"process (\d) of 2", done.stdout)), "control: there are two"
    two = losses(tmp_path / "two", kind)
    assert len(one) > 4 and two == pytest.approx(one, abs=1e-5, rel=1e-5)
    assert one != pytest.approx([x * 1.001 for x in one], abs=1e-5, rel=1e-5), "control: the comparison can fail"


def _killed_at(kind: str, folder: Path, step: int) -> None:
    torch.set_num_threads(1)
    stage, _ = runs.MAKE[kind](folder, save_every_seconds=0.0, steps=LONG)
    stage.log.listeners = (runs.Killer(step),)
    stage.run(Stop())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["align", "language"])
def test_a_run_that_is_killed_at_twenty_random_steps_ends_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    weights = []
    for name in ("straight", "killed"):
        folder = new(tmp_path, name)
        if name == "killed":
            runs.MAKE[kind](folder, steps=LONG)  # writes the cache
            for step in sorted(random.Random(5).sample(range(1, LONG), 20)):
                child = multiprocessing.get_context("fork").Process(target=_killed_at, args=(kind, folder, step))
                child.start()
                child.join()
                assert child.exitcode == -signal.SIGKILL
                found = checkpoint.latest(folder / "run", NAME[kind])
                assert step == 1 or (found is not None and int(found.name.split("-")[-1]) == step - 1)
        stage, model = runs.MAKE[kind](folder, steps=LONG)
        assert stage.run(Stop())
        weights.append({n: p.detach().clone() for n, p in model.named_parameters()})
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    begun, _ = runs.MAKE[kind](new(tmp_path, "begun"), steps=LONG)
    assert any(not torch.equal(p, weights[0][n]) for n, p in begun.names.items()), "control: the run changes weights"


def test_other_ways_to_shard_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted_shards() == ""  # control
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="fsdp_version: 2"):
        join("cpu")
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert wanted_shards() == "fsdp"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="zero_stage unset"):
        join("cpu")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    with pytest.raises(ConfigError, match="zero_stage 2; stage 3 alone"):
        join("cpu")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    assert wanted_shards() == "zero3"
    monkeypatch.setattr(processes, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'alm\[deepspeed\]'"):
        join("cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "by"),
    [
        pytest.param("language", FSDP, id="fsdp"),
        pytest.param("keys_values, recomputing", ZERO3, id="zero3", marks=needs_compiler),
    ],
)
def test_frozen_layers_in_parts_make_the_same_losses(
    tmp_path: Path, built: Path, kind: str, by: dict[str, str]
) -> None:
    """Two processes hold half of the frozen weights each; either way of resuming with them whole goes on the same."""
    one = finish(kind, new(tmp_path, "one"))
    by = {**by, "TORCH_EXTENSIONS_DIR": str(built)}
    done = {}
    for name, variables in (("whole", {}), ("parts", by)):
        done[name] = launch(2, kind, new(tmp_path, name), **variables)
        assert done[name].returncode == 0, done[name].stdout + done[name].stderr
        assert losses(tmp_path / name, kind) == pytest.approx(one, abs=1e-5, rel=1e-5)
    here = {name: [int(n) for n in re.findall(r"frozen here: (\d+);", d.stdout)] for name, d in done.items()}
    assert len(here["parts"]) == 2 and [2 * n for n in here["parts"]] == here["whole"]
    died = launch(2, kind, new(tmp_path, "killed"), killed_after=5, **by)
    assert died.returncode != 0
    finish(kind, tmp_path / "killed")  # alone, with whole weights
    checks = (losses(tmp_path / name, kind, checks=True) for name in ("killed", "one"))
    assert next(checks) == pytest.approx(next(checks), abs=1e-5, rel=1e-5)


@pytest.mark.slow
def test_without_hooks_on_keys_and_values_layers_in_parts_have_no_backward_pass(tmp_path: Path) -> None:
    """The control of the test above."""
    failed = launch(2, "without hooks", new(tmp_path, "run"), **FSDP)
    assert failed.returncode != 0 and "RuntimeError" in failed.stderr


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.processes.usable_cores", lambda: 8)
    assert Processes().threads(16) == 16, "one process does as it is told"
    assert Processes().threads(0) == 8 and Processes(0, 2).threads(0) == 4
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert [Processes(0, n).threads(4) for n in (2, 4, 8, 16)] == [4, 2, 1, 1]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # of sixteen, on eight machines
    assert Processes(0, 16).threads(4) == 4


def test_every_process_has_as_many_groups_of_rows(tmp_path: Path) -> None:
    stage, _ = runs.language_run(tmp_path)
    batch = stage.objective.batch(0)
    rows = len(batch.ids)
    assert rows > 3

    def groups(others: list[int]) -> list[torch.Tensor]:
        processes = Processes(0, 2)
        least = lambda own: torch.minimum(own, torch.tensor(others))  # noqa: E731
        object.__setattr__(processes, "least", least)
        return even_parts(batch, rows, processes)

    assert [len(groups([-g, r])) for g, r in ((1, 9), (3, 9), (3, 2))] == [1, 3, 2]
    assert sorted(torch.cat(groups([-3, 9])).tolist()) == list(range(rows))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantise": "nf4"}, "quantise is 'nf4'"),
        ({"stages": (replace(TALK, train=("llm",)),)}, "trains the language model"),
        ({"stages": (TALK, replace(TALK, name="align", kind="align", train=()))}, "align` comes after"),
    ],
)
def test_what_cannot_lie_in_parts_is_refused(changes: dict[str, Any], reason: str) -> None:
    config = load_config(ROOT / "training" / "configs" / "tiny.yaml")
    sharding.check(config)  # control
    with pytest.raises(ConfigError, match=reason):
        sharding.check(replace(config, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["align", "language"])
def test_a_killed_process_ends_the_others_and_one_alone_goes_on(tmp_path: Path, kind: str) -> None:
    """The checkpoint of two processes is whole after the kill; one process ends the run as if nothing had been."""
    finish(kind, new(tmp_path, "one"))
    checked, folder = losses(tmp_path / "one", kind, checks=True), new(tmp_path, "two")
    died = launch(2, kind, folder, killed_after=5)
    assert died.returncode != 0
    found = checkpoint.latest(folder / "run", NAME[kind])
    assert found is not None and int(found.name.split("-")[-1]) in (4, 5)
    assert not list((folder / "run").rglob(".part-*")), "nothing half-written is left"
    finish(kind, folder)  # its logged losses are means over the steps since it went on
    assert losses(folder, kind, checks=True) == pytest.approx(checked, abs=1e-5, rel=1e-5)
