"""Encoders: front ends against their definitions, and features that do not depend on padding or company."""

from __future__ import annotations

import json
import os
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from encoder_checks import batched, randomised, worst_difference
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from alm import encoders
from alm.encoders.families.aisfx import AisfxAudioEncoder, AisfxHeads, ConvBlock
from alm.encoders.families.whisper import WhisperAudioEncoder, WhisperEncoderConfig
from alm.encoders.ucs import HEAD_NAMES
from alm.errors import AudioError, ConfigError, WeightsError

if TYPE_CHECKING:
    from alm.weights import TinyWeights

DATA = Path(__file__).parent / "data"
SMALL_WHISPER = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_dim": 64, "max_positions": 50}


def noise(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate)) * 0.1
    return samples.astype(np.float32)


@pytest.fixture(params=["whisper", "aisfx"])
def encoder(request: pytest.FixtureRequest) -> encoders.AudioEncoder:
    torch.manual_seed(0)
    config = SMALL_WHISPER if request.param == "whisper" else {"mel_bins": 32}
    return randomised(encoders.build(request.param, config))


# --- front ends ---


@pytest.mark.parametrize("seconds", [0.01, 0.7, 3.123, 30.0])
def test_whisper_log_mel_equals_the_start_of_whispers_own_30_seconds(seconds: float) -> None:
    samples = noise(seconds, 16_000)
    samples[: samples.size // 2] *= 0.001
    ours = encoders.FRONT_ENDS["whisper"](samples)
    extractor = WhisperFeatureExtractor()
    padded = np.zeros(480_000, np.float32)
    padded[: samples.size] = samples
    exact = extractor._np_extract_fbank_features(padded[None], "cpu")[0].T
    assert ours.shape == (max(1, -(-samples.size // 160)), 80)
    assert np.abs(ours - exact[: len(ours)]).max() < 1e-5
    # Its usual path works in float32, which is good for four digits in nearly silent cells.
    usual = extractor(samples, sampling_rate=16_000, return_tensors="np").input_features[0].T
    assert np.abs(ours - usual[: len(ours)]).max() < 2e-4


def test_aisfx_spectrogram_equals_essentias() -> None:
    """The expected rows were computed by Essentia 2.1 with the published settings."""
    t = np.arange(30_000) / 44_100
    chirp = 0.5 * np.sin(2 * np.pi * (15_000 * t - 10_000 * t * t)) + 0.2 * np.sin(2 * np.pi * 440 * t) * (t > 0.3)
    expected = json.loads((DATA / "aisfx_front_end.json").read_text("utf-8"))
    ours = encoders.FRONT_ENDS["aisfx"](chirp.astype(np.float32))
    assert ours.shape == (expected["frames"], 96)
    for row, values in expected["rows"].items():
        assert np.abs(ours[int(row)] - np.array(values)).max() < 1e-5


def test_digital_silence_is_zero_for_aisfx_and_the_floor_for_whisper() -> None:
    assert not encoders.FRONT_ENDS["aisfx"](np.zeros(44_100, np.float32)).any()
    assert np.allclose(encoders.FRONT_ENDS["whisper"](np.zeros(16_000, np.float32)), -1.5)


@pytest.mark.parametrize("family", ["whisper", "aisfx"])
def test_front_ends_take_one_sample_and_tell_their_frames(family: str) -> None:
    front_end = encoders.FRONT_ENDS[family]
    for count in (1, 2, front_end.hop_samples - 1, front_end.hop_samples, front_end.hop_samples + 1, 30_000):
        spectrogram = front_end(noise(count / front_end.sample_rate, front_end.sample_rate))
        assert spectrogram.shape == (front_end.num_frames(count), front_end.bins)
        assert np.isfinite(spectrogram).all() and spectrogram.dtype == np.float32


@pytest.mark.parametrize("family", ["whisper", "aisfx"])
def test_front_ends_refuse_what_they_cannot_hear(family: str) -> None:
    front_end = encoders.FRONT_ENDS[family]
    too_long = np.zeros(round(front_end.max_seconds * front_end.sample_rate) + 1, np.float32)
    broken = np.full(100, np.nan, np.float32)
    for samples, word in ((too_long, "limit"), (broken, "NaN"), (np.zeros(0), "shape"), (np.zeros((2, 9)), "shape")):
        with pytest.raises(AudioError, match=word):
            front_end(samples)


def test_front_ends_describe_themselves() -> None:
    for name, front_end in encoders.FRONT_ENDS.items():
        assert encoders.front_end_from_dict(json.loads(json.dumps(front_end.to_dict()))) == front_end
        assert front_end.name == name
    assert encoders.front_end("whisper", {"mel_bins": 128}).bins == 128


# --- batch invariance ---


def test_padded_equals_unpadded_and_alone_equals_batched(encoder: encoders.AudioEncoder) -> None:
    assert worst_difference(encoder) < 1e-9


def test_without_masking_after_each_convolution_padding_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def unmasked(block: ConvBlock, x: Tensor, real: Tensor) -> Tensor:
        x = torch.relu(block.bn1(block.conv1(x)))
        return torch.relu(block.bn2(block.conv2(x)))

    monkeypatch.setattr(ConvBlock, "forward", unmasked)
    assert worst_difference(randomised(encoders.build("aisfx", {"mel_bins": 32}))) > 1e-3


@pytest.mark.parametrize("left_out", ["stem", "attention"])
def test_without_masks_whisper_hears_padding(monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    torch.manual_seed(0)
    encoder = randomised(encoders.build("whisper", SMALL_WHISPER))
    if left_out == "attention":
        monkeypatch.setattr("alm.encoders.families.whisper.create_bidirectional_mask", lambda **_: None)
    else:
        stem = WhisperAudioEncoder._stem
        everything: Callable[..., Any] = lambda self, x, mask: (stem(self, x, mask | True)[0], mask[:, ::2])  # noqa: E731
        monkeypatch.setattr(WhisperAudioEncoder, "_stem", everything)
    assert worst_difference(encoder) > 1e-6


def test_half_precision_stays_finite_and_close(encoder: encoders.AudioEncoder) -> None:
    spectrogram = torch.randn(2, 40, encoder.front_end.bins, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(2, 40, dtype=torch.bool)
    with torch.no_grad():
        exact = encoder(spectrogram.double(), mask, [-1]).features
        rounded = encoder.bfloat16()(spectrogram.bfloat16(), mask, [-1]).features
    assert rounded.dtype == torch.bfloat16 and bool(torch.isfinite(rounded).all())
    assert float((rounded.double() - exact).abs().mean() / exact.abs().mean()) < 0.05


# --- against the originals ---


def test_whisper_equals_transformers_on_its_full_length() -> None:
    torch.manual_seed(0)
    encoder = encoders.build("whisper", SMALL_WHISPER).eval()
    assert isinstance(encoder, WhisperAudioEncoder)
    config = WhisperEncoderConfig(**SMALL_WHISPER).to_transformers()
    original = WhisperEncoder(config).eval()
    original.load_state_dict(encoder.encoder.state_dict())
    mel = torch.randn(2, 100, 80)
    with torch.no_grad():
        theirs = original(mel.transpose(1, 2), output_hidden_states=True)
        ours = encoder(mel, torch.ones(2, 100, dtype=torch.bool), [0, 1, 2])
    assert torch.allclose(ours.features[:, -1], theirs.last_hidden_state, atol=1e-6)
    assert torch.allclose(ours.features[:, 1], theirs.hidden_states[1], atol=1e-6)


def plain_aisfx(weights: dict[str, Tensor], spectrogram: Tensor) -> Tensor:
    """The published network, written out: `[batch, frames, bins]` to `[batch, 512, time]`."""
    x = spectrogram[:, None]
    for block in range(1, 5):
        for index in (1, 2):
            name = f"embedding_net.conv_block{block}"
            x = nn.functional.conv2d(x, weights[f"{name}.conv{index}.weight"], padding=1)
            norm = {k: weights[f"{name}.bn{index}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")}
            x = nn.functional.relu(nn.functional.batch_norm(x, **norm))
        x = nn.functional.max_pool2d(x, 2 if block < 4 else 1)
    return x.mean(3)


def test_aisfx_equals_the_network_written_out() -> None:
    torch.manual_seed(0)
    encoder = encoders.build("aisfx").eval()
    spectrogram = torch.rand(2, 48, 96)
    with torch.no_grad():
        ours = encoder(spectrogram, torch.ones(2, 48, dtype=torch.bool), [-1]).features[:, 0]
        assert torch.allclose(ours, plain_aisfx(encoder.state_dict(), spectrogram).transpose(1, 2), atol=1e-5)


def test_aisfx_layers_share_one_grid() -> None:
    encoder = encoders.build("aisfx").eval()
    with torch.no_grad():
        heard = encoder(torch.rand(1, 20, 96), torch.ones(1, 20, dtype=torch.bool), [0, 1, 2, 3])
    assert heard.features.shape == (1, 4, 3, 512) and heard.mask.shape == (1, 3)


def test_training_mode_keeps_the_trained_batch_norm_statistics() -> None:
    encoder = encoders.build("aisfx")
    assert isinstance(encoder, AisfxAudioEncoder)
    encoder.train()
    before = encoder.embedding_net.conv_block1.bn1.running_mean.clone()
    encoder(torch.rand(1, 16, 96), torch.ones(1, 16, dtype=torch.bool), [-1])
    assert torch.equal(before, encoder.embedding_net.conv_block1.bn1.running_mean)


@pytest.mark.weights
def test_pretrained_aisfx_equals_the_package(weights: TinyWeights) -> None:
    """The package's own network from its wheel, on the same spectrogram, heads included."""
    source = Path(os.environ.get("ALM_WHEELS", "")) / "aisfx-0.1.2-py2.py3-none-any.whl"
    if not source.is_file():
        pytest.skip("needs the aisfx wheel in $ALM_WHEELS")
    package = types.ModuleType("cnn2d")
    with zipfile.ZipFile(source) as opened:
        exec(compile(opened.read("aisfx/models/cnn2d.py"), "cnn2d.py", "exec"), package.__dict__)
    heads = encoders.load_heads(weights.aisfx)
    table = {name: (index, count) for index, (name, count) in enumerate(heads.libraries.items())}
    original = package.CrossNet(package.EmbeddingNet("max", 3, 1, 64), table, "cpu").eval()
    encoder = encoders.load("aisfx", weights.aisfx)
    original.load_state_dict({**encoder.state_dict(), **heads.state_dict()})
    spectrogram = torch.from_numpy(encoders.FRONT_ENDS["aisfx"](noise(3.0, 44_100)))[None, :128]
    with torch.no_grad():
        heard = encoder(spectrogram, torch.ones(1, 128, dtype=torch.bool), [-1])
        scores = heads(heard)
        for name in heads.libraries:
            embedding, logits = original(spectrogram, name)
            assert torch.allclose(heard.features[:, -1].amax(1), embedding, atol=1e-5)
            assert torch.allclose(scores[name], logits, atol=1e-4)


@pytest.mark.weights
def test_pretrained_encoders_hear_the_same_padded_and_alone(weights: TinyWeights) -> None:
    for family, folder in (("whisper", weights.whisper), ("aisfx", weights.aisfx)):
        encoder = encoders.load(family, folder)
        rate = encoder.sample_rate
        clips = [torch.from_numpy(encoder.front_end(noise(s, rate, seed=i))) for i, s in enumerate((0.3, 1.9))]
        batch, mask = batched(clips, filler=3.0)
        with torch.no_grad():
            together = encoder(batch.float(), mask, [-1])
            alone = encoder(clips[0][None], torch.ones(1, len(clips[0]), dtype=torch.bool), [-1]).features[0, 0]
        scale = float(alone.abs().max())
        assert float((together.features[0, 0, : len(alone)] - alone).abs().max()) < 1e-5 * max(1.0, scale)


@pytest.mark.weights
def test_recovered_class_names_fit_their_heads(weights: TinyWeights) -> None:
    libraries = encoders.load_heads(weights.aisfx).libraries
    for library, recovered in HEAD_NAMES.items():
        proven = [name for name in recovered if name]
        assert len(recovered) == libraries[library] and proven == sorted(set(proven))
        assert {"BIRDS", "FOOTSTEPS", "GLASS", "WATER"} <= set(proven)


# --- registry and loading ---


def test_the_registry_refuses_what_it_does_not_know() -> None:
    assert {"aisfx", "whisper"} <= set(encoders.names())
    with pytest.raises(ConfigError, match=r"'no_such'.*aisfx"):
        encoders.build("no_such")
    with pytest.raises(ConfigError, match=r"'d_model'.*dim"):
        encoders.build("whisper", {"d_model": 384})
    with pytest.raises(ConfigError, match="multiple of num_heads"):
        encoders.build("whisper", {**SMALL_WHISPER, "num_heads": 5})
    with pytest.raises(ConfigError, match="mel_bins"):
        encoders.build("aisfx", {"mel_bins": 50})


def test_wrong_shapes_and_layers_are_refused(encoder: encoders.AudioEncoder) -> None:
    bins, ones = encoder.front_end.bins, torch.ones(1, 9, dtype=torch.bool)
    good = torch.zeros(1, 9, bins, dtype=torch.float64)
    for spectrogram, mask, layers in (
        (good[..., 1:], ones, [0]),
        (good, ones[:, 1:], [0]),
        (good, ones, [encoder.num_layers + 1]),
        (good[:, :0], ones[:, :0], [0]),
    ):
        with pytest.raises(ConfigError, match=encoder.name):
            encoder(spectrogram, mask, layers)


def test_whisper_refuses_more_than_its_positions() -> None:
    encoder = encoders.build("whisper", SMALL_WHISPER)
    with pytest.raises(ConfigError, match="limit is 100"):
        encoder(torch.zeros(1, 101, 80), torch.ones(1, 101, dtype=torch.bool), [-1])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(encoders.build("aisfx").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"mel_bins": 96, "libraries": {"one": 3}}))
    save_file(AisfxHeads({"one": 3}).state_dict(), tmp_path / "heads.safetensors")
    return tmp_path


def test_loading_fills_every_weight_and_freezes(saved: Path) -> None:
    encoder = encoders.load("aisfx", saved)
    torch.manual_seed(0)
    expected = encoders.build("aisfx").state_dict()
    assert all(torch.equal(expected[k], v) for k, v in encoder.state_dict().items())
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    assert encoders.load_heads(saved).libraries == {"one": 3}


@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape", "truncated", "absent", "config"])
def test_loading_refuses_what_does_not_fit(saved: Path, damage: str) -> None:
    path = saved / "model.safetensors"
    tensors = encoders.build("aisfx").state_dict()
    name = "embedding_net.conv_block1.conv1.weight"
    if damage == "missing":
        del tensors[name]
    if damage == "unexpected":
        tensors["embedding_net.conv_block5.conv1.weight"] = torch.zeros(1)
    if damage == "shape":
        tensors[name] = torch.zeros(1, 2)
    save_file(tensors, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    if damage == "absent":
        path.unlink()
    if damage == "config":
        (saved / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="conv_block|model.safetensors|config.json"):
        encoders.load("aisfx", saved)
