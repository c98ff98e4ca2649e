"""LAION-CLAP's audio tower against transformers, in both containers that there are of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_checks import check_alone_equals_batch, check_click, check_container, seeded_encoder, worst_difference
from torch import Tensor
from transformers import ClapAudioConfig, ClapFeatureExtractor
from transformers.models.clap.modeling_clap import ClapAudioModel

from alm import encoders
from alm.encoders.families.clap import ClapAudioTower
from alm.errors import ConfigError, WeightsError

SMALL = {"patch_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_patches": 4, "spectrogram_side": 64, "max_frames": 200}  # fmt: skip # noqa: E501


@pytest.fixture
def original() -> ClapAudioModel:
    torch.manual_seed(0)
    config = ClapAudioConfig(
        patch_embeds_hidden_size=8, hidden_size=16, depths=[2, 2], num_attention_heads=[1, 2], num_hidden_layers=2,
        window_size=4, spec_size=64, num_mel_bins=16,
    )  # fmt: skip
    model = ClapAudioModel(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    model.audio_encoder.batch_norm.running_mean.normal_()
    return model


def laion_names(original: ClapAudioModel) -> dict[str, Tensor]:
    """The state as LAION's training writes it, with what lies beside the tower."""
    found = {}
    state = {name.removeprefix("audio_encoder."): value for name, value in original.state_dict().items()}
    renames = {
        r"^batch_norm\.": "bn0.", r"\.attention\.self\.relative_position": ".attn.relative_position",
        r"\.attention\.output\.dense\.": ".attn.proj.", r"\.layernorm_before\.": ".norm1.",
        r"\.layernorm_after\.": ".norm2.", r"\.intermediate\.dense\.": ".mlp.fc1.", r"\.output\.dense\.": ".mlp.fc2.",
    }  # fmt: skip
    for name, tensor in state.items():
        if match := re.fullmatch(r"(.*)\.attention\.self\.query\.(weight|bias)", name):
            parts = [state[f"{match[1]}.attention.self.{p}.{match[2]}"] for p in ("query", "key", "value")]
            found[f"{match[1]}.attn.qkv.{match[2]}"] = torch.cat(parts)
        elif ".attention.self.key." not in name and ".attention.self.value." not in name:
            for old, new in renames.items():
                name = re.sub(old, new, name)
            found[name] = tensor
    beside = {
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(3, 1, 4), "logmel_extractor.melW": torch.zeros(3, 2),
        "tscam_conv.weight": torch.zeros(5, 16, 2, 3), "head.weight": torch.zeros(5, 5),
        "layers.0.blocks.1.attn_mask": torch.zeros(4, 16, 16),
    }  # fmt: skip
    tower = {f"module.audio_branch.{name}": tensor for name, tensor in {**found, **beside}.items()}
    return {**tower, "module.text_branch.embeddings.weight": torch.zeros(3, 4), "module.logit_scale_a": torch.zeros(())}


def test_a_transformers_folder_gives_the_same_numbers(original: ClapAudioModel, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "hub")
    ClapFeatureExtractor(frequency_min=50).save_pretrained(tmp_path / "hub")
    encoder = check_container(tmp_path / "hub", "clap", tmp_path / "ours", expected={"depths": [2, 2], "low_hz": 50})
    encoder.config = encoders.build("clap", SMALL).config  # type: ignore[assignment]
    picture = torch.randn(2, 200, 16)
    with torch.no_grad():
        theirs = original(picture[:, None], output_hidden_states=True)
        heard = encoder(picture, torch.ones(2, 200, dtype=torch.bool), [0, 1, 2])
    # Theirs: [batch, dim, frequency, time]
    assert (heard.features[:, 2] - theirs.last_hidden_state.mean(2).transpose(1, 2)).abs().max() < 1e-4
    patches = theirs.hidden_states[0].unflatten(2, (4, 2, 2)).unflatten(-1, (8, 2)).mean((4, 6))
    assert torch.allclose(heard.features[:, 0], patches.permute(0, 2, 4, 3, 1).reshape(2, 32, 16), atol=1e-5)


def test_laions_file_gives_the_same_weights(original: ClapAudioModel, tmp_path: Path) -> None:
    torch.save({"epoch": 1, "name": "x", "state_dict": laion_names(original)}, tmp_path / "clap.pt")
    expected = {"patch_dim": 8, "num_heads": [1, 2], "window_patches": 4, "mel_scale": "slaney"}
    encoder = check_container(tmp_path / "clap.pt", "clap", tmp_path / "ours", expected=expected)
    state = encoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in original.state_dict().items())


def test_a_fused_model_hears_other_bands(original: ClapAudioModel, tmp_path: Path) -> None:
    fused = {**laion_names(original), "module.audio_branch.patch_embed.mel_conv2d.weight": torch.zeros(8, 1, 4, 12)}
    torch.save({"state_dict": fused}, tmp_path / "fused.pt")
    assert encoders.open_encoder(tmp_path / "fused.pt", "clap").front_end.to_dict()["mel_scale"] == "htk"


def test_a_tower_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.audio_branch.conv_block1.conv1.weight": torch.zeros(1)}}, tmp_path / "cnn.pt")
    with pytest.raises(WeightsError, match="HTSAT"):
        encoders.open_encoder(tmp_path / "cnn.pt", "clap")


