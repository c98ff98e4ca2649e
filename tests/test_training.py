"""Training: configuration, cache, sampling, bit-equal resumption after kill -9, evidence, export."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from alm import testing
from alm.aligner import Heard
from alm.audio import load_audio
from alm.errors import CheckpointError, ConfigError
from alm.modeling import AudioHearing
from alm.processing import AlmFeatureExtractor
from tests import training_helpers as small
from training import checkpoint
from training.atomic import MARKER, is_whole, whole_file, whole_folder
from training.augment import crop, hide, join, lead_astray, window
from training.calibrate import measure, text_states
from training.config import RunConfig, load_config
from training.features import Extractor, FeatureCache, Features, as_inputs, collate
from training.groups import group_of, learned_state, set_trainable
from training.loop import Stop, TrainingError, rate
from training.models import Ear
from training.objective import rng_for
from training.precision import faster, settled
from training.sounds import Sampler, multi_hot, tag_labels
from training.typed import build

CONFIG = Path(__file__).parent.parent / "training" / "configs" / "tiny.yaml"


# --- configuration ---------------------------------------------------------------------------------------------------


def test_the_shipped_configuration_loads_and_survives_json() -> None:
    config = load_config(CONFIG)
    assert [s.kind for s in config.stages] == ["align"] * 2 + ["language"] * 3, "hearing first, without the decoder"
    assert build(RunConfig, json.loads(json.dumps(config.to_dict())), "json") == config


def test_astray_is_on_the_way_to_the_next_recording() -> None:
    hidden = torch.randn(2, 1, 4, 3)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    hidden *= mask[:, None, :, None]
    moved = lead_astray({"ear": Heard(hidden, mask, 0.1)}, torch.tensor([1.0, 0.0]))["ear"].hidden
    torch.testing.assert_close(moved[0, :, :3].mean(1), hidden[1].mean(1))
    assert not moved[0, :, 3:].any() and torch.equal(moved[1], hidden[1])
    shape = moved[0, 0, :3] - moved[0, 0, :3].mean(0), hidden[0, 0, :3] - hidden[0, 0, :3].mean(0)
    torch.testing.assert_close(*shape, msg="what changes in time stays")
    heard = {"ear": Heard(hidden, mask, 0.1)}
    assert lead_astray(heard, torch.zeros(2)) is heard


def test_the_faster_precision_is_kept_once_a_run_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.precision.gigaflops", lambda dtype: 300.0 if dtype == torch.bfloat16 else 100.0)
    assert settled(tmp_path) == "bf16"
    (tmp_path / "config.json").write_text(json.dumps({"precision": "fp32"}))
    assert settled(tmp_path) == "fp32"
    assert faster(100.0, 110.0) == "fp32", "a little faster is not worth it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset: tiny\nstages: []\ndata: {}\nsteps: 3", "unknown key 'steps'"),
        ("preset: tiny\npreset: tiny\nstages: []\ndata: {}", "twice"),
        ("preset: 3\nstages: []\ndata: {}", "preset must be str"),
        ("preset: tiny\nstages: []\ndata: {max_windows: two}", "max_windows must be int"),
        ("preset: tiny\nstages: []\ndata: {}\nprecision: fp8", "precision is 'fp8'"),
        ("preset: tiny\nstages: []\ndata: {}\nattention: loud", "attention is 'loud'"),
        ("preset: tiny\ndata: {}\nstages: [{name: a, kind: sleep, train: [], steps: 1}]", "kind is 'sleep'"),
        ("preset: tiny\ndata: {}\nstages: [{name: a, kind: align, train: [ears], steps: 1}]", "no group 'ears'"),
        (
            "preset: tiny\ndata: {}\nstages: [{name: a, kind: align, train: [lora], steps: 1}]",
            "lr has no value for lora",
        ),
        ("preset: tiny\ndata: {}", "stages"),
        ("- a", "a table of keys"),
        ("a: [", "not a readable configuration"),
    ],
)
def test_wrong_configurations_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "c.yaml")


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    stage = small.align_stage(steps=100, warmup_steps=10)
    rates = [rate(i, stage) for i in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)


# --- atomic writes ---------------------------------------------------------------------------------------------------


def test_interrupted_writes_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "c") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    with pytest.raises(RuntimeError), whole_file(tmp_path / "f") as file:
        file.write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "c") as folder:
        (folder / "all").write_text("x")
    assert is_whole(tmp_path / "c") and (tmp_path / "c" / MARKER).is_file()


# --- features --------------------------------------------------------------------------------------------------------


def test_collated_features_are_the_stored_ones(tmp_path: Path) -> None:
    cache = small.write_cache(tmp_path / "cache", ["a.wav", "b.wav", "c.wav"], windows=2)
    parts = [cache.read(i) for i in cache.items.values()]
    heard = collate(parts, cache.frame_seconds)["ear"]
    assert heard.hidden.shape[0] == 6 and heard.mask.sum(1).tolist() == [5, 5, 6, 6, 7, 7]
    assert torch.equal(heard.hidden[2:4, :, :6], parts[1].hidden["ear"].float())
    assert float(heard.hidden[:2, :, 5:].abs().max()) == 0.0


def test_a_changed_file_is_not_found_and_a_damaged_shard_is_dropped(tmp_path: Path) -> None:
    cache = small.write_cache(tmp_path / "cache", ["a.wav", "b.wav"])
    path = tmp_path / "a.wav"
    assert cache.find(path) is not None
    os.utime(path, ns=(1, 1))
    assert cache.find(path) is None
    assert cache.drop_damaged() == []  # control: a whole shard stays
    shard = tmp_path / "cache" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    fresh = FeatureCache(tmp_path / "cache")
    with pytest.raises(CheckpointError, match="shard-00000"):
        fresh.read(fresh.by_content["b.wav"])
    assert fresh.drop_damaged() == ["shard-00000"]
    assert not list((tmp_path / "cache").glob("shard-*"))


@pytest.fixture
def ear() -> Ear:
    torch.manual_seed(0)
    settings = small.config()
    hearing = AudioHearing(settings).eval().requires_grad_(False)
    return Ear(hearing, AlmFeatureExtractor.of(settings), "digest")


def _recordings(folder: Path) -> list[Path]:
    paths = [folder / f"{name}.wav" for name in ("short", "two-windows", "long", "not-audio", "missing")]
    for path, seconds in zip(paths, (0.7, 2.9, 30.0), strict=False):
        soundfile.write(path, testing.noise(seconds).samples, testing.RATE_HZ)
    paths[3].write_text("hello")
    return paths


def test_cached_features_are_those_of_the_encoder(tmp_path: Path, ear: Ear) -> None:
    paths = _recordings(tmp_path)
    report = Extractor(ear, tmp_path / "cache", max_windows=3).run(paths)
    assert (report.cached, report.known, report.too_long, len(report.refused)) == (2, 0, 1, 2)
    cache = FeatureCache(tmp_path / "cache")
    for path, count in ((paths[0], 1), (paths[1], 2)):
        item = cache.find(path)
        assert item is not None and item.windows == count
        with torch.no_grad():
            alone = ear.hearing.encode(dict(ear.extractor([load_audio(path)])))["ear"]
        kept = collate([cache.read(item)], cache.frame_seconds)["ear"]
        assert torch.equal(kept.mask, alone.mask) and kept.frame_seconds == alone.frame_seconds
        assert torch.allclose(kept.hidden, alone.hidden, atol=2e-3)  # float16
        assert not torch.allclose(kept.hidden, alone.hidden.roll(1, 2), atol=2e-3)


def test_caching_goes_on_and_mends_damage(tmp_path: Path, ear: Ear) -> None:
    paths = _recordings(tmp_path)[:2]
    assert Extractor(ear, tmp_path / "cache", 3, shard_items=1).run(paths[:1]).cached == 1
    again = Extractor(ear, tmp_path / "cache", 3, shard_items=1).run(paths)
    assert (again.cached, again.known) == (1, 1)
    first = tmp_path / "cache" / "shard-00000.safetensors"
    first.write_bytes(first.read_bytes()[:100])
    (tmp_path / "cache" / ".part-abc-shard-00009.jsonl").write_text("left by a kill")
    mended = Extractor(ear, tmp_path / "cache", 3).run(paths)
    assert (mended.cached, mended.known) == (1, 1)
    assert not list((tmp_path / "cache").glob(".part-*"))
    with pytest.raises(CheckpointError, match="other encoders"):
        Extractor(Ear(ear.hearing, ear.extractor, "another"), tmp_path / "cache", 3)


def test_encoders_keep_the_models_order(tmp_path: Path) -> None:
    """Heads join the features of all encoders: in another order they are other features."""
    settings = small.config()
    encoders = {"zebra": settings.encoders["ear"], "ant": settings.encoders["ear"]}
    branch = {**settings.branches[0], "encoders": ["zebra", "ant"]}
    both = small.config(encoders=encoders, branches=[branch])
    hearing = AudioHearing(both).eval()
    ear = Ear(hearing, AlmFeatureExtractor.of(both), "x")
    path = _recordings(tmp_path)[0]
    Extractor(ear, tmp_path / "cache", 3).run([path])
    cache = FeatureCache(tmp_path / "cache")
    item = cache.find(path)
    assert item is not None
    heard = collate([cache.read(item)], cache.frame_seconds)
    assert list(heard) == list(hearing.encode(as_inputs(heard))) == list(hearing.settings)
    assert hearing.tag_head is not None
    whole = hearing.tag_head(hearing.encode(as_inputs(heard)))
    assert torch.equal(hearing.tag_head(heard), whole)
    assert not torch.allclose(hearing.tag_head({n: heard[n] for n in reversed(heard)}), whole)


def _clip(frames: int, seconds: float) -> Features:
    return Features({"ear": torch.arange(frames).float().view(1, 1, -1, 1).half()}, {"ear": [frames]}, seconds, 1)


def test_joined_cropped_and_hidden_clips_keep_their_frames_in_order() -> None:
    rng = np.random.default_rng(0)
    both = join(_clip(4, 1.0), _clip(3, 0.7), {"ear": 10})
    assert (
        both is not None
        and both.frames == {"ear": [7]}
        and both.hidden["ear"].flatten().tolist() == [0, 1, 2, 3, 0, 1, 2]
    )
    assert join(_clip(8, 1.0), _clip(3, 0.7), {"ear": 10}) is None
    cut = crop(_clip(100, 10.0), 5.0, rng)
    assert cut.frames["ear"][0] in (49, 50, 51) and torch.equal(
        cut.hidden["ear"].diff(dim=2), torch.ones_like(cut.hidden["ear"][:, :, 1:])
    )
    assert crop(_clip(100, 4.0), 5.0, rng).frames == {"ear": [100]}
    shorter = hide(_clip(100, 10.0), rng).hidden["ear"].flatten()
    assert 70 <= len(shorter) < 100 and bool((shorter.diff() > 0).all())
    two = Features({"ear": torch.zeros(2, 1, 9, 1)}, {"ear": [9, 4]}, 3.0, 2)
    assert window(two, 1, {"ear": 0.1}).hidden["ear"].shape == (1, 1, 4, 1)


# --- sampling --------------------------------------------------------------------------------------------------------


def test_draws_depend_on_the_key_alone_and_are_balanced(tmp_path: Path) -> None:
    listed = [s for s in small.sounds(tmp_path, 24) if s.split == "train"]
    many = [small.Sound(tmp_path / f"r{i}", ("rain",), "", "one", "train", True) for i in range(400)]
    sampler = Sampler.of([*listed, *many], small.LABELS)
    first = sampler.draw(3000, rng_for("a", 1))
    assert first == sampler.draw(3000, rng_for("a", 1)) and first != sampler.draw(3000, rng_for("a", 2))
    hot = multi_hot([*listed, *many], small.LABELS)[first].mean(0)
    assert hot.min() > 0.2  # by number of clips, bell and dog would have 2 % each


def test_classes_with_too_few_clips_get_no_tag(tmp_path: Path) -> None:
    listed = [*small.sounds(tmp_path), small.Sound(tmp_path / "x", ("gong",), "", "s", "train", True)]
    assert tag_labels(listed, 2) == small.LABELS
    assert tag_labels(listed, 1, without=["dog"]) == ["bell", "gong", "rain"]


# --- resumption ------------------------------------------------------------------------------------------------------


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in learned_state(model).items()}


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def _finish(folder: Path, save_every_seconds: float = 1e9, seed: int = 1) -> dict[str, torch.Tensor]:
    stage, model = small.align_run(folder, save_every_seconds=save_every_seconds, seed=seed)
    assert stage.run(Stop())
    return _weights(model)


def _child(folder: Path) -> None:
    torch.set_num_threads(1)
    stage, _ = small.align_run(folder, save_every_seconds=0.0)
    save = stage._save

    def slowly() -> None:
        save()
        time.sleep(0.02)

    stage._save = slowly  # type: ignore[method-assign]
    stage.run(Stop())


@pytest.mark.parametrize("after", [1, 7])
def test_killed_and_resumed_equals_straight_bit_for_bit(tmp_path: Path, after: int) -> None:
    torch.set_num_threads(1)  # as in the child: sums over threads round in another order
    straight = _finish(tmp_path / "straight" if (tmp_path / "straight").mkdir() is None else tmp_path)
    folder = tmp_path / "killed"
    folder.mkdir()
    small.align_run(folder)  # writes the cache
    child = multiprocessing.get_context("fork").Process(target=_child, args=(folder,))
    child.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.is_alive():
        if any(int(c.name.split("-")[-1]) >= after for c in (folder / "run").glob("checkpoints/align-*")):
            break
        time.sleep(0.005)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    begun = checkpoint.latest(folder / "run", "align")
    assert begun is not None
    resumed = _finish(folder)
    assert _equal(straight, resumed)
    steps = [json.loads(x)["step"] for x in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_a_checkpoint_of_another_version_is_read(tmp_path: Path) -> None:
    kept = checkpoint.Progress("listen", step=7, best=0.5, best_step=4, waited=2)
    (tmp_path / "progress.json").write_text(json.dumps({**vars(kept), "config": {}}))
    assert checkpoint.Progress.read(tmp_path / "progress.json") == kept


@pytest.mark.slow
def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    """The control of the test above: the comparison can fail."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert not _equal(_finish(tmp_path / "a"), _finish(tmp_path / "b", seed=2))


