"""A whole run with the default preset: features, curriculum, export, going on from an adapter, answering."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from typer.testing import CliRunner

import alm
from alm.adapters import TRAINED_ON, read_trained_on
from alm.errors import ConfigError
from training.cli import app
from training.config import RunConfig
from training.export import write_adapter
from training.features import Extractor
from training.models import find_base, make_ear
from training.run import START, Run, recordings
from training.starting import start_from
from training.typed import build

pytestmark = [pytest.mark.slow, pytest.mark.weights]
CLASSES = ("electronic beep or tone", "static noise")


def _corpus(folder: Path) -> None:
    """Six tones and six noises from two sources each, the last of each to validate."""
    rng = np.random.default_rng(0)
    clips, rows = [], []
    for index in range(12):
        kind, split = index % 2, "dev" if index >= 10 else "train"
        tone = np.sin(2 * np.pi * (300 + 80 * index) * np.arange(16_000) / 16_000)
        soundfile.write(folder / f"{index}.wav", 0.3 * (rng.standard_normal(16_000) if kind else tone), 16_000)
        source = f"package{index % 3}" if split == "train" else "held"
        clips.append({
            "audio": f"{index}.wav", "classes": [CLASSES[kind]], "description": CLASSES[kind], "package": source,
            "split": split,
        })  # fmt: skip
        messages = [{"role": "user", "content": "<audio>What is it?"}, {"role": "assistant", "content": CLASSES[kind]}]
        rows.append({
            "id": str(index), "messages": messages, "audios": [f"{index}.wav"], "source": source, "task": "label",
            "split": split, "licence": "CC0", "duration": 1.0,
        })  # fmt: skip
    for name, lines in (("clips", clips), ("rows", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _config(folder: Path) -> RunConfig:
    language = {"kind": "language", "steps": 2, "batch_size": 4, "eval_every_steps": 2, "samples": 1, "warmup_steps": 1}
    values: dict[str, Any] = {
        "preset": "tiny", "out": str(folder / "run"), "threads": 1,
        "data": {
            "clips": [str(folder / "clips.jsonl")], "records": [str(folder / "rows.jsonl")],
            "cache": str(folder / "features"),
        },
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]},
        "stages": [
            {"name": "align", "kind": "align", "train": ["aligner", "tag_head"], "steps": 2, "batch_size": 4,
             "lr": {"aligner": 0.001, "tag_head": 0.001}, "eval_every_steps": 2},
            {"name": "answer", "train": ["aligner", "lora"], "lr": {"aligner": 0.001, "lora": 0.001}, **language},
            {"name": "converse", "train": ["lora"], "lr": {"lora": 0.001}, **language},
        ],
    }  # fmt: skip
    return build(RunConfig, values, "test")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    _corpus(folder)
    config = _config(folder)
    extractor = Extractor(make_ear(config, find_base(config)), Path(config.data.cache), config.data.max_windows)
    for group in recordings(config.data, ["train", "dev"]):
        extractor.run(group, lambda report, total: None)
    assert Run(config, folder / "run", lambda text: None).go()
    write_adapter(config, folder / "run", folder / "adapter")
    return config, folder


def test_the_adapter_tells_what_it_was_trained_on(finished: tuple[RunConfig, Path]) -> None:
    config, folder = finished
    told = (folder / "adapter" / "trained_on.txt").read_text().split()

    def digests(split: str) -> set[str]:
        paths = {path for group in recordings(config.data, [split]) for path in group}
        return {hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths}

    assert set(told) == digests("train") and told == sorted(told)
    assert not set(told) & digests("dev"), "control: what only chose the stage is not in it"


def test_the_curriculum_ends_in_an_adapter_that_answers(finished: tuple[RunConfig, Path]) -> None:
    config, folder = finished
    log = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in log if row.get("validation")} == {s.name for s in config.stages}
    assert (folder / "run" / "curves.png").stat().st_size > 1000
    chat = alm.load("tiny", adapter=folder / "adapter").conversation()
    assert chat.ask("What is it?", audio=folder / "0.wav")


def test_a_run_goes_on_from_an_adapter(finished: tuple[RunConfig, Path]) -> None:
    """It begins with the adapter's weights; LoRA layers that are new begin as the identity; only the stage is run."""
    config, folder = finished
    wider = replace(config, lora=replace(config.lora, targets=("q_proj", "up_proj")))
    run = Run(wider, folder / "further", lambda text: None)
    earlier = read_trained_on(folder / "adapter") | {"0123456789abcdef"}
    (folder / "adapter" / TRAINED_ON).write_text("\n".join(sorted(earlier)) + "\n")
    start_from(run, folder / "adapter", "converse")
    before = load_file(folder / "further" / "stages" / "answer" / "model.safetensors")
    old = load_file(folder / "run" / "stages" / "converse" / "model.safetensors")
    for name, tensor in old.items():
        torch.testing.assert_close(before[name], tensor.half().float(), rtol=0, atol=0)
    new = {n: t for n, t in before.items() if n not in old}
    assert new and all("up_proj" in n for n in new) and not any(t.any() for n, t in new.items() if "lora_B" in n)
    assert run.go("converse")
    after = load_file(folder / "further" / "stages" / "converse" / "model.safetensors")
    assert any(not torch.equal(after[n], before[n]) for n in before), "the stage trains"
    write_adapter(wider, folder / "further", folder / "again")
    assert read_trained_on(folder / "again") == earlier, "what was heard before is listed, too"
    with pytest.raises(ConfigError, match="holds a run"):
        start_from(Run(wider, folder / "further", lambda text: None), folder / "adapter", "converse")


