"""PANNs against the authors' networks; clips in company, clicks, wrong files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alm import encoders
from alm.encoders.blocks.cnn import ConvBlock
from alm.encoders.families import panns
from alm.encoders.family import Checkpoint
from alm.encoders.front_ends.spectra import mel_filters
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

SMALL = {"num_blocks": 6, "first_channels": 2, "mel_bins": 32}
SMALL_5X5 = {"num_blocks": 4, "first_channels": 4, "mel_bins": 16, "kernel_size": 5}
WAVES = {"first_channels": 8, "mel_bins": 8, "num_blocks": 3}
ODD_FRAMES = (1, 7, 9, 33, 81)


@pytest.mark.parametrize("name", ["panns_cnn6", "panns_cnn10", "panns_cnn14", "panns_wavegram", "panns_both"])
def test_equals_the_authors_networks(name: str) -> None:
    check_golden("panns", GOLDEN / f"{name}.safetensors")


@pytest.mark.parametrize("config", [SMALL, SMALL_5X5])
def test_alone_equals_batch_and_clicks_land(config: dict[str, Any]) -> None:
    encoder = seeded_encoder("panns", config)
    check_alone_equals_batch(encoder)
    check_click(encoder)


@pytest.mark.parametrize("inputs", ["wavegram", "both"])
def test_wavegrams_alone_equal_batch_and_clicks_land(inputs: str) -> None:
    encoder = seeded_encoder("panns", {**WAVES, "inputs": inputs})
    check_alone_equals_batch(encoder, ODD_FRAMES)
    check_click(encoder)


def test_without_zeroing_after_convolutions_padding_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = ConvBlock.forward

    def unmasked(block: ConvBlock, x: Tensor, real: Tensor, pool: tuple[int, int] = (1, 1)) -> tuple[Tensor, Tensor]:
        return forward(block, x, torch.ones_like(real), pool)[0], forward(block, x, real, pool)[1]

    monkeypatch.setattr(ConvBlock, "forward", unmasked)
    assert worst_difference(seeded_encoder("panns", SMALL)) > 1e-3


def official(config: dict[str, Any]) -> dict[str, Tensor]:
    """What a published file of such a network holds."""
    encoder = panns.build(config)
    window = encoder.config.window_samples
    filters = mel_filters(
        encoder.config.sample_rate_hz, window, encoder.config.mel_bins, 50.0, encoder.config.high_hz, "slaney"
    )
    return {
        **encoder.state_dict(),
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(window // 2 + 1, 1, window),
        "spectrogram_extractor.stft.conv_imag.weight": torch.zeros(window // 2 + 1, 1, window),
        "logmel_extractor.melW": torch.from_numpy(filters.astype(np.float32)),
        "fc1.weight": torch.zeros(8, encoder.dim),
        "fc1.bias": torch.zeros(8),
        "fc_audioset.weight": torch.zeros(5, 8),
        "fc_audioset.bias": torch.zeros(5),
    }


@pytest.mark.parametrize("size", ["cnn14", "cnn14-16k", "cnn14-8k"])
def test_a_published_file_opens_with_the_front_end_that_its_window_says(tmp_path: Path, size: str) -> None:
    config = {**panns.FAMILY.sizes[size], **SMALL}
    torch.save({"iteration": 5, "model": official(config)}, tmp_path / "Cnn14.pth")
    encoder = check_container(tmp_path / "Cnn14.pth", "panns", tmp_path / "converted", expected=config)
    assert encoder.front_end == encoders.front_end("panns", config)


def test_other_networks_and_other_mel_bands_are_refused() -> None:
    tensors = official(SMALL)
    resnet = {"resnet.conv1.weight": torch.zeros(1), "bn0.weight": torch.zeros(64)}
    with pytest.raises(WeightsError, match="ResNet"):
        panns.read(Checkpoint("ResNet38.pth", resnet, {}))
    tensors["logmel_extractor.melW"] = tensors["logmel_extractor.melW"].roll(1, 0)
    with pytest.raises(WeightsError, match="mel bands"):
        panns.read(Checkpoint("Cnn14.pth", tensors, {}))


def test_impossible_networks_are_refused() -> None:
    for wrong, word in (
        ({"inputs": "mel"}, "logmel"),
        ({"kernel_size": 4}, "3 or 5"),
        ({"mel_bins": 16}, "halvings"),
        ({"inputs": "both", "mel_bins": 32}, "wavegram"),
        ({"num_blocks": 0}, "num_blocks"),
    ):
        with pytest.raises(ConfigError, match=word):
            encoders.build("panns", wrong)


def test_a_wavegram_row_holds_the_mel_frame_and_the_samples_from_its_centre_on() -> None:
    front_end = encoders.front_end("panns", {"inputs": "both"})
    samples = np.random.default_rng(0).standard_normal(3 * 320 + 7).astype(np.float32) * 0.1
    rows = front_end(samples)
    assert rows.shape == (front_end.num_frames(samples.size), 384) == (5, 384)
    assert np.array_equal(rows[:4, 64:].ravel()[: samples.size], samples) and not rows[4, 64:].any()
    mel = encoders.front_end("panns")(np.pad(samples, (0, 1280 - samples.size)))
    assert np.array_equal(rows[:, :64], mel)


def test_training_mode_keeps_the_trained_batch_norm_statistics() -> None:
    encoder = encoders.build("panns", SMALL).train()
    before = {k: t.clone() for k, t in encoder.state_dict().items()}
    encoder(torch.randn(1, 64, 32), torch.ones(1, 64, dtype=torch.bool), [-1])
    assert all(torch.equal(before[k], t) for k, t in encoder.state_dict().items())