def test_sigterm_saves_and_ends_and_resumes_equal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    straight = _finish(tmp_path / "a")
    stage, _ = small.align_run(tmp_path / "b")
    with Stop().listening() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stage.run(stop) is False
    assert checkpoint.latest(tmp_path / "b" / "run", "align") is not None
    assert _equal(straight, _finish(tmp_path / "b"))


@pytest.mark.slow
def test_only_the_last_checkpoints_stay_and_unmarked_ones_do_not_count(tmp_path: Path) -> None:
    _finish(tmp_path, save_every_seconds=0.0)
    kept = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [k.name for k in kept] == ["align-0000011", "align-0000012"]
    (kept[-1] / MARKER).unlink()
    assert checkpoint.latest(tmp_path / "run", "align") == kept[0]


def test_checkpoints_are_safetensors_and_json_and_damage_is_named(tmp_path: Path) -> None:
    _finish(tmp_path, save_every_seconds=0.0)
    last = checkpoint.latest(tmp_path / "run", "align")
    assert last is not None
    assert {p.suffix for p in last.iterdir() if p.name != MARKER} == {".safetensors", ".json"}
    (last / "model.safetensors").write_bytes(b"no")
    stage, _ = small.align_run(tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        stage.run(Stop())


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    stage, _ = small.align_run(tmp_path)
    with torch.no_grad():
        next(iter(stage.names.values())).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 0"):
        stage.run(Stop())


def test_the_stage_learns(tmp_path: Path) -> None:
    stage, _ = small.align_run(tmp_path, steps=60)
    assert stage.run(Stop())
    rows = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [r["class"] for r in rows if "class" in r]
    assert losses[-1] < 0.6 * losses[0]
    assert any(r.get("validation") and r["n"] == 3 for r in rows)


# --- what learns -----------------------------------------------------------------------------------------------------


def test_groups_cover_every_parameter_and_only_the_named_ones_learn() -> None:
    model = small.model()
    names = set_trainable(model, ("aligner", "lora"))
    assert {group_of(n) for n, _ in model.named_parameters()} == {
        "encoder", "aligner", "tag_head", "tag_prompts", "entry", "lora", "llm"
    }  # fmt: skip
    assert {group_of(n) for n in names} == {"aligner", "lora"}
    assert all(p.requires_grad == (group_of(n) in ("aligner", "lora")) for n, p in model.named_parameters())
    dropouts = {n: m.training for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert all(on == ("lora_dropout" in n or "aligners" in n) for n, on in dropouts.items())
    assert not any(".layers.0." in n for n in names if ".lora_" in n)  # LoRA only where the audio is


# --- calibration -----------------------------------------------------------------------------------------------------


def test_measured_layers_match_a_plain_pass() -> None:
    model = small.model(lora=False)
    rows = [[5, 6, 7, 8, 9], [10, 11, 12]]
    mean, spread = measure(model, rows)
    with torch.no_grad():
        states = [model.model.language_model(torch.tensor([r]), output_hidden_states=True).hidden_states for r in rows]
    layer2 = torch.cat([s[2][0, 1:] for s in states])
    assert torch.allclose(mean[2], layer2.mean(0), atol=1e-5)
    assert torch.allclose(spread[2], layer2.std(0, correction=0), atol=1e-5)


def test_text_states_come_back_through_the_door() -> None:
    model = small.model(lora=False)
    entry = model.model.fusion.entry
    with torch.no_grad():
        entry.mean.normal_()
        entry.spread.uniform_(0.5, 2.0)
    tokenizer = small.processor(model.config).tokenizer
    one = text_states(model, tokenizer, ["the dog"], 2, "")
    batch = text_states(model, tokenizer, ["rain", "the dog", "a bell is it"], 2, "")
    assert torch.allclose(one[0], batch[1], atol=1e-4)
    assert not torch.allclose(batch[0], batch[1], atol=1e-2)
