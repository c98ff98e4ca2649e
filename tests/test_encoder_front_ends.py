"""Front ends against the programs that the encoders' authors used, on the same clips."""

from __future__ import annotations

from collections.abc import Sequence

import kaldi_native_fbank as knf
import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import ASTFeatureExtractor, ClapFeatureExtractor, Wav2Vec2FeatureExtractor

from alm import encoders
from alm.encoders.front_ends import (
    TYPES,
    HtsatFrontEnd,
    KaldiFrontEnd,
    MelDbFrontEnd,
    PasstFrontEnd,
    RawFrontEnd,
)
from alm.errors import AudioError, ConfigError

Array = NDArray[np.float32]


def clip(seconds: float, rate: int) -> Array:
    """Noise, a sweep and a part that is nearly silent."""
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.05 * np.random.default_rng(0).standard_normal(time.size) + 0.3 * np.sin(2e3 * time * (1 + time)) + 0.02
    samples[time.size // 3 : time.size // 2] *= 1e-3
    return np.clip(samples, -1, 1).astype(np.float32)


def kaldi_rows(samples: Sequence[float], rate: int, window: str, bins: int) -> Array:
    """Kaldi's filter bank as its C++ port computes it."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = window
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = bins
    options.mel_opts.low_freq = 20.0
    options.use_energy = False
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(rate, list(samples))
    bank.input_finished()
    return np.array([bank.get_frame(i) for i in range(bank.num_frames_ready)])


@pytest.mark.parametrize(
    ("rate", "window", "gain", "bins"),
    [(16_000, "hanning", 1.0, 64), (16_000, "povey", 2.0**15, 64), (32_000, "hanning", 1.0, 128)],
)
def test_kaldi_bands_equal_kaldis(rate: int, window: str, gain: float, bins: int) -> None:
    """Kaldi refuses 128 bands at 16 kHz, where some are empty; those are compared with transformers' extractor."""
    samples = clip(0.7, rate)
    ours = KaldiFrontEnd(bins=bins, sample_rate=rate, window=window, gain=gain, subtract_mean=False)(samples)
    theirs = kaldi_rows(samples * gain, rate, window, bins)
    assert ours.shape == theirs.shape
    # Kaldi works in float32, its triangles too: narrow bands, and cells 60 dB under their frame, lose digits.
    heard = theirs > theirs.max(axis=1, keepdims=True) - np.log(1e6)
    assert np.abs(ours - theirs)[heard].max() < 1e-3 and np.abs(ours - theirs).mean() < 1e-4


def test_another_window_is_seen() -> None:
    samples = clip(0.7, 16_000)
    ours = KaldiFrontEnd(bins=64, window="povey", subtract_mean=False)(samples)
    assert np.abs(ours - kaldi_rows(samples, 16_000, "hanning", 64)).max() > 0.1


def test_kaldi_bands_equal_the_ast_extractors() -> None:
    samples = clip(0.7, 16_000)
    extractor = ASTFeatureExtractor()
    theirs = extractor(samples, sampling_rate=16_000, return_tensors="np").input_values[0]
    front_end = KaldiFrontEnd(subtract_mean=False, mean=extractor.mean, divisor=2 * extractor.std)
    ours = front_end(samples)
    assert np.abs(ours - theirs[: len(ours)]).max() < 1e-4
    assert np.allclose(theirs[len(ours) :], front_end.padding_value)


@pytest.mark.slow  # librosa takes seconds to load
@pytest.mark.parametrize(
    "front_end",
    [
        HtsatFrontEnd(),
        HtsatFrontEnd(sample_rate=32_000, hop_samples=320),
        HtsatFrontEnd(sample_rate=44_100, hop_samples=320, high_hz=8000.0),
        HtsatFrontEnd(sample_rate=16_000, window_samples=512, hop_samples=160, high_hz=8000.0),
        HtsatFrontEnd(mel_scale="htk"),
    ],
)
def test_htsat_decibels_equal_librosas(front_end: HtsatFrontEnd) -> None:
    samples = clip(0.5, front_end.sample_rate)
    slaney = front_end.mel_scale == "slaney"
    power = librosa.feature.melspectrogram(
        y=samples.astype(np.float64),
        sr=front_end.sample_rate,
        n_fft=front_end.window_samples,
        hop_length=front_end.hop_samples,
        n_mels=front_end.bins,
        fmin=front_end.low_hz,
        fmax=front_end.high_hz,
        pad_mode="reflect",
        htk=not slaney,
        norm="slaney" if slaney else None,
    )
    theirs = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).T
    ours = front_end(samples)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_htsat_decibels_equal_the_clap_extractors(truncation: str) -> None:
    samples = clip(1.0, 48_000)
    extractor = ClapFeatureExtractor(truncation=truncation, padding="pad", frequency_min=50)
    theirs = extractor(samples, sampling_rate=48_000, return_tensors="np").input_features[0, 0]
    scale = "slaney" if truncation == "rand_trunc" else "htk"
    ours = HtsatFrontEnd(mel_scale=scale)(samples)
    assert np.abs(ours[:-2] - theirs[: len(ours) - 2]).max() < 1e-3  # the last two see what follows the clip


