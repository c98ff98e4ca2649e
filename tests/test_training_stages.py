"""What a stage of a whole run leaves behind, and what a later one finds."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from alm.adapters import load_adapter
from alm.errors import CheckpointError, ConfigError, RecordError
from tests import small_runs as runs
from tests import training_helpers as small
from training import checkpoint, export, run
from training.atomic import MARKER
from training.cli import app
from training.config import StageConfig, load_config
from training.estimate import _length, describe
from training.features import FeatureCache, Item, heard_by
from training.groups import trainable
from training.loop import Stage, Stop
from training.resuming import told_changes
from training.starting import start_from
from training.stretches import Stretch, recording_named
from training.typed import build
from training.watching import Lines


def _stage(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "stages" / name / "model.safetensors")


def test_without_rows_to_validate_by_the_last_weights_are_kept(tmp_path: Path) -> None:
    """A longer stage leaves other weights than a shorter one, though nothing tells which are better."""
    runs.corpus(tmp_path, dev=False)
    ends = {}
    for steps in (2, 6):
        own = runs.run(runs.config(tmp_path, {"steps": steps, "schedule": "constant"}, out=str(tmp_path / f"{steps}")))
        assert own.go()
        assert "stage stage0: no rows of split `dev` to validate by; the last weights are kept" in own.said
        ends[steps] = load_file(tmp_path / f"{steps}" / "stages" / "stage0" / "model.safetensors")
    assert not all(torch.equal(ends[2][n], t) for n, t in ends[6].items())


def test_with_rows_to_validate_by_the_best_weights_are_kept(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    own = runs.run(runs.config(tmp_path, {"steps": 4}))
    assert own.go()
    best, kept = _stage(tmp_path, "stage0-best"), _stage(tmp_path, "stage0")
    assert all(torch.equal(best[n], t) for n, t in kept.items())
    assert not any("no rows" in line for line in own.said)


def test_patience_needs_rows_to_validate_by(tmp_path: Path) -> None:
    runs.corpus(tmp_path, dev=False)
    with pytest.raises(ConfigError, match="stage stage0: no rows of split `dev`.*patience is 2"):
        runs.run(runs.config(tmp_path, {"patience": 2})).go()


def _llm(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.get_parameter("model.language_model.layers.2.mlp.up_proj.weight").detach()
    return weight


def test_what_an_earlier_stage_made_of_the_language_model_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.corpus(tmp_path)
    settings = runs.config(tmp_path, {"train": ["aligner", "llm"]}, {"train": ["aligner"]})
    own = runs.run(settings)
    before = _llm(own.parts[0]).clone()
    assert own.go()
    monkeypatch.setattr(export, "Run", runs.SmallRun)
    found, done = export._trained(settings, tmp_path / "run", None, None)
    assert list(done) == ["stage0", "stage1"] and torch.equal(_llm(found.parts[0]), _llm(own.parts[0]))
    assert not torch.equal(_llm(found.parts[0]), before), "control: it learned"


@pytest.mark.parametrize("later", ["llm", "lora"])
def test_a_language_model_that_learns_later_learns_in_float32(tmp_path: Path, later: str) -> None:
    """And from its own float32 weights, whether it goes on at once or in another process."""
    runs.corpus(tmp_path)
    ends = []
    for name in ("once", "twice"):
        stages = {"train": ["aligner"]}, {"train": [later]}
        settings = runs.config(tmp_path, *stages, precision="bf16", out=str(tmp_path / name))
        own = runs.run(settings)
        if name == "twice":
            assert own.go("stage0") and _llm(own.parts[0]).dtype == torch.bfloat16
            own = runs.run(settings)
        assert own.go()
        assert _llm(own.parts[0]).dtype == (torch.float32 if later == "llm" else torch.bfloat16)
        ends.append(dict(own.parts[0].named_parameters()))
    assert all(torch.equal(ends[0][n], p) for n, p in ends[1].items())


def test_stages_whose_names_begin_alike_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    for name in ("answer-0000003", "answer-long-0000050"):
        with checkpoint.whole_folder(tmp_path / "checkpoints" / name):
            pass
    for stage, step in (("answer", 3), ("answer-long", 50)):
        found = checkpoint.latest(tmp_path, stage)
        assert found is not None and found.name == f"{stage}-{step:07d}"


def test_the_optimizer_goes_on_where_its_weights_are() -> None:
    """The device without memory stands for a GPU."""
    weight = torch.nn.Parameter(torch.zeros(2, device="meta"))
    assert checkpoint._placed("exp_avg", torch.zeros(2), weight).device.type == "meta"
    assert checkpoint._placed("step", torch.tensor(3.0), weight).device.type == "cpu"


def test_a_changed_configuration_is_told_or_refused(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    settings = runs.config(tmp_path, {"steps": 2}, {"steps": 2})
    first = runs.run(settings)
    assert first.go("stage0") and not any("now, not" in line for line in first.said)
    longer = replace(settings, stages=tuple(replace(s, steps=3) for s in settings.stages), threads=2)
    again = runs.run(longer)
    assert again.go()
    assert again.said[:2] == [
        "stages.stage0.steps is 3 now, not 2; that stage is done and stays as it is",
        "stages.stage1.steps is 3 now, not 2",
    ], "control: threads are free to change"
    with pytest.raises(ConfigError, match="holds a run with lora.rank 2, not 4"):
        runs.run(replace(settings, lora=replace(settings.lora, rank=4))).go()
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept["lora"]["rank"] == 2, "what is refused leaves the run as it was"


def test_the_order_of_keys_is_no_change(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    branch = small.config().branches[0]
    settings = runs.config(tmp_path, {"steps": 2}, model={"branches": [branch]})
    assert runs.run(settings).go()
    assert list(branch) != sorted(branch), "control: a configuration is kept with its keys sorted"
    turned = replace(settings, model={"branches": [dict(reversed(branch.items()))]})
    assert told_changes(tmp_path / "run", settings) == told_changes(tmp_path / "run", turned) == []


def test_without_a_terminal_progress_comes_in_lines(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    lines: list[str] = []
    own = runs.run(
        runs.config(tmp_path, {"steps": 12, "eval_every_steps": 6, "samples": 1}), listeners=(Lines(lines.append, 0.0),)
    )
    assert own.go()
    told = [line for line in lines if "of 12: loss" in line]
    assert [line.split(":")[0] for line in told] == ["stage0, step 10 of 12", "stage0, step 12 of 12"]
    assert [line.split(",")[1] for line in lines if "validation: score" in line] == [" step 6", " step 12"]
    assert sum("wanted: a " in line for line in lines) == 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rates = [row["lr_lora"] for row in rows if "lr_lora" in row]
    assert 0.001 <= rates[1] < rates[0] <= 0.01, "rates, not parts of the peak"


def test_patience_ends_a_stage_and_says_so(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    settings = runs.config(tmp_path, {"steps": 40, "patience": 1, "eval_every_steps": 1, "schedule": "constant"})
    settings = replace(settings, stages=(replace(settings.stages[0], lr={"aligner": 1.0, "lora": 1.0}),))
    own = runs.run(settings)
    assert own.go()
    ended = [line for line in own.said if "validations got no better" in line]
    assert len(ended) == 1 and int(ended[0].split("after ")[1].split()[0]) < 40


def test_a_second_signal_ends_at_once() -> None:
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked and stop.number == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eval_rows": -1}, "eval_rows is -1; it must be at least 0"),
        ({"patience": -1}, "patience is -1"),
        ({"grad_clip": -1.0}, "grad_clip is -1"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
        ({"evidence": {"tags": 7.0}}, "evidence: tags is 7; it must lie between 0 and 1"),
        ({"augment": {"noise": -0.1}}, "augment: noise is -0.1"),
        ({"lr": {"aligner": -0.1, "lora": 0.1}}, "lr of aligner is -0.1"),
        ({"name": "a/b"}, "stage 'a/b'"),
        ({"name": "answer-best"}, "stage 'answer-best'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    stage = runs.config(tmp_path, {}).to_dict()["stages"][0]
    with pytest.raises(ConfigError, match=said):
        build(StageConfig, {**stage, **changes}, "test")
    build(StageConfig, stage, "control")


def test_no_limit_on_the_gradient_lets_it_through(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    moved = []
    for clip in (0.0, 1e9):
        own = runs.run(runs.config(tmp_path, {"grad_clip": clip}, out=str(tmp_path / str(clip))))
        assert own.go()
        moved.append(load_file(tmp_path / str(clip) / "stages" / "stage0" / "model.safetensors"))
    assert all(torch.equal(moved[0][n], t) for n, t in moved[1].items())


def test_fields_are_set_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps(runs.config(tmp_path, {}, {}).to_dict()))
    changes = ["stages.stage1.steps=7", "stages.0.lr.lora=0.5", "seed=3", "stages.0.evidence.tags=0.25"]
    changed = load_config(file, single=changes)
    assert (changed.stages[1].steps, changed.stages[0].lr["lora"], changed.seed) == (7, 0.5, 3)
    assert changed.stages[0].steps == 4 and changed.stages[0].evidence.tags == 0.25
    for change, said in (
        ("stages.stage7.steps=1", "no entry stage7; there are 2: stage0, stage1"), ("seed", "not KEY=VALUE"),
        ("seed.x=1", "x is asked of 1"), ("sede=1", "unknown key 'sede'"), ("seed=[", "no YAML"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            load_config(file, single=[change])


def test_checkpoints_by_steps_stay_as_many_as_wanted(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    assert runs.run(runs.config(tmp_path, {"steps": 6}, save_every_steps=1, keep_checkpoints=3)).go()
    assert checkpoint.steps(tmp_path / "run", "stage0") == [4, 5, 6]


def test_a_configuration_is_found_behind_options(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["--out", str(tmp_path / "x"), "nowhere.yaml"])
    assert isinstance(refused.exception, ConfigError) and "nowhere.yaml" in str(refused.exception)


def test_the_command_resumes_or_begins_from_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that give both always, go on where there is a run and begin from the adapter where there is none."""
    runs.corpus(tmp_path)
    settings = runs.config(tmp_path, {"steps": 2})
    assert runs.run(settings).go()
    for module in (export, run):
        monkeypatch.setattr(module, "Run", runs.SmallRun)
    export.write_adapter(settings, tmp_path / "run", tmp_path / "adapter")
    (tmp_path / "own.json").write_text(json.dumps(settings.to_dict()))
    given = [str(tmp_path / "own.json"), "--start", str(tmp_path / "adapter"), "--out", str(tmp_path / "new")]

    def call(*more: str) -> Any:
        return CliRunner().invoke(app, [*given, *more])

    first = call("--resume")
    assert first.exit_code == 0 and f"holds no run to go on with; this one begins from {tmp_path}" in first.output
    assert (tmp_path / "new" / run.START).is_file(), "it went on from the adapter"
    second = call("--resume")
    assert second.exit_code == 0 and "stage stage0 was done before" in second.output and "begins" not in second.output
    assert call().exit_code == 2, "control: without --resume nothing that is there is touched"


