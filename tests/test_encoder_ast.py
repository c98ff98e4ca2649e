"""AST against transformers, in both containers that there are of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_checks import check_alone_equals_batch, check_click, check_container, seeded_encoder, worst_difference
from torch import Tensor
from transformers import ASTConfig, ASTFeatureExtractor
from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import ASTModel

from alm import encoders
from alm.encoders.families.ast import AstAudioEncoder
from alm.encoders.front_ends import KaldiFrontEnd
from alm.errors import ConfigError, WeightsError

SMALL = {"dim": 64, "num_layers": 2, "num_heads": 1, "ffn_dim": 64, "max_frames": 128}


@pytest.fixture
def original() -> ASTModel:
    torch.manual_seed(0)
    config = ASTConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=64, max_length=128)
    model = ASTModel(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    return model


def noise(seconds: float) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * 16_000)) * 0.1).astype(np.float32)


def authors_names(original: ASTModel) -> dict[str, Tensor]:
    """The state as `torch.save` of the authors' DataParallel writes it, heads included."""
    state, found = original.state_dict(), {}
    renames = {
        "embeddings.cls_token": "v.cls_token",
        "embeddings.distillation_token": "v.dist_token",
        "embeddings.position_embeddings": "v.pos_embed",
        "embeddings.patch_embeddings.projection.weight": "v.patch_embed.proj.weight",
        "embeddings.patch_embeddings.projection.bias": "v.patch_embed.proj.bias",
        "layernorm.weight": "v.norm.weight",
        "layernorm.bias": "v.norm.bias",
    }
    for old, new in renames.items():
        found[f"module.{new}"] = state[old]
    for layer in range(2):
        ours, theirs = f"layers.{layer}.", f"module.v.blocks.{layer}."
        for end in ("weight", "bias"):
            parts = [state[f"{ours}attention.{p}_proj.{end}"] for p in "qkv"]
            found[f"{theirs}attn.qkv.{end}"] = torch.cat(parts)
            found[f"{theirs}attn.proj.{end}"] = state[f"{ours}attention.o_proj.{end}"]
            same = {"layernorm_before": "norm1", "layernorm_after": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
            for a, b in same.items():
                found[f"{theirs}{b}.{end}"] = state[f"{ours}{a}.{end}"]
    heads = {"module.mlp_head.1.weight": torch.zeros(5, 64), "module.v.head.weight": torch.zeros(5, 64)}
    return {**found, **heads}


def test_a_transformers_folder_gives_the_same_numbers(original: ASTModel, tmp_path: Path) -> None:
    """From samples to the last layer, on a clip that fills a part of the model's length."""
    extractor = ASTFeatureExtractor(max_length=128)
    original.save_pretrained(tmp_path / "hub")
    extractor.save_pretrained(tmp_path / "hub")
    encoder = check_container(tmp_path / "hub", "ast", tmp_path / "ours", expected={"max_frames": 128})
    samples = noise(0.9)
    picture = torch.from_numpy(encoder.front_end(samples))[None]
    inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        theirs = original(**inputs, output_hidden_states=True)
        heard = encoder(picture, torch.ones(picture.shape[:2], dtype=torch.bool), [0, 1, 2])
    steps = heard.features.shape[2]
    assert steps == -(-picture.shape[1] // 10)
    wanted = [theirs.hidden_states[0], theirs.hidden_states[1], theirs.last_hidden_state]
    for layer, hidden in enumerate(wanted):
        grid = hidden[:, 2:].unflatten(1, (12, 12)).mean(1)[:, :steps]
        assert (heard.features[:, layer] - grid).abs().max() < 1e-4


def test_the_authors_file_gives_the_same_weights(original: ASTModel, tmp_path: Path) -> None:
    torch.save(authors_names(original), tmp_path / "audioset.pth")
    expected = {"time_stride": 10, "max_frames": 128, "num_heads": 1}
    encoder = check_container(tmp_path / "audioset.pth", "ast", tmp_path / "ours", expected=expected)
    state = encoder.state_dict()
    assert all(torch.equal(state[f"encoder.{name}"], tensor) for name, tensor in original.state_dict().items())
    assert isinstance(encoder, AstAudioEncoder) and encoder.config.subtract_mean


def file_of(frames: int, path: Path) -> Path:
    config = ASTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=64, max_length=frames
    )
    torch.save(authors_names(ASTModel(config)), path)
    return path


def statistics_of(source: Path, size: str = "") -> tuple[float, float]:
    front_end = encoders.open_encoder(source, "ast", size).front_end
    assert isinstance(front_end, KaldiFrontEnd)
    return front_end.mean, front_end.divisor / 2


def test_the_authors_files_have_the_statistics_of_their_training_set(tmp_path: Path) -> None:
    """AudioSet, Speech Commands, and of 512 frames what one is told: several sets are as long."""
    assert statistics_of(file_of(1024, tmp_path / "a.pth")) == (-4.2677393, 4.5689974)
    assert statistics_of(file_of(128, tmp_path / "s.pth")) == (-6.845978, 5.5654526)
    with pytest.raises(ConfigError, match=r"e.pth: .*512 frames.*--size esc-50"):
        encoders.open_encoder(file_of(512, tmp_path / "e.pth"), "ast")
    assert statistics_of(tmp_path / "e.pth", "esc-50") == (-6.6268077, 5.358466)
    (tmp_path / "preprocessor_config.json").write_text('{"mean": -6.5, "std": 5.25}')
    assert statistics_of(tmp_path / "e.pth") == statistics_of(tmp_path / "a.pth") == (-6.5, 5.25)


@pytest.mark.parametrize(("extra", "reason"), [("cpredlayer.0.weight", "ssast"), ("v.pos_embed", "fit none")])
def test_other_variants_are_refused_with_the_reason(
    original: ASTModel, tmp_path: Path, extra: str, reason: str
) -> None:
    torch.save({**authors_names(original), f"module.{extra}": torch.zeros(1, 7, 64)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=reason):
        encoders.open_encoder(tmp_path / "other.pth", "ast")


@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_company_and_padding_do_not_matter(frequency: str) -> None:
    check_alone_equals_batch(seeded_encoder("ast", {**SMALL, "frequency": frequency}))


def test_unmasked_padding_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = AstAudioEncoder._filled
    monkeypatch.setattr(AstAudioEncoder, "_filled", lambda self, x, mask: filled(self, x, mask | True))
    assert worst_difference(seeded_encoder("ast", SMALL)) > 1e-3


@pytest.mark.parametrize("frequency", ["mean", "tokens"])
def test_a_click_lands_in_its_time(frequency: str) -> None:
    check_click(seeded_encoder("ast", {**SMALL, "frequency": frequency}), 1.2, (0.31, 0.77, 1.03))


def test_tokens_are_all_patches_step_by_step() -> None:
    mean, tokens = (seeded_encoder("ast", {**SMALL, "frequency": f}) for f in ("mean", "tokens"))
    picture, mask = torch.randn(1, 128, 128, dtype=torch.float64), torch.ones(1, 128, dtype=torch.bool)
    with torch.no_grad():
        together, apart = mean(picture, mask, [2]).features, tokens(picture, mask, [2]).features
    assert apart.shape[2] == 12 * together.shape[2]
    assert torch.allclose(apart.unflatten(2, (-1, 12)).mean(3), together)
    assert tokens.times(13)[[0, 11, 12], 0].tolist() == [0.0, 0.0, 0.1]


def test_longer_clips_and_impossible_settings_are_refused() -> None:
    encoder = encoders.build("ast", SMALL)
    with pytest.raises(ConfigError, match="limit is 128"):
        encoder(torch.zeros(1, 129, 128), torch.ones(1, 129, dtype=torch.bool), [0])
    for wrong in ({"frequency": "max"}, {"num_heads": 5}, {"max_frames": 8}):
        with pytest.raises(ConfigError, match="ast encoder"):
            encoders.build("ast", {**SMALL, **wrong})
