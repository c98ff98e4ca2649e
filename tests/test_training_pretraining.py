"""Pre-training of a small encoder: masks, codes, losses that know their answer, and a run that learns."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from alm.encoders import open_encoder, save
from alm.encoders.families.patch_transformer import (
    BANDS,
    BINS,
    PIXELS,
    PatchTransformer,
    PatchTransformerConfig,
)
from alm.errors import ConfigError, WeightsError
from training.curves import read_log
from training.objective import rng_for
from training.pretraining.masking import clustered_mask, random_mask
from training.pretraining.objectives import HIDDEN_SHARE, MaskedPatches, MaskedTokens
from training.pretraining.page import curves, learnt
from training.pretraining.probing import hear
from training.pretraining.recordings import Spectrograms, padded, read_spectrograms
from training.pretraining.running import Plan, objective, train
from training.pretraining.tokenizers import ClusterCodes, RandomCodes

SMALL = PatchTransformerConfig(dim=16, num_layers=2, num_heads=2, ffn_dim=32)


def encoder(seed: int = 0) -> PatchTransformer:
    torch.manual_seed(seed)
    return PatchTransformer(SMALL).eval()


def recordings(count: int = 12, seed: int = 0) -> Spectrograms:
    """Bands of steady loudness: what is hidden can be told from what is shown."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        shape = np.repeat(rng.standard_normal((1, BINS)), int(rng.integers(64, 200)), axis=0)
        made.append((shape + 0.1 * rng.standard_normal(shape.shape)).astype(np.float16))
    return Spectrograms(made, 0)


def patches() -> tuple[torch.Tensor, torch.Tensor]:
    own = encoder()
    return own.patches(*recordings().batch(5, 160, rng_for(0)))


def test_patches_are_cut_time_first_and_hold_their_pixels() -> None:
    spectrogram = torch.arange(40.0)[None, :, None] * 1000 + torch.arange(float(BINS))
    cut, real = encoder().patches(spectrogram, torch.ones(1, 40, dtype=torch.bool))
    assert cut.shape == (1, 3 * BANDS, PIXELS) and bool(real.all())
    second_step_third_band = cut[0, BANDS + 2].view(16, 16)
    assert torch.equal(second_step_third_band, spectrogram[0, 16:32, 32:48])
    assert float(cut[0, 2 * BANDS].view(16, 16)[8:].abs().max()) == 0.0


def test_padding_never_leaks() -> None:
    own, data = encoder(), recordings()
    together = own(*padded(data.items[:4]), (0, 1, -1))
    for row in range(4):
        alone = own(*padded(data.items[row : row + 1]), (0, 1, -1))
        size = alone.features.shape[2]
        torch.testing.assert_close(together.features[row, :, :size], alone.features[0], atol=1e-5, rtol=1e-4)
        assert not bool(together.features[row, :, size:].any())


def test_a_click_is_heard_at_its_time() -> None:
    own, quiet = encoder(), np.zeros((160, BINS), np.float32)
    loud = quiet.copy()
    loud[80:84] = 5.0
    heard = [own(*padded([x]), (0,)).features[0, 0] for x in (quiet, loud)]
    assert int((heard[1] - heard[0]).norm(dim=-1).argmax()) == 80 // 16


@pytest.mark.parametrize("mask", [random_mask, clustered_mask])
def test_masks_hide_their_share_of_what_is_real(mask: object) -> None:
    real = torch.arange(100)[None] < torch.tensor([100, 40, 5])[:, None]
    hidden = mask(real, HIDDEN_SHARE, rng_for(1))  # type: ignore[operator]
    assert not bool((hidden & ~real).any())
    assert hidden.sum(1).tolist() == [78, 31, 4]
    assert torch.equal(hidden, mask(real, HIDDEN_SHARE, rng_for(1)))  # type: ignore[operator]


def test_squares_hide_neighbours_together() -> None:
    real = torch.ones(40, 200, dtype=torch.bool)

    def alike(hidden: torch.Tensor) -> float:
        grid = hidden.unflatten(1, (-1, BANDS))
        return float((grid[:, 1:] == grid[:, :-1]).float().mean())

    assert alike(clustered_mask(real, 0.5, rng_for(0))) > alike(random_mask(real, 0.5, rng_for(0))) + 0.1


def test_random_codes_are_fixed_and_do_not_hear_loudness() -> None:
    own, real = patches()
    codes = RandomCodes(32, 1)(own, real)
    assert torch.equal(codes, RandomCodes(32, 1)(3.0 * own + 1.0, real))
    assert not torch.equal(codes, RandomCodes(32, 2)(own, real))
    assert len(codes.unique()) > 4


def test_cluster_codes_are_the_nearest_centre() -> None:
    own, real = patches()
    codes = ClusterCodes.of(encoder(), [(own, real)], 8, 0)
    found = codes(own, real)
    assert int(found.max()) < 8 and len(found[real].unique()) > 3
    features = torch.nn.functional.normalize(codes.encoder.run(codes.encoder.embed(own), real), dim=-1)
    apart = (features[0, 0] - codes.centres).norm(dim=-1)
    assert int(apart.argmin()) == int(found[0, 0])