def test_a_run_that_was_ended_leaves_with_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.corpus(tmp_path)
    (tmp_path / "own.json").write_text(json.dumps(runs.config(tmp_path, {"steps": 6}).to_dict()))
    monkeypatch.setattr(run, "Run", runs.SmallRun)
    whole, step = Stage._step, iter(range(100))

    def ended(*given: Any) -> Any:
        if next(step) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(*given)

    monkeypatch.setattr(Stage, "_step", ended)
    first = CliRunner().invoke(app, [str(tmp_path / "own.json")])
    assert first.exit_code == 128 + signal.SIGTERM and "go on with --resume" in first.output
    monkeypatch.setattr(export, "Run", runs.SmallRun)
    for at, said in (("latest", "after stage stage0, latest"), ("best", "stage0, best"), ("3", "stage0, 3")):
        out = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / at), "--checkpoint", at])
        assert out.exit_code == 0 and said in out.output, out.output
    latest, best = (load_file(tmp_path / n / "hearing.safetensors") for n in ("latest", "best"))
    assert not all(torch.equal(best[n], t) for n, t in latest.items()), "control: step 3 and step 2"
    assert export.read_stages(tmp_path / "latest")["stage0"] == {"step": 3, "unfinished": "latest"}
    missing = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "x"), "--checkpoint", "7"])
    assert "stage 'stage0' has no weights '7'; there are: 3" in str(missing.exception)
    second = CliRunner().invoke(app, [str(tmp_path / "own.json"), "--resume"])
    assert second.exit_code == 0 and "stage stage0 goes on from" in second.output
    whole = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "whole")])
    assert "after stage stage0" in whole.output and "not in it" not in whole.output


