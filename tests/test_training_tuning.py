"""Ways to tune: DoRA, adapters in encoders, less memory with the same gradients, encoders that take part."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from alm.adapters import load_adapter, merged, save_adapter
from alm.errors import ConfigError
from alm.modeling import AlmForConditionalGeneration
from alm.testing import noise
from data_prep.makers.rows import TASKS
from tests import training_helpers as small
from tests.test_training_language import _language
from training import accumulating
from training.accumulating import pieces, split
from training.config import EncoderAdapters, LoraSettings, RunConfig, load_config
from training.groups import add_encoder_adapters, add_lora, group_of, set_trainable, switch_lora
from training.listening import ListeningCollator
from training.loop import Log, Stage
from training.models import keep_for_training
from training.objective import rng_for
from training.recomputing import recompute
from training.rows import Batch
from training.typed import build

BARE = {"tags": 0.0, "transcript": 0.0}


def _inputs(model: Any) -> dict[str, torch.Tensor]:
    """One recording of noise and a few words."""
    features = small.processor(model.config).feature_extractor([noise(seconds=1.0)])
    tokens = model.config.tokens_per_window
    ids = torch.tensor([[4] + [model.config.audio_token_id] * tokens + [5, 6, 7]])
    return {**features, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _merged(model: Any, folder: Path) -> Any:
    """The plain checkpoint as transformers reads it."""
    merged(model).save_pretrained(folder)
    return AlmForConditionalGeneration.from_pretrained(folder)


def _nudge(model: torch.nn.Module, group: str) -> list[str]:
    names = [n for n, _ in model.named_parameters() if group_of(n) == group]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return names


# --- DoRA and adapters in encoders -----------------------------------------------------------------------------------


def test_dora_begins_as_the_identity_and_survives_export_and_merge(tmp_path: Path) -> None:
    model = small.model(lora=False)
    inputs = _inputs(model)
    plain = model(**inputs).logits.clone()
    add_lora(model, LoraSettings(rank=2, alpha=4, dropout=0.0, dora=True))
    torch.testing.assert_close(model(**inputs).logits, plain, atol=1e-5, rtol=1e-5)
    names = _nudge(model, "lora")
    assert any("magnitude" in n for n in names), "control: lengths are learned, too"
    moved = model(**inputs).logits
    assert not torch.allclose(moved, plain, atol=1e-3)
    torch.testing.assert_close(_merged(model, tmp_path / "plain")(**inputs).logits, moved, atol=1e-5, rtol=1e-5)
    save_adapter(model, tmp_path / "adapter", {})
    other = small.model(lora=False)
    load_adapter(other, tmp_path / "adapter")
    torch.testing.assert_close(other(**inputs).logits, moved, atol=2e-2, rtol=2e-2)  # float16 on disk


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "norms"])
def test_adapters_in_an_encoder_learn_alone_and_merge(tmp_path: Path, method: str) -> None:
    model = small.model(lora=False)
    inputs = _inputs(model)
    plain = model(**inputs).logits.clone()
    add_encoder_adapters(model, EncoderAdapters(method, ("ear",), rank=2))
    torch.testing.assert_close(model(**inputs).logits, plain, atol=1e-5, rtol=1e-5)
    chosen = set_trainable(model, ["encoder_adapter"])
    model(**inputs).logits.square().sum().backward()
    assert chosen and all(n.startswith("model.hearing.encoders.ear.") for n in chosen)
    assert any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in chosen.values())
    assert all(p.grad is None for n, p in model.named_parameters() if n not in chosen)
    _nudge(model, "encoder_adapter")
    moved = model(**inputs).logits
    assert not torch.allclose(moved, plain, atol=1e-4)
    torch.testing.assert_close(_merged(model, tmp_path / "plain")(**inputs).logits, moved, atol=1e-5, rtol=1e-5)


def test_lora_of_the_language_model_is_switched_alone() -> None:
    model = small.model()
    add_encoder_adapters(model, EncoderAdapters("lora", ("ear",), rank=2))
    inputs = _inputs(model)
    _nudge(model, "encoder_adapter")
    without_lora = model(**inputs).logits
    _nudge(model, "lora")
    with_lora = model(**inputs).logits
    switch_lora(model, False)
    torch.testing.assert_close(model(**inputs).logits, without_lora)
    switch_lora(model, True)
    torch.testing.assert_close(model(**inputs).logits, with_lora)
    assert not torch.allclose(with_lora, without_lora, atol=1e-4), "control"


def test_what_an_encoder_does_not_have_is_refused() -> None:
    model = small.model(lora=False)
    with pytest.raises(ConfigError, match="no encoder 'whisper'"):
        add_encoder_adapters(model, EncoderAdapters("lora"))
    with pytest.raises(ConfigError, match="no layers conv9"):
        add_encoder_adapters(model, EncoderAdapters("lora", ("ear",), targets=("conv9",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantise": "nf4", "stages": [("a", "language", "llm")]}, "train lora instead"),
        ({"quantise": "int3", "stages": []}, "quantise is 'int3'"),
        ({"stages": [("a", "language", "encoder_adapter")]}, "give encoder_adapters a method"),
        ({"stages": [("a", "align", "encoder")]}, "cannot train encoder"),
        ({"stages": [("a", "language", "encoder"), ("b", "align", "aligner")]}, "out of date after stage a"),
        ({"encoder_adapters": {"method": "houlsby"}, "stages": []}, "method is 'houlsby'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    stages = [
        {"name": n, "kind": k, "train": [g], "lr": {g: 0.1}, "steps": 1} for n, k, g in changes.pop("stages")
    ]
    with pytest.raises(ConfigError, match=message):
        build(RunConfig, {"preset": "tiny", "data": {}, "stages": stages, **changes}, "test")


@pytest.mark.parametrize("kept", [True, False])
def test_a_way_back_through_4_bit_matrices_is_kept(kept: bool) -> None:
    """After a pass without gradients, as measuring the language model is one."""
    nn = pytest.importorskip("bitsandbytes").nn
    layer = nn.Linear4bit(128, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    layer.load_state_dict({"weight": torch.randn(64, 128)})
    layer = layer.to("cpu").eval()
    if kept:
        keep_for_training(layer)
    elif not layer.support_avx512bf16_for_cpu:
        pytest.skip("the control wants a CPU for which bitsandbytes repacks")
    with torch.no_grad():
        layer(torch.randn(3, 128))
    inputs = torch.randn(3, 128, requires_grad=True)
    with contextlib.suppress(RuntimeError):  # the control
        layer(inputs).sum().backward()
    assert (inputs.grad is not None and float(inputs.grad.abs().sum()) > 0) == kept


# --- less memory, the same step --------------------------------------------------------------------------------------


def _gradients(folder: Path, accumulate: int = 1, checkpointing: bool = False) -> tuple[float, dict[str, Any], int]:
    """Loss and gradients of one batch, and how often a decoder layer ran."""
    objective, model = _language(folder, BARE)
    objective.stage = replace(objective.stage, accumulate=accumulate, gradient_checkpointing=checkpointing)
    names = set_trainable(model, ["aligner", "lora"])
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    recompute(model, checkpointing)
    counts = [0]
    layer = model.model.language_model.layers[2].self_attn
    layer.register_forward_hook(lambda *_: counts.__setitem__(0, counts[0] + 1))
    stage = Stage(model, names, objective.stage, objective, folder, Log(folder / "log.jsonl"), 1, 1e9)
    loss = 0.0
    for piece, share in pieces(objective, objective.batch(0), accumulate):
        loss += share * stage._backward(0, piece, share)["loss"]
    found = {n: p.grad.clone() for n, p in names.items() if p.grad is not None}
    return loss, found, counts[0]


@pytest.mark.parametrize("scheme", ["delayed", "keys_values"])
def test_computing_again_gives_the_same_bits(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small.model
    monkeypatch.setattr(small, "model", lambda **given: made(scheme=scheme, **given))
    loss, plain, once = _gradients(tmp_path)
    again, recomputed, twice = _gradients(tmp_path, checkpointing=True)
    assert twice == 2 * once, "control: layers computed again"
    assert again == loss and plain.keys() == recomputed.keys()
    assert all(torch.equal(g, recomputed[n]) for n, g in plain.items())


@pytest.mark.parametrize("count", [2, 3, 5])
def test_parts_of_a_batch_add_up(tmp_path: Path, count: int) -> None:
    loss, plain, _ = _gradients(tmp_path)
    summed, parts, _ = _gradients(tmp_path, accumulate=count)
    assert summed == pytest.approx(loss, abs=1e-6)
    assert plain.keys() == parts.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(gradient, parts[name], atol=1e-6, rtol=1e-4)


def _unlike(objective: Any) -> Batch:
    """A row with all recordings, many words long, among rows with one each."""
    bundles = [[objective.train[i] for i in b] for b in objective.batches[0]]
    items = tuple({i.path: i for r in objective.train for i in r.items}.values())
    asked, answered = objective.train[0].messages
    long = {**asked, "content": "<audio>" * len(items) + " what is it ?" * 40}
    row = replace(objective.train[0], items=items, messages=(long, answered))
    return objective.collator.batch([*bundles, [row]], objective.stage.evidence, rng_for(1))  # type: ignore[no-any-return]


def test_bundles_of_unlike_lengths_are_read_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, model = _language(tmp_path, BARE)
    names, batch = set_trainable(model, ["aligner", "lora"]), _unlike(objective)
    model.eval()
    found, sizes = [], []
    for padded in (accumulating.PADDED, 1e9):
        monkeypatch.setattr(accumulating, "PADDED", padded)
        parts = list(pieces(objective, batch, 1))
        total = torch.stack([share * objective.loss(part)[0] for part, share in parts]).sum()
        total.backward()
        found.append([total.detach(), *(p.grad.clone() for p in names.values() if p.grad is not None)])
        sizes.append([p.inputs["input_ids"].numel() for p, _ in parts])
        model.zero_grad()
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)
    assert len(sizes[0]) > len(sizes[1]) == 1 and 3 * sum(sizes[0]) < 2 * sum(sizes[1]), "control: padding is left out"


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12))
def test_groups_of_bundles_hold_all_and_little_padding(lengths: list[int]) -> None:
    mask = (torch.arange(300) < torch.tensor(lengths)[:, None]).long()
    batch: Any = SimpleNamespace(inputs={"attention_mask": mask})
    groups = [g.tolist() for g in accumulating.alike(batch, torch.arange(len(lengths)))]
    assert sorted(i for g in groups for i in g) == list(range(len(lengths))) and all(g == sorted(g) for g in groups)
    for own in ([lengths[i] for i in g] for g in groups):
        assert len(own) * max(own) <= accumulating.PADDED * sum(own)


def test_parts_hold_their_own_recordings(tmp_path: Path) -> None:
    """Control of the sum: parts that were given another part's recordings do not add up."""
    objective, _ = _language(tmp_path, BARE)
    batch = objective.batch(0)
    parts = [p for p, _ in split(batch, 3, objective.audio_token_id, objective.tokens_per_window)]
    assert len(parts) > 1
    whole = torch.cat([p.heard["ear"].hidden for p in parts])
    assert torch.equal(whole, batch.heard["ear"].hidden)
    assert sorted(t for p in parts for t in p.tasks) == sorted(batch.tasks)
    assert all(len(p.owner) == len(p.ids) == len(p.tasks) for p in parts)
    assert all(int(p.owner.max()) < len(p.inputs["input_ids"]) for p in parts)


