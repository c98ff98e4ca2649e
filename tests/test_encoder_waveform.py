"""HuBERT, wav2vec2 and WavLM against transformers, from its folders and from fairseq's files."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_checks import check_alone_equals_batch, check_click, check_container, seeded_encoder, worst_difference
from torch import Tensor
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

from alm import encoders
from alm.encoders.blocks import waveform
from alm.errors import ConfigError, WeightsError

SMALL = {
    "dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 48, "conv_dim": [16] * 7, "position_kernel": 16,
    "position_groups": 4,
}  # fmt: skip
LARGE = {"group_norm": False, "pre_norm": True, "conv_bias": True}
THEIRS = {"hubert": (HubertConfig, HubertModel), "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model), "wavlm": (WavLMConfig, WavLMModel)}  # fmt: skip # noqa: E501
FAMILIES = sorted(THEIRS)


def original(family: str, large: bool) -> Any:
    config, model = THEIRS[family]
    torch.manual_seed(0)
    made = model(
        config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, conv_dim=[16] * 7,
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, conv_bias=large, do_stable_layer_norm=large,
            feat_extract_norm="layer" if large else "group",
        )
    ).eval()  # fmt: skip
    for parameter in made.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return made


def worst(encoder: encoders.AudioEncoder, theirs: Any) -> float:
    samples = torch.randn(2, 4000)
    with torch.no_grad():
        hidden = theirs(samples, output_hidden_states=True)
        ours = encoder(samples[:, :, None], torch.ones(2, 4000, dtype=torch.bool), [0, 1, 2]).features
    wanted = torch.stack([*hidden.hidden_states[:2], hidden.last_hidden_state], 1)
    return float((ours - wanted).abs().max())


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_transformers_folder_gives_the_same_numbers(family: str, large: bool, tmp_path: Path) -> None:
    theirs = original(family, large)
    theirs.save_pretrained(tmp_path / "hub")
    expected = {"pre_norm": large, "group_norm": not large, "num_heads": 4, "position_kernel": 16}
    encoder = check_container(tmp_path / "hub", family, tmp_path / "ours", expected=expected)
    assert worst(encoder, theirs) < 1e-4


FAIRSEQ = (
    (r"\.conv_layers\.(\d+)\.conv\.", r".conv_layers.\1.0."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"\.attention\.gru_rel_pos_linear\.", ".self_attn.grep_linear."),
    (r"\.attention\.gru_rel_pos_const$", ".self_attn.grep_a"),
    (r"\.attention\.rel_attn_embed\.", ".self_attn.relative_attention_bias."),
    (r"\.attention\.", ".self_attn."),
    (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
    (r"\.feed_forward\.output_dense\.", ".fc2."),
)


def fairseq_names(theirs: Any, large: bool) -> dict[str, Tensor]:
    found = {}
    norm = r".conv_layers.\1.2.1." if large else r".conv_layers.\1.2."
    for name, tensor in theirs.state_dict().items():
        name = re.sub(r"\.conv_layers\.(\d+)\.layer_norm\.", norm, name)
        for pattern, replacement in FAIRSEQ:
            name = re.sub(pattern, replacement, name)
        found["mask_emb" if name == "masked_spec_embed" else name] = tensor
    return {**found, "final_proj.weight": torch.zeros(4, 32), "label_embs_concat": torch.zeros(5, 4)}


def settings(family: str, large: bool) -> dict[str, Any]:
    """WavLM's flat table, the parts that hydra writes, and the namespace of older files."""
    flat = {"encoder_attention_heads": 4, "layer_norm_first": large, "normalize": large, "max_distance": 800}
    if family == "wavlm":
        return {"cfg": flat}
    if family == "hubert":
        return {"args": None, "cfg": {"model": {**flat, "_name": "hubert"}, "task": {"normalize": large}}}
    return {"args": argparse.Namespace(**flat)}


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fairseqs_file_gives_the_same_numbers(family: str, large: bool, tmp_path: Path) -> None:
    theirs = original(family, large)
    torch.save({**settings(family, large), "model": fairseq_names(theirs, large)}, tmp_path / "model.pt")
    expected = {"num_heads": 4, "pre_norm": large, "normalise": large, "conv_bias": large}
    encoder = check_container(tmp_path / "model.pt", family, tmp_path / "ours", expected=expected)
    assert worst(encoder, theirs) < 1e-4


def test_other_models_are_refused_with_the_reason(tmp_path: Path) -> None:
    theirs = original("hubert", False)
    torch.save({**settings("hubert", False), "model": fairseq_names(theirs, False)}, tmp_path / "hubert.pt")
    with pytest.raises(WeightsError, match="no WavLM"):
        encoders.open_encoder(tmp_path / "hubert.pt", "wavlm")
    torch.save({"model": fairseq_names(theirs, False)}, tmp_path / "bare.pt")
    with pytest.raises(WeightsError, match="settings"):
        encoders.open_encoder(tmp_path / "bare.pt", "hubert")
    torch.save({"model": {"conv.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="wav2vec2 kind"):
        encoders.open_encoder(tmp_path / "other.pt", "hubert")


@pytest.mark.parametrize("config", [{}, LARGE, {"topic_token": True}], ids=["base", "large", "topic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_company_and_padding_do_not_matter(family: str, config: dict[str, Any]) -> None:
    check_alone_equals_batch(seeded_encoder(family, {**SMALL, **config}))


def test_a_clip_norm_over_padding_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = waveform._clip_norm
    monkeypatch.setattr(waveform, "_clip_norm", lambda x, count, norm: masked(x, count * 0 + x.shape[2], norm))
    assert worst_difference(seeded_encoder("hubert", SMALL)) > 1e-3


def test_attention_to_padding_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveform, "create_bidirectional_mask", lambda **_: None)
    assert worst_difference(seeded_encoder("hubert", SMALL)) > 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_click_lands_in_its_time(family: str) -> None:
    check_click(seeded_encoder(family, {**SMALL, **LARGE}))


def test_the_topic_token_is_heard_and_not_returned() -> None:
    encoder = seeded_encoder("hubert", {**SMALL, "topic_token": True})
    samples, mask = torch.randn(1, 4000, 1, dtype=torch.float64), torch.ones(1, 4000, dtype=torch.bool)
    with torch.no_grad():
        before = encoder(samples, mask, [2]).features
        encoder.topic_token.add_(1.0)
        after = encoder(samples, mask, [2]).features
    assert before.shape[2] == 12 and (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("wrong", [{"num_heads": 5}, {"conv_stride": [2]}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="encoder: "):
        encoders.build("hubert", {**SMALL, **wrong})
