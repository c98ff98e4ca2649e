"""MERT, Microsoft's CLAP, ReCLAP and ONE-PEACE against originals; clips in company, clicks, containers, wrong files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import HubertConfig
from transformers.models.hubert.modeling_hubert import HubertModel

from alm import encoders
from alm.encoders.families import clap, msclap, one_peace, reclap
from alm.encoders.family import Checkpoint
from alm.errors import ConfigError, WeightsError
from tests.encoder_checks import (
    GOLDEN,
    check_alone_equals_batch,
    check_click,
    check_container,
    check_golden,
    seeded_encoder,
    worst_difference,
)

SMALL_CLAP = {"patch_dim": 16, "depths": (1, 1), "num_heads": (2, 4), "spectrogram_side": 64, "max_frames": 241}
SMALL_CNN14 = {"tower": "cnn14", "first_channels": 2, "num_blocks": 2, "mel_bins": 32}
SMALL_PEACE = {
    "dim": 32,
    "num_layers": 2,
    "num_heads": 4,
    "ffn_dim": 48,
    "conv_dim": 16,
    "position_groups": 4,
    "bucket_size": 8,
}


@pytest.mark.parametrize("name", ["msclap_htsat", "msclap_cnn14"])
def test_microsofts_towers_equal_the_authors(name: str) -> None:
    check_golden("msclap", GOLDEN / f"{name}.safetensors")


@pytest.mark.parametrize("name", ["one_peace", "one_peace_own_biases"])
def test_one_peace_equals_the_authors(name: str) -> None:
    check_golden("one_peace", GOLDEN / f"{name}.safetensors")


@pytest.mark.parametrize("own_biases", [False, True])
def test_one_peace_alone_equals_batch_and_clicks_land(own_biases: bool) -> None:
    encoder = seeded_encoder("one_peace", {**SMALL_PEACE, "own_biases": own_biases})
    check_alone_equals_batch(encoder)
    encoder.front_end = replace(encoder.front_end, normalise=False)  # else a click changes the level everywhere
    check_click(encoder)


def test_without_its_masks_one_peace_hears_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = seeded_encoder("one_peace", SMALL_PEACE)
    bias = one_peace.OnePeaceAudioEncoder._bias
    with monkeypatch.context() as patch:
        patch.setattr(one_peace.OnePeaceAudioEncoder, "_bias", lambda s, t, rows, seen: bias(s, t, rows, seen | True))
        assert worst_difference(encoder) > 1e-6
    placed = one_peace.OnePeaceAudioEncoder._placed
    monkeypatch.setattr(one_peace.OnePeaceAudioEncoder, "_placed", lambda s, x, real: placed(s, x, real | True))
    assert worst_difference(encoder) > 1e-6


def test_towers_of_microsoft_and_reclap_alone_equal_batch_and_clicks_land() -> None:
    for family, config in (("msclap", SMALL_CLAP), ("msclap", SMALL_CNN14), ("reclap", SMALL_CLAP)):
        encoder = seeded_encoder(family, config)
        check_alone_equals_batch(encoder)
        check_click(encoder, clip_seconds=1.6)
        assert encoder.front_end == encoders.front_end(family, config) and encoder.name == family


def laion(encoder: clap.ClapAudioTower) -> dict[str, Tensor]:
    """The tower's weights in the layout of HTSAT's authors, which both CLAPs use."""
    names = {
        ".attention.output.dense.": ".attn.proj.",
        ".attention.self.relative": ".attn.relative",
        ".layernorm_before.": ".norm1.",
        ".layernorm_after.": ".norm2.",
        ".intermediate.dense.": ".mlp.fc1.",
        ".output.dense.": ".mlp.fc2.",
        "batch_norm.": "bn0.",
    }
    found: dict[str, Tensor] = {}
    for key, tensor in encoder.audio_encoder.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        if ".self.query." in key:
            parts = [encoder.audio_encoder.state_dict()[key.replace("query", p)] for p in ("query", "key", "value")]
            found[key.replace(".attention.self.query.", ".attn.qkv.")] = torch.cat(parts)
        elif ".attention.self." not in key:
            found[key] = tensor
    extra = {"head.weight": torch.zeros(5, 5), "tscam_conv.weight": torch.zeros(5, 32, 2, 3)}
    return {**found, **extra, "logmel_extractor.melW": torch.zeros(513, 16)}


def test_microsofts_and_reclaps_files_open(tmp_path: Path) -> None:
    config = {k: v for k, v in SMALL_CLAP.items() if k != "max_frames"}
    ours = laion(clap.build(config))
    microsofts = {f"audio_encoder.base.htsat.{k}": t for k, t in ours.items()}
    others = {"audio_encoder.projection.linear1.weight": torch.zeros(4, 32), "logit_scale": torch.zeros(())}
    others["caption_encoder.base.wte.weight"] = torch.zeros(2)
    torch.save({"model": {**microsofts, **others}}, tmp_path / "a.pth")
    assert isinstance(check_container(tmp_path / "a.pth", "msclap", tmp_path / "a"), msclap.MsclapHtsat)
    reclaps = {f"module.audio_branch.{k}": t for k, t in ours.items()}
    torch.save({"epoch": 1, "state_dict": {**reclaps, "module.logit_scale_a": torch.zeros(())}}, tmp_path / "b.pt")
    check_container(tmp_path / "b.pt", "reclap", tmp_path / "b")
    cnn14 = msclap.build(SMALL_CNN14).state_dict()
    torch.save({"model": {**{f"audio_encoder.base.{k}": t for k, t in cnn14.items()}, **others}}, tmp_path / "c.pth")
    opened = check_container(tmp_path / "c.pth", "msclap", tmp_path / "c", expected={"tower": "cnn14"})
    assert isinstance(opened, msclap.MsclapCnn14) and opened.sample_rate == 44_100


def test_wrong_files_are_refused_with_the_reason() -> None:
    for read, tensors, word in (
        (msclap.read, {"audio_branch.bn0.weight": torch.zeros(1)}, "LAION"),
        (reclap.read, {"module.audio_branch.post_extract_proj.weight": torch.zeros(1)}, "BEATs"),
        (one_peace.read, {"encoder_wrapper.image_adapter.cls_embedding": torch.zeros(1)}, "audio adapter"),
    ):
        with pytest.raises(WeightsError, match=word):
            read(Checkpoint("file.pt", tensors, {}))
    for family, config, word in (
        ("msclap", {"tower": "vit"}, "cnn14"),
        ("one_peace", {"num_heads": 7}, "multiple"),
        ("one_peace", {"bucket_size": 1024}, "bucket_size"),
        ("one_peace", {"dim": 0}, "whole number"),
    ):
        with pytest.raises(ConfigError, match=word):
            encoders.build(family, config)


# --- MERT ---

SMALL_HUBERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 16,
}


def mert_folder(folder: Path, **changes: Any) -> HubertModel:
    """What the hub's repositories hold, and the model it was made from."""
    torch.manual_seed(0)
    model = HubertModel(HubertConfig(**SMALL_HUBERT, **changes)).eval()
    settings = {**model.config.to_dict(), "model_type": "mert_model", "feature_extractor_cqt": False, **changes}
    old = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    state = {}
    for key, tensor in model.state_dict().items():
        for ours, theirs in old.items():
            key = key.replace(ours, theirs)
        state[key] = tensor
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(settings), "utf-8")
    extractor = {"sampling_rate": 24_000, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor), "utf-8")
    torch.save(state, folder / "pytorch_model.bin")
    return model


@pytest.mark.parametrize("changes", [{}, {"feat_extract_norm": "layer", "do_stable_layer_norm": True}])
def test_mert_opens_without_its_code_and_equals_huberts_network(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = mert_folder(tmp_path / "hub", **changes)
    encoder = check_container(tmp_path / "hub", "mert", tmp_path / "converted")
    assert encoder.name == "mert" and (encoder.sample_rate, encoder.frames_per_second) == (24_000, 75.0)
    samples = torch.randn(2, 6000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = model(samples, output_hidden_states=True)
        ours = encoder(samples[..., None], torch.ones(2, 6000, dtype=torch.bool), [0, 1, 2]).features
    assert torch.allclose(ours[:, 1], theirs.hidden_states[1], atol=1e-4)
    assert torch.allclose(ours[:, 2], theirs.last_hidden_state, atol=1e-4)


def test_mert_with_other_options_is_refused(tmp_path: Path) -> None:
    for option, word in (("feature_extractor_cqt", "constant-Q"), ("deepnorm", "DeepNorm")):
        mert_folder(tmp_path / option, **{option: True})
        with pytest.raises(WeightsError, match=word):
            encoders.open_encoder(tmp_path / option)