def test_a_head_that_knows_the_patch_tells_and_paints_it() -> None:
    """With the true patches for what the heads say, the painted error is zero and the told one near zero."""
    own, real = patches()
    own = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))  # steady bands have look-alikes
    loss = MaskedPatches(encoder())
    loss.tell, loss.paint = torch.nn.Identity(), torch.nn.Identity()
    loss._seen = lambda given, there, hidden: given  # type: ignore[method-assign]
    _, parts = loss(own, real, rng_for(0))
    assert parts["painted"] == 0.0 and parts["right"] > 0.95 and parts["told"] < 0.2
    loss._seen = lambda given, there, hidden: given.roll(5, 1)  # type: ignore[method-assign]
    _, wrong = loss(own, real, rng_for(0))
    assert wrong["painted"] > 0.1 and wrong["right"] < 0.5


def test_hidden_patches_are_not_seen() -> None:
    """What is hidden may change without a trace in what is read from the shown ones."""
    own, real = patches()
    loss = MaskedPatches(encoder())
    hidden = clustered_mask(real, HIDDEN_SHARE, rng_for(0))
    changed = torch.where(hidden[..., None], torch.randn_like(own), own)
    torch.testing.assert_close(loss._seen(own, real, hidden), loss._seen(changed, real, hidden))
    shown = torch.where((real & ~hidden)[..., None], torch.randn_like(own), own)
    assert not torch.allclose(loss._seen(own, real, hidden), loss._seen(shown, real, hidden))


def test_fresh_predictions_of_codes_are_chance() -> None:
    own, real = patches()
    value, parts = MaskedTokens(encoder(), RandomCodes(32, 1))(own, real, rng_for(0))
    assert float(value.detach()) == pytest.approx(math.log(32), abs=1.0) and parts["right"] < 0.4


@pytest.mark.parametrize("name", ["masked-patches", "masked-tokens"])
def test_a_gradient_reaches_all_that_learns(name: str) -> None:
    data = recordings()
    loss = objective(name, SMALL, data, Plan(codes=16), None)
    value, _ = loss(*loss.encoder.patches(*data.batch(4, 128, rng_for(0))), rng_for(1))
    value.backward()  # type: ignore[no-untyped-call]
    assert isinstance(loss, torch.nn.Module)
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in loss.parameters())


def test_a_second_round_needs_a_first() -> None:
    with pytest.raises(ConfigError, match="masked-tokens-2 needs"):
        objective("masked-tokens-2", SMALL, recordings(), Plan(), None)
    with pytest.raises(ConfigError, match="no objective"):
        objective("guess", SMALL, recordings(), Plan(), None)


def test_an_encoder_is_kept_whole(tmp_path: Path) -> None:
    own = encoder().requires_grad_(False)  # as it is loaded: torch takes another path with gradients
    save(own, asdict(own.config), tmp_path / "kept", {"steps": 1})
    again = open_encoder(tmp_path / "kept")
    batch = padded(recordings().items[:2])
    assert torch.equal(own(*batch, (-1,)).features, again(*batch, (-1,)).features)
    other = {"family": "patch_transformer", "config": {"dim": 32, "num_layers": 2, "num_heads": 2}}
    (tmp_path / "kept" / "config.json").write_text(json.dumps(other))
    with pytest.raises(WeightsError, match="does not fit"):
        open_encoder(tmp_path / "kept")


def test_short_and_broken_recordings_are_counted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "long.wav", noise, 16000)
    soundfile.write(tmp_path / "short.wav", noise[:3000], 16000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF of nothing")
    names = ["long.wav", "short.wav", "broken.wav"]
    found = read_spectrograms([tmp_path / n for n in names], encoder().front_end, 6.0)
    assert len(found.items) == 1 and found.refused == 2
    with pytest.raises(ConfigError, match="none of 1"):
        read_spectrograms([tmp_path / "short.wav"], encoder().front_end, 6.0)


def test_pieces_of_an_encoder_are_those_of_its_features() -> None:
    ear = hear(encoder(), recordings().items, (1, -1))
    assert ear.mean.shape[2:] == (2, BANDS * SMALL.dim) and len(ear.frames) == 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["masked-patches", "masked-tokens", "masked-tokens-2"])
def test_a_run_learns_and_is_the_same_twice(name: str, tmp_path: Path) -> None:
    data, plan = recordings(40), Plan(steps=60, batch_size=8, frames=96, lr=3e-3, warmup_steps=5, codes=16)
    logs = []
    for number in range(2):
        log = tmp_path / f"{number}.jsonl"
        loss = objective(name, SMALL, data, plan, encoder())
        train(name, loss, data, recordings(20, 1), plan, log, lambda text: None)
        logs.append(read_log(log))
    assert logs[0] == logs[1]
    checks = [r["held_out"] for r in logs[0] if "held_out" in r]
    assert checks[-1] < checks[0]
    curves(tmp_path / "0.jsonl", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000 and name in learnt(tmp_path / "0.jsonl")
