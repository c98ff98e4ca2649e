"""BEATs and OpenBEATs: the authors' files and numbers, company, padding, time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alm import encoders
from alm.encoders.blocks.patches import PatchEncoder
from alm.encoders.families import beats, openbeats
from alm.encoders.family import Checkpoint
from alm.errors import ConfigError, WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    click_error,
    seeded_encoder,
    worst_difference,
)
from tools.golden.seeded import read

FAMILIES = ("beats", "openbeats")
SMALL = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 48, "patch_dim": 16}
SMALL |= {"conv_positions": 32, "conv_groups": 8, "num_buckets": 32, "max_distance": 60}
FRAMES = (1, 15, 16, 40, 112)


def official(family: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A small state dict under the authors' names, and their cfg."""
    golden, state, _ = read(GOLDEN / f"{family}.safetensors")
    return state, dict(golden.settings["cfg"])


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_the_authors(family: str) -> None:
    check_golden(family)


@pytest.mark.parametrize(("field", "wrong"), [("max_distance", 90), ("deep_norm", False)])
def test_the_comparison_sees_what_no_tensor_says(
    field: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    real = encoders.build
    monkeypatch.setattr(encoders, "build", lambda family, config: real(family, {**config, field: wrong}))
    with pytest.raises(AssertionError):
        check_golden("beats")


def test_a_pretrained_file_opens(tmp_path: Path) -> None:
    state, cfg = official("beats")
    torch.save({"cfg": cfg, "model": state}, tmp_path / "BEATs_iter3.pt")
    expected = {"dim": 32, "num_layers": 3, "num_heads": 4, "ffn_dim": 48, "patch_dim": 16, "max_distance": 60}
    encoder = check_container(tmp_path / "BEATs_iter3.pt", "beats", tmp_path / "out", expected=expected)
    assert encoder.front_end == beats.front_end(beats.BeatsConfig())


def test_a_fine_tuned_file_opens_without_its_classifier(tmp_path: Path) -> None:
    state, cfg = official("beats")
    state |= {"predictor.weight": torch.zeros(527, 32), "predictor.bias": torch.zeros(527)}
    cfg |= {"finetuned_model": True, "predictor_class": 527}
    torch.save({"cfg": cfg, "model": state, "label_dict": {0: "/m/0f8s22"}}, tmp_path / "iter3_plus.pt")
    check_container(tmp_path / "iter3_plus.pt", "beats", tmp_path / "out")
    unused = beats.read(Checkpoint("iter3_plus.pt", state, {"cfg": cfg})).unused
    assert unused == ("predictor.bias", "predictor.weight")


def test_files_written_with_todays_weight_norm_are_the_same() -> None:
    state, cfg = official("beats")
    old = beats.read(Checkpoint("old", state, {"cfg": cfg})).tensors
    name = "encoder.pos_conv.0.parametrizations.weight.original"
    state |= {f"{name}{i}": state.pop(f"encoder.pos_conv.0.weight_{x}") for i, x in enumerate("gv")}
    new = beats.read(Checkpoint("new", state, {"cfg": cfg})).tensors
    assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)


def test_openbeats_file_says_its_own_mean_and_deviation(tmp_path: Path) -> None:
    state, cfg = official("openbeats")
    cfg |= {"fbank_mean": 15.2913, "fbank_std": 5.90532}
    torch.save({"cfg": cfg, "model": state}, tmp_path / "openbeats.pt")
    encoder = check_container(tmp_path / "openbeats.pt", "openbeats", tmp_path / "out", expected={"mean": 15.2913})
    assert isinstance(encoder, PatchEncoder)
    assert (encoder.front_end.mean, encoder.front_end.divisor) == (15.2913, 2 * 5.90532)


def test_an_espnet_model_opens_with_the_cfg_beside_it(tmp_path: Path) -> None:
    state, cfg = official("openbeats")
    whole = {f"encoder.{name}": tensor for name, tensor in state.items()}
    whole["decoder.linear_out.weight"] = torch.ones(2, 32)
    folder = tmp_path / "espnet"
    folder.mkdir()
    torch.save(whole, folder / "valid.acc.best.pth")
    with pytest.raises(WeightsError, match=r"cfg is missing.*config\.json"):
        encoders.open_encoder(folder, "openbeats")
    (folder / "config.json").write_text(json.dumps({"cfg": cfg}))
    opened = check_container(folder, "openbeats", tmp_path / "out", expected={"max_distance": 60}).state_dict()
    plain = openbeats.read(Checkpoint("plain", state, {"cfg": cfg})).tensors
    assert opened.keys() == plain.keys() and all(torch.equal(opened[key], plain[key]) for key in plain)
    assert "decoder.linear_out.weight" in openbeats.read(Checkpoint("espnet", whole, {"cfg": cfg})).unused


def refused(state: dict[str, Tensor], cfg: dict[str, Any]) -> str:
    with pytest.raises(WeightsError) as refusal:
        beats.read(Checkpoint("file.pt", state, {"cfg": cfg}))
    return str(refusal.value)