def test_an_export_names_the_last_stage_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.corpus(tmp_path)
    config = runs.config(tmp_path, {}, {})
    config = replace(config, stages=tuple(replace(s, name=n) for s, n in zip(config.stages, "za", strict=True)))
    assert runs.run(config).go()
    (tmp_path / "run" / "config.json").write_text(json.dumps(config.to_dict()))
    monkeypatch.setattr(export, "Run", runs.SmallRun)
    out = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(tmp_path / "out")])
    assert out.exit_code == 0 and "after stage a" in out.output, out.output


def test_what_a_later_stage_lacks_is_found_before_the_first(tmp_path: Path) -> None:
    runs.corpus(tmp_path)
    own = runs.run(runs.config(tmp_path, {}, {"tasks": {"manny": 1.0}}))
    with pytest.raises(ConfigError, match=r"stage stage1: no training rows of its tasks \(manny\)"):
        own.go()
    assert not (tmp_path / "run" / "stages").exists()
    assert runs.run(runs.config(tmp_path, {}, {"tasks": {"label": 1.0}})).go()


def test_features_of_other_settings_are_refused(tmp_path: Path) -> None:
    settings = small.config()
    heard = heard_by(settings.encoder_configs, settings.window_seconds, settings.overlap_seconds)
    small.write_cache(tmp_path / "features", ["0.wav"]).check(settings)  # written before it was kept
    about = tmp_path / "features" / "cache.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "heard_by": heard}))
    FeatureCache(tmp_path / "features").check(settings)
    other = small.config(encoders={"ear": {**settings.encoders["ear"], "layers": [0, 2]}})
    with pytest.raises(CheckpointError, match=r"holds features by ear .*'layers': \[1, 2\].* wants .*\[0, 2\]"):
        FeatureCache(tmp_path / "features").check(other)