def test_company_and_padding_do_not_matter() -> None:
    check_alone_equals_batch(seeded_encoder("clap", SMALL), (1, 7, 33, 80, 180))


def filled(seconds: float, padding: str, fused: bool = False) -> tuple[Tensor, Tensor]:
    """Spectrograms `[frames, bins]` that the models see of a clip: transformers' and ours."""
    samples = (np.random.default_rng(0).standard_normal(round(seconds * 48_000)) * 0.03).astype(np.float32)
    samples[: 48_000 // 4] *= 4.0  # so that the start is told from the rest
    extractor = ClapFeatureExtractor(frequency_min=50, padding=padding, truncation="fusion" if fused else "rand_trunc")
    rounded = np.trunc(samples * 32_767.0).astype(np.float32) / np.float32(32_767.0)
    theirs = extractor(rounded, sampling_rate=48_000, return_tensors="pt")["input_features"][0, 0]
    sizes = {**SMALL, "spectrogram_side": 256, "max_frames": 1001, "padding": padding}
    encoder = encoders.build("clap", {**sizes, "mel_scale": "htk" if fused else "slaney"})
    assert isinstance(encoder, ClapAudioTower)
    picture = torch.from_numpy(encoder.front_end(samples))[None]
    return theirs, encoder._filled(picture, torch.ones(picture.shape[:2], dtype=torch.bool))[0]


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
@pytest.mark.parametrize("seconds", [6.0, 3.3, 2.5, 1.0, 10.0])
def test_short_clips_are_filled_as_the_authors_do(seconds: float, padding: str) -> None:
    """All frames but those where a repetition meets another, silence or the end. Control: another padding differs."""
    theirs, ours = filled(seconds, padding)
    frame = torch.arange(1001)
    apart = (frame - (frame / (100 * seconds)).round() * 100 * seconds).abs()
    inside = ((apart > 1.5) & (frame < 999)) | (frame < 2) | (seconds == 10.0)
    assert theirs.shape == ours.shape and inside.sum() > 950
    assert (theirs - ours)[inside].abs().max() < 0.05
    if seconds == 6.0:
        other = filled(seconds, "repeat" if padding != "repeat" else "pad")[1]
        assert (theirs - other)[inside].abs().max() > 20


def test_six_seconds_from_samples_to_features(original: ClapAudioModel) -> None:
    """LAION's filling against transformers' extractor and model. Control: repeated to the end, it is another sound."""
    torch.manual_seed(0)
    sizes = {"patch_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "spectrogram_side": 256}
    config = encoders.build("clap", sizes).config.to_transformers()  # type: ignore[union-attr, operator]
    model = ClapAudioModel(config).eval()
    samples = (np.random.default_rng(0).standard_normal(6 * 48_000) * 0.1).astype(np.float32)
    samples = np.trunc(samples * 32_767.0).astype(np.float32) / np.float32(32_767.0)
    inputs = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")(
        samples, sampling_rate=48_000, return_tensors="pt"
    )
    found = {}
    with torch.no_grad():
        theirs = model(inputs["input_features"]).last_hidden_state.mean(2).transpose(1, 2)[0]
        for padding in ("repeatpad", "repeat"):
            encoder = encoders.build("clap", {**sizes, "padding": padding}).eval()
            encoder.load_state_dict(model.state_dict())
            picture = torch.from_numpy(encoder.front_end(samples))[None]
            heard = encoder(picture, torch.ones(picture.shape[:2], dtype=torch.bool), [-1]).features[0, 0]
            found[padding] = float((heard - theirs[: len(heard)]).abs().mean() / theirs.abs().mean())
    assert found["repeatpad"] < 0.001 and found["repeat"] > 10 * found["repeatpad"], found


def test_the_folder_says_how_short_clips_are_filled(original: ClapAudioModel, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "hub")
    ClapFeatureExtractor(padding="repeat").save_pretrained(tmp_path / "hub")
    check_container(tmp_path / "hub", "clap", tmp_path / "ours", expected={"padding": "repeat"})
    with pytest.raises(ConfigError, match="padding is 'loop'"):
        encoders.build("clap", {**SMALL, "padding": "loop"})


def test_unmasked_padding_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = ClapAudioTower._filled
    monkeypatch.setattr(ClapAudioTower, "_filled", lambda self, x, mask: filled(self, x, mask | True))
    assert worst_difference(seeded_encoder("clap", SMALL), (7, 80)) > 1e-3


def test_a_click_lands_in_its_time() -> None:
    check_click(seeded_encoder("clap", SMALL), 1.9, (0.31, 0.77, 1.23))


def test_longer_clips_and_impossible_settings_are_refused() -> None:
    encoder = encoders.build("clap", SMALL)
    with pytest.raises(ConfigError, match="limit is 200"):
        encoder(torch.zeros(1, 201, 16), torch.ones(1, 201, dtype=torch.bool), [0])
    for wrong in ({"depths": (2,)}, {"spectrogram_side": 40}):
        with pytest.raises(ConfigError, match="clap encoder"):
            encoders.build("clap", {**SMALL, **wrong})