# --- encoders that take part -----------------------------------------------------------------------------------------


def test_an_encoder_learns_only_where_it_listens(tmp_path: Path) -> None:
    objective, model = _language(tmp_path, BARE)
    for row in objective.train:
        for item in row.items:
            soundfile.write(item.path, noise(seconds=0.3).samples, noise().rate)
    names = set_trainable(model, ["encoder"])
    cached = objective.batch(0)
    with pytest.raises(RuntimeError, match="does not require grad"):
        objective.loss(cached)[0].backward()  # control: cached features have no way back to the encoder
    plain = objective.collator
    objective.collator = ListeningCollator(plain.processor, plain.cache, plain.knowledge, "")
    batch = objective.batch(0)
    assert not batch.heard and batch.inputs["ear_features"].shape[0] == int(batch.inputs["audio_windows"].sum())
    objective.loss(batch)[0].backward()
    assert any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in names.values())


# --- configurations --------------------------------------------------------------------------------------------------

CONFIGS = Path(__file__).parents[1] / "training" / "configs"


def test_the_temporal_stages_ask_what_the_makers_make() -> None:
    made = {*TASKS, "deny"}
    config = load_config(CONFIGS / "teminal.yaml")
    asked = {task for stage in config.stages for task in stage.tasks}
    assert asked <= made and {"statement", "while", "order_before"} <= asked
    assert "order_befor" not in made, "control"