def test_other_variants_are_refused_with_the_reason() -> None:
    state, cfg = official("beats")
    table = "encoder.layers.1.self_attn.relative_attention_bias.weight"
    assert "layer_norm_first" in refused(state, {**cfg, "layer_norm_first": True})
    assert "'relu'" in refused(state, {**cfg, "activation_fn": "relu"})
    assert "tokenizer" in refused(state | {"quantize_layer.0.weight": torch.ones(2, 2)}, cfg)
    assert "share one table" in refused(state | {table: state[table] + 1}, cfg)
    assert "not 2 axes" in refused(state | {table.replace("1", "0"): torch.ones(4)}, cfg)
    assert "gated" in refused({k: v for k, v in state.items() if "grep" not in k}, cfg)
    assert "cfg is missing" in refused(state, {})
    assert "patch_embedding.weight is missing" in refused({"v.pos_embed": torch.ones(1, 2, 3)}, cfg)


def test_a_missing_or_foreign_tensor_is_named(tmp_path: Path) -> None:
    state, cfg = official("beats")
    state["patch_embedding.bias"] = torch.zeros(16)
    del state["encoder.layers.1.fc2.bias"]
    torch.save({"cfg": cfg, "model": state}, tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"missing encoder.layers.1.fc2.bias; unexpected patch_embedding.bias"):
        encoders.open_encoder(tmp_path / "file.pt", "beats")


@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_alone_equals_batch(frequency: str) -> None:
    check_alone_equals_batch(seeded_encoder("beats", {**SMALL, "frequency": frequency}), FRAMES)


def test_a_transformer_that_sees_padding_is_found_out() -> None:
    """Control."""
    encoder = seeded_encoder("beats", SMALL)
    inner = encoder.get_submodule("encoder")
    real = inner.forward
    inner.forward = lambda x, valid, depth: real(x, torch.ones_like(valid), depth)  # type: ignore[method-assign]
    assert worst_difference(encoder, FRAMES) > 1e-3


@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_clicks_land_in_time(frequency: str) -> None:
    check_click(seeded_encoder("beats", {**SMALL, "frequency": frequency}))


def test_tokens_in_another_order_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    encoder = seeded_encoder("beats", SMALL)
    patches = encoder.get_submodule("patch_embedding")
    real = patches.forward
    monkeypatch.setattr(patches, "forward", lambda x: real(x).flatten(2).unflatten(2, (8, -1)).transpose(2, 3))
    assert max(click_error(encoder, at, 1.5) for at in (0.31, 0.77)) > 1


def test_the_mean_is_that_of_the_tokens_and_times_count_rows() -> None:
    mean, tokens = (seeded_encoder("beats", {**SMALL, "frequency": f}) for f in ("mean", "tokens"))
    picture, mask = torch.randn(1, 40, 128, dtype=torch.float64), torch.ones(1, 40, dtype=torch.bool)
    all_of_them = tokens(picture, mask, [0, 2]).features
    assert torch.allclose(all_of_them.unflatten(2, (2, 8)).mean(3), mean(picture, mask, [0, 2]).features)
    assert (mean.frames_per_second, tokens.frames_per_second) == (6.25, 50.0)
    assert tokens.times(9)[7].tolist() == [0.0, 0.16] and tokens.times(9)[8].tolist() == [0.16, 0.32]
    assert mean.times(2)[1].tolist() == [0.16, 0.32]


def test_every_distance_has_the_authors_bucket() -> None:
    """Exact below a quarter of the table, then ever coarser, the sign in the upper half."""
    transformer = beats.build({**SMALL, "num_buckets": 320, "max_distance": 800}).encoder
    buckets = transformer._buckets(torch.tensor([-2000, -800, -81, -80, -79, -1, 0, 1, 79, 80, 2000]))
    assert buckets.tolist() == [159, 159, 80, 80, 79, 1, 0, 161, 239, 240, 319]


def test_impossible_configurations_are_refused() -> None:
    for config, word in (
        ({"dim": 30}, "num_heads"),
        ({"conv_groups": 7}, "conv_groups"),
        ({"max_distance": 8}, "max_distance"),
        ({"frequency": "rows"}, "mean, tokens"),
        ({"mel_bins": 100}, "mel"),
        ({"num_layers": 0}, "num_layers"),
    ):
        with pytest.raises(ConfigError, match=word):
            encoders.build("beats", {**SMALL, **config})


@pytest.mark.parametrize(
    ("family", "size", "millions"),
    [
        ("beats", "base", 90.3),
        ("openbeats", "large", 311.4),
        ("eat", "base", 85.3),
        ("eat", "large", 302.6),
        ("sslam", "base", 85.3),
        ("audiomae", "base", 85.3),
        ("birdmae", "base", 85.3),
        ("birdmae", "large", 302.6),
        ("birdmae", "huge", 630.0),
    ],
)
def test_published_sizes_have_the_published_number_of_weights(family: str, size: str, millions: float) -> None:
    """Without positions, which are no weights to train."""
    with torch.device("meta"):
        encoder = encoders.build(family, encoders.family(family).sizes[size])
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    linear = {name.rsplit(".", 1)[-1] for name, part in encoder.named_modules() if isinstance(part, torch.nn.Linear)}
    assert set(encoders.family(family).lora_targets) <= linear