def test_an_adapter_goes_on_with_rows_alone(finished: tuple[RunConfig, Path]) -> None:
    """No stage before, no labelled clips: the same weights as after a stage that the adapter stands for."""
    config, folder = finished
    data = replace(config.data, clips=())
    told = replace(config.stages[2], evidence=replace(config.stages[2].evidence, tags=1.0, folds=0))
    weights = []
    for name, stages in (("alone", (told,)), ("after", (replace(config.stages[1], train=("lora",)), told))):
        own = replace(config, data=data, stages=stages)
        run = Run(own, folder / name, lambda text: None)
        start_from(run, folder / "adapter", None if name == "alone" else "converse")
        assert run.go(), "control: every stage is done"
        assert run.knowledge().sounds, "the adapter's head hears the recordings of the rows"
        weights.append(load_file(folder / name / "stages" / "converse" / "model.safetensors"))
        write_adapter(own, folder / name, folder / f"{name}-adapter")
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    about = json.loads((folder / "alone-adapter" / "alm_adapter.json").read_text())
    assert about["model"]["tag_labels"] == sorted(CLASSES), "classes are the adapter's"
    assert list(about["training"]["stages"]) == ["converse"]
    assert list(about["training"]["start"]["stages"]) == ["align", "answer", "converse"]


def test_lora_of_an_adapter_is_heard_in_a_stage_that_does_not_train_it(finished: tuple[RunConfig, Path]) -> None:
    config, folder = finished
    stage = replace(config.stages[1], train=("aligner",), steps=1)
    run = Run(replace(config, stages=(stage,)), folder / "lora", lambda text: None)
    start_from(run, folder / "adapter")
    assert run.go()
    layers = [m for m in run.parts[0].modules() if isinstance(m, BaseTunerLayer)]
    assert layers and not any(m.disable_adapters for m in layers)
    (run.folder / START).unlink()
    run._lora_for(stage)
    assert all(m.disable_adapters for m in layers), "control: what nobody trained is left out"


def test_rows_without_features_are_told(finished: tuple[RunConfig, Path]) -> None:
    config, folder = finished
    empty = replace(config.data, cache=str(folder / "none"))
    run = Run(replace(config, data=empty, stages=config.stages[1:2]), folder / "empty", lambda text: None)
    with pytest.raises(ConfigError, match="`--prepare` makes these first"):
        start_from(run, folder / "adapter")
    assert not (folder / "empty").exists()


def test_one_command_prepares_and_trains(tmp_path: Path) -> None:
    _corpus(tmp_path)
    config = _config(tmp_path)
    bare = replace(config.stages[1], evidence=replace(config.stages[1].evidence, tags=0.0, asked=0.0))
    (tmp_path / "own.json").write_text(json.dumps(replace(config, stages=(bare,)).to_dict()))
    without = CliRunner().invoke(app, [str(tmp_path / "own.json"), "--out", str(tmp_path / "without")])
    assert isinstance(without.exception, ConfigError), "control"
    assert "`--prepare` makes these first" in str(without.exception)
    done = CliRunner().invoke(app, [str(tmp_path / "own.json"), "--prepare"])
    assert done.exit_code == 0, done.output
    assert "12 cached, 0 were there" in done.output and "stage answer done" in done.output