def test_the_dry_run_counts_what_the_stage_will_show(tmp_path: Path) -> None:
    runs.corpus(tmp_path, dev=False)
    epochs = {"steps": 0, "epochs": 3, "draw": "rows", "tasks": {"label": 1.0}}
    own = runs.run(runs.config(tmp_path, epochs, {"tasks": {"manny": 1.0}}, {"gradient_checkpointing": True}))
    own.sounds = []
    told = list(describe(own))
    assert "stage0: " in told[2] and ", 5 steps of 3.6, about " in told[2], told[2]
    assert told[3].startswith("stage1: cannot be run yet: ") and "stage2: " in told[4]
    length = _length(own, own.config.stages[0])
    shown = [r for r in own.rows if r.task == "label"]
    assert length.tokens * length.steps == 3 * sum(r.length for r in shown)


@pytest.mark.parametrize("tune", ["frozen", "lora", "full"])
def test_an_encoder_learns_as_its_configuration_says(
    tmp_path: Path, tune: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it learned leaves in the adapter, where `tune` keeps a place for it."""
    runs.corpus(tmp_path)
    ear = {"family": "whisper", "layers": [1, 2], "pool_frames": 2, "config": small.WHISPER, "tune": tune}
    settings = runs.config(tmp_path, {"train": ["aligner", "encoder"]}, model={"encoders": {"ear": ear}})
    own = runs.run(settings)
    learned = set(trainable(own.parts[0], ["encoder"]))
    assert all(n.startswith("model.hearing.tuning.") for n in learned) == (tune == "lora") and learned
    before = {n: p.clone() for n, p in own.parts[0].named_parameters() if n.startswith("model.hearing.encoders.")}
    assert own.go()
    after = dict(own.parts[0].named_parameters())
    assert all(torch.equal(after[n], p) for n, p in before.items()) == (tune == "lora")
    monkeypatch.setattr(export, "Run", runs.SmallRun)
    if tune == "frozen":
        with pytest.raises(CheckpointError, match="trained encoder, which no adapter holds"):
            export.write_adapter(settings, tmp_path / "run", tmp_path / "adapter")
        return
    export.write_adapter(settings, tmp_path / "run", tmp_path / "adapter")
    fresh = runs.run(settings).fresh()[0]
    load_adapter(fresh, tmp_path / "adapter")
    loaded = dict(fresh.named_parameters())
    assert all(torch.allclose(loaded[n], after[n], atol=1e-3) for n in learned)
    assert any(float((loaded[n] - runs.run(settings).fresh()[0].get_parameter(n)).abs().max()) > 1e-3 for n in learned)


def test_encoders_that_learn_hear_the_stretch_that_a_row_names(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.arange(16_000) / 16_000, 8_000)
    cache = small.write_cache(tmp_path / "features", ["0.wav"])
    for recording, samples in ((Stretch(tmp_path / "long.wav", 0.5, 1.0), 8_000), (tmp_path / "long.wav", 16_000)):
        item = Item(str(recording), 0, 0, "", 0.0, 1, {})
        heard = cache.waveform(item)
        assert len(heard.samples) == samples
        assert recording_named(str(recording)) == recording
    assert recording_named(str(Stretch(tmp_path / "a", 2.25))) == Stretch(tmp_path / "a", 2.25)


def test_a_checkpoint_of_several_files_is_the_same_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.corpus(tmp_path)
    ends = []
    for limit in (checkpoint.SHARD_BYTES, 4_000):
        monkeypatch.setattr(checkpoint, "SHARD_BYTES", limit)
        settings = runs.config(tmp_path, {"steps": 6}, out=str(tmp_path / str(limit)), save_every_steps=3)
        own = runs.run(settings)
        assert own.go()
        (own.folder / "checkpoints" / "stage0-0000006" / MARKER).unlink()
        for folder in (own.folder / "stages").iterdir():
            shutil.rmtree(folder)
        files = sorted(f.name for f in (own.folder / "checkpoints" / "stage0-0000003").glob("*.safetensors"))
        assert (files == ["model.safetensors", "optimizer.safetensors"]) == (limit > 4_000) and len(files) > 1
        again = runs.run(settings)
        assert again.go() and any("goes on from" in line for line in again.said)
        ends.append(dict(again.parts[0].named_parameters()))
    assert all(torch.equal(ends[0][n], p) for n, p in ends[1].items())
    lost = next((tmp_path / "4000" / "checkpoints" / "stage0-0000006").glob("model-00002-of-*"))
    lost.unlink()
    with pytest.raises(CheckpointError, match=r"has \d+ of \d+ files model-"):
        checkpoint.read(lost.parent, "model")


def test_layers_are_measured_without_labelled_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class table has the texts then; without any the doors would be no numbers, and so the loss."""
    runs.corpus(tmp_path)
    monkeypatch.setattr(runs.SmallRun, "labels", [])
    branch = small.config().branches[0]
    bare = {"tag_labels": [], "branches": [{**branch, "aligner": {**branch["aligner"], "soft_prompt_tokens": 0}}]}
    own = runs.run(runs.config(tmp_path, {}, model=bare))
    assert own.go() and own.parts[0].model.hearing.tag_head is None
    assert all(torch.isfinite(p).all() for p in own.parts[0].parameters())


def test_lists_of_what_is_said_are_no_rows(tmp_path: Path) -> None:
    """Where a pattern names them, too, as `own/*.jsonl` does."""
    runs.corpus(tmp_path)
    (tmp_path / "said.jsonl").write_text('{"path": "0.wav", "text": "a bell"}\n')
    data = {"records": [str(tmp_path / "*.jsonl")], "cache": str(tmp_path / "features")}
    with pytest.raises(RecordError, match="said.jsonl"):
        runs.run(runs.config(tmp_path, {}, data=data)).go()
    assert runs.run(runs.config(tmp_path, {}, data={**data, "transcripts": str(tmp_path / "said.jsonl")})).go()


def test_without_rows_nothing_is_begun_from_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.corpus(tmp_path)
    settings = runs.config(tmp_path, {"steps": 2})
    assert runs.run(settings).go()
    monkeypatch.setattr(export, "Run", runs.SmallRun)
    export.write_adapter(settings, tmp_path / "run", tmp_path / "adapter")
    for task, begun in (("manny", False), ("label", True)):
        own = runs.run(runs.config(tmp_path, {"tasks": {task: 1.0}}, out=str(tmp_path / task)))
        if begun:
            start_from(own, tmp_path / "adapter")
        else:
            with pytest.raises(ConfigError, match="no training rows of its tasks"):
                start_from(own, tmp_path / "adapter")
        assert (tmp_path / task).exists() == begun
