"""What every encoder family is held to: company and padding do not matter, clicks land in time, numbers are right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alm import encoders
from alm.encoders.base import load_exactly
from alm.encoders.family import Checkpoint
from tools.golden.seeded import read, seeded, seeded_input

GOLDEN = Path(__file__).parent / "golden" / "encoders"
FRAMES = (1, 7, 8, 33, 80)
SAMPLES = (400, 1000, 1700, 4000)
"""The same for encoders that take the samples themselves."""


def randomised(encoder: encoders.AudioEncoder) -> encoders.AudioEncoder:
    """float64, and batch norms that move zero."""
    generator = torch.Generator().manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(generator=generator)
    return encoder.double().eval()


def seeded_encoder(family: str, config: Mapping[str, Any]) -> encoders.AudioEncoder:
    """An encoder whose weights keep signals at their level, in float64; buffers that are no statistics stay."""
    encoder = encoders.build(family, config)
    named = {name for name, _ in encoder.named_parameters()}
    for name, tensor in encoder.state_dict().items():
        if name in named or name.endswith(("running_mean", "running_var")):
            tensor.copy_(seeded(name, tensor.shape))
    return encoder.double().eval()


def batched(clips: Sequence[Tensor], filler: float) -> tuple[Tensor, Tensor]:
    """Clips `[frames, bins]` in one batch, padded with `filler`."""
    longest = max(len(clip) for clip in clips)
    batch = torch.full((len(clips), longest + 5, clips[0].shape[1]), filler, dtype=torch.float64)
    mask = torch.zeros(batch.shape[:2], dtype=torch.bool)
    for row, clip in enumerate(clips):
        batch[row, : len(clip)], mask[row, : len(clip)] = clip, True
    return batch, mask


def worst_difference(encoder: encoders.AudioEncoder, frames: Sequence[int] = ()) -> float:
    """Largest difference between clips heard alone and in a padded batch, at real places, over all layers."""
    generator, layers = torch.Generator().manual_seed(1), list(range(encoder.num_layers + 1))
    lengths = frames or (SAMPLES if encoder.front_end.hop_samples == 1 else FRAMES)
    clips = [torch.randn(n, encoder.front_end.bins, generator=generator, dtype=torch.float64) for n in lengths]
    worst = 0.0
    with torch.no_grad():
        together = encoder(*batched(clips, filler=3.0), layers)
        for row, clip in enumerate(clips):
            alone = encoder(clip[None], torch.ones(1, len(clip), dtype=torch.bool), layers)
            time = alone.features.shape[2]
            assert together.mask[row].sum() == time and bool(alone.mask.all())
            assert not together.features[row, :, time:].any()
            worst = max(worst, float((together.features[row, :, :time] - alone.features[0]).abs().max()))
    return worst


def check_alone_equals_batch(encoder: encoders.AudioEncoder, frames: Sequence[int] = ()) -> None:
    """Batch item equals single item, and padding never leaks; `encoder` is in float64 (`seeded_encoder`).

    The control of a family breaks its masks and sees `worst_difference` grow.
    """
    assert next(encoder.parameters()).dtype == torch.float64
    assert worst_difference(encoder, frames) < 1e-9


def click_error(encoder: encoders.AudioEncoder, click_seconds: float, clip_seconds: float, layer: int = 0) -> float:
    """How many features lie between a click and the feature that it changes most; 0 when it is that one.

    Layer 0 knows no attention, so what a click changes there is where it is.
    """
    rate = encoder.sample_rate
    quiet = (np.random.default_rng(0).standard_normal(round(clip_seconds * rate)) * 1e-3).astype(np.float32)
    loud = quiet.copy()
    loud[round(click_seconds * rate)] += 0.5
    heard = []
    with torch.no_grad():
        for samples in (quiet, loud):
            picture = torch.from_numpy(encoder.front_end(samples))[None].double()
            heard.append(encoder(picture, torch.ones(picture.shape[:2], dtype=torch.bool), [layer]).features[0, 0])
    changed = (heard[1] - heard[0]).norm(dim=-1)
    start, end = encoder.times(len(changed))[int(changed.argmax())].tolist()
    return max(0.0, start - click_seconds, click_seconds - end) / (end - start)


def check_click(
    encoder: encoders.AudioEncoder, clip_seconds: float = 1.5, at: Sequence[float] = (0.31, 0.77, 1.23), layer: int = 0
) -> None:
    """A click at a known time changes the feature of that time most, to one feature."""
    errors = {click: click_error(encoder, click, clip_seconds, layer) for click in at}
    assert max(errors.values()) <= 1.0, errors


def golden_difference(family: str, path: Path) -> float:
    """Largest difference from the numbers that the original gave on the same weights and input."""
    golden, state, outputs = read(path)
    assert golden.family == family and outputs
    found = encoders.family(family).read(Checkpoint(str(path), state, golden.settings))
    encoder = encoders.build(family, {**found.config, **golden.config}).eval()
    load_exactly(encoder, found.tensors, str(path))
    picture = seeded_input(golden)
    with torch.no_grad():
        heard = encoder(picture, torch.ones(picture.shape[:2], dtype=torch.bool), sorted(outputs)).features
    wanted = torch.stack([outputs[layer] for layer in sorted(outputs)], dim=1)
    assert heard.shape == wanted.shape, f"{tuple(heard.shape)} against {tuple(wanted.shape)}"
    return float((heard - wanted).abs().max())


def check_golden(family: str, path: Path | None = None) -> None:
    """Equal to the original within 1e-4 in float32, from the official names on."""
    assert golden_difference(family, path or GOLDEN / f"{family}.safetensors") < 1e-4


def check_container(
    source: Path, family: str, folder: Path, size: str = "", expected: Mapping[str, Any] | None = None
) -> encoders.AudioEncoder:
    """A checkpoint in the official container opens with every tensor accounted for, and survives conversion.

    `expected`: fields of the configuration that must have been read out of it. `folder` is an empty place to write.
    """
    encoder = encoders.open_encoder(source, family, size)
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    encoders.convert(source, folder, family, size)
    config = json.loads((folder / "config.json").read_text("utf-8"))["config"]
    assert not expected or {k: config.get(k) for k in expected} == dict(expected)
    again = encoders.open_encoder(folder)
    assert again.front_end == encoder.front_end and type(again) is type(encoder)
    states = encoder.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return encoder