def test_the_shipped_losses_are_read() -> None:
    (stage,) = load_config(CONFIGS / "losses.yaml").stages
    assert {"matching", "contrastive", "generation"} < set(stage.losses)


OF_MAKERS = "mix-plan.yaml"
"""For `alm data make`."""


@pytest.mark.parametrize("name", sorted({f.name for f in CONFIGS.glob("*.yaml")} - {OF_MAKERS}))
def test_every_configuration_is_read(name: str) -> None:
    assert load_config(CONFIGS / name).stages


def test_what_goes_on_from_a_shipped_adapter_has_its_shape() -> None:
    first = dict.fromkeys(("mix-more", "mix-answers", "teminal"), "tiny-first")
    starts = {"own": "tiny", "mix-long": "tiny", **first}
    for name, preset in starts.items():
        config = json.loads(json.dumps(load_config(CONFIGS / f"{name}.yaml").to_dict()))
        file = CONFIGS.parents[1] / "alm" / "presets" / preset / "adapter" / "alm_adapter.json"
        about = json.loads(file.read_text(encoding="utf-8"))
        own = {k: about["training"]["config"]["lora"][k] for k in ("rank", "alpha", "targets", "from_start_layer")}
        assert {k: config["lora"][k] for k in own} == own, (name, preset)
        assert config["model"]["tag_hidden"] == about["model"]["tag_hidden"]