@pytest.mark.slow
def test_mel_db_equals_librosas_with_a_floor_under_the_loudest() -> None:
    samples = clip(0.5, 16_000)
    samples[4000:6000] = 0.0
    power = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16_000, n_fft=512, hop_length=160, n_mels=64, fmax=8000.0, pad_mode="reflect",
        htk=True, norm=None,
    )  # fmt: skip
    theirs = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=120.0).T
    ours = MelDbFrontEnd()(samples)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 1e-3
    assert np.isclose(ours.max() - MelDbFrontEnd(range_db=30.0)(samples).min(), 30.0)


def test_passt_equals_its_recipe_written_out_in_torch() -> None:
    samples = clip(0.5, 32_000)
    kernel = torch.tensor([[[-0.97, 1.0]]], dtype=torch.float64)
    emphasised = torch.nn.functional.conv1d(torch.from_numpy(samples).double()[None, None], kernel)[0]
    window = torch.hann_window(800, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(emphasised, 1024, 320, 800, window, center=True, return_complex=True)[0]
    mel = lambda hz: 1127.0 * np.log1p(hz / 700.0)  # noqa: E731
    edges = np.linspace(mel(0.0), mel(15_000.0), 130)
    places = mel(np.arange(513) * 32_000 / 1024)[:, None]
    rising, falling = (places - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - places) / np.diff(edges)[1:]
    triangles = torch.from_numpy(np.maximum(0.0, np.minimum(rising, falling)))
    theirs = (torch.log(spectrum.abs().pow(2).T @ triangles + 1e-5) + 4.5) / 5.0
    ours = PasstFrontEnd()(samples)
    assert ours.shape == tuple(theirs.shape) and np.abs(ours - theirs.numpy()).max() < 1e-4


def test_raw_samples_equal_wav2vec2s_extractor() -> None:
    samples = clip(0.3, 16_000)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True)(samples, sampling_rate=16_000, return_tensors="np")
    assert np.abs(RawFrontEnd(normalise=True)(samples)[:, 0] - theirs.input_values[0]).max() < 1e-5
    assert np.array_equal(RawFrontEnd()(samples)[:, 0], samples)


def test_sixteen_bits_round_towards_zero() -> None:
    samples = clip(0.2, 48_000)
    coarse = (np.clip(samples, -1, 1) * 32_767).astype(np.int16) / 32_767
    assert np.allclose(HtsatFrontEnd(sixteen_bits=True)(samples), HtsatFrontEnd()(coarse.astype(np.float32)), atol=1e-3)
    assert not np.allclose(HtsatFrontEnd(sixteen_bits=True)(samples), HtsatFrontEnd()(samples), atol=1e-3)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_front_ends_take_any_length_and_tell_their_frames(name: str) -> None:
    front_end = encoders.front_end_from_dict({"name": name})
    hop = front_end.hop_samples
    for count in (1, 2, hop - 1, hop, hop + 1, 3 * hop, 3 * hop + 400, 9000):
        spectrogram = front_end(clip(max(count, 1) / front_end.sample_rate, front_end.sample_rate))
        assert spectrogram.shape == (front_end.num_frames(max(count, 1)), front_end.bins)
        assert np.isfinite(spectrogram).all() and spectrogram.dtype == np.float32


@pytest.mark.parametrize("name", sorted(TYPES))
def test_front_ends_describe_themselves_and_refuse(name: str) -> None:
    front_end = encoders.front_end_from_dict({"name": name})
    assert encoders.front_end_from_dict(front_end.to_dict()) == front_end and front_end.name == name
    with pytest.raises(AudioError, match="limit"):
        front_end(np.zeros(round(front_end.max_seconds * front_end.sample_rate) + 1, np.float32))
    with pytest.raises(ConfigError, match="no field"):
        encoders.front_end_from_dict({"name": name, "colour": 1})


def test_long_clips_are_cut_into_groups_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = clip(2.0, 16_000)
    whole = KaldiFrontEnd()(samples)
    monkeypatch.setattr("alm.encoders.front_ends.spectra._FRAMES_AT_ONCE", 7)
    assert np.array_equal(whole, KaldiFrontEnd()(samples))


@pytest.mark.parametrize("wrong", [{"window": "square"}, {"divisor": 0.0}])
def test_kaldi_refuses_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="kaldi front end"):
        encoders.front_end_from_dict({"name": "kaldi", **wrong})


@pytest.mark.parametrize("wrong", [{"mel_scale": "bark"}, {"high_hz": 30_000.0}])
def test_htsat_refuses_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="htsat front end"):
        encoders.front_end_from_dict({"name": "htsat", **wrong})
