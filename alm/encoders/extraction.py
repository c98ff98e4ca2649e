"""Features of a whole recording with their times, window by window, kept as a file and drawn as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from alm.audio import Waveform, windows
from alm.encoders.base import AudioEncoder, EncoderOutput

_DRAWN_STEPS = 2000


@dataclass(frozen=True)
class Heard:
    """What an encoder gave for a recording."""

    layers: tuple[int, ...]
    features: Tensor
    """[layers, time, dim]"""
    times: Tensor
    """Start and end of each feature in seconds of the recording, [time, 2], float64."""

    def save(self, path: Path, encoder: str, recording: Waveform) -> None:
        """Safetensors: `layer.N` [time, dim] and `times` [time, 2]; the header names encoder and recording."""
        tensors = {f"layer.{layer}": self.features[i].contiguous() for i, layer in enumerate(self.layers)}
        about = {"encoder": encoder, "sha256": recording.sha256, "seconds": recording.seconds}
        save_file({**tensors, "times": self.times}, path, metadata={"alm": json.dumps(about)})


@torch.no_grad()
def extract(encoder: AudioEncoder, recording: Waveform, layers: Sequence[int], window_seconds: float = 10.0) -> Heard:
    """Features of a recording of any length.

    It is cut into windows (at most the encoder's longest clip) that follow each other without overlap, and each is
    heard by itself: near a cut, features lack what lies beyond it. A rest shorter than 50 ms joins the window before
    it where that fits, and is left out where it does not.
    """
    limit = min(window_seconds, encoder.front_end.max_seconds)
    numbers = [layer % (encoder.num_layers + 1) for layer in layers]
    features, times = [], []
    for start, end in windows(recording.seconds, limit):
        if start > 0 and end - start < 0.05:
            break
        heard = _window(encoder, recording.segment(start, end), layers)
        features.append(heard)
        times.append(start + encoder.times(heard.shape[1]).clamp(max=end - start))
    return Heard(tuple(numbers), torch.cat(features, 1), torch.cat(times))


def _window(encoder: AudioEncoder, part: Waveform, layers: Sequence[int]) -> Tensor:
    """`[layers, time, dim]` of one window, in float32."""
    limit = round(encoder.front_end.max_seconds * encoder.sample_rate)
    picture = torch.from_numpy(encoder.front_end(part.resampled(encoder.sample_rate)[:limit]))[None]
    output: EncoderOutput = encoder(picture, torch.ones(picture.shape[:2], dtype=torch.bool), layers)
    return output.features[0, :, output.mask[0]].float()


def draw(heard: Heard, path: Path, title: str) -> None:
    """One strip a layer over time: three principal components as colours, so that alike features have alike colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1 + 0.9 * len(heard.layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heard.layers), 1, sharex=True, squeeze=False)[:, 0]
    extent = (float(heard.times[0, 0]), float(heard.times[-1, 1]), 0.0, 1.0)
    for axis, layer, features in zip(axes, heard.layers, heard.features, strict=True):
        axis.imshow(colours(features.numpy())[None], aspect="auto", extent=extent, interpolation="nearest")
        axis.set_yticks([])
        axis.set_ylabel(f"layer {layer}", rotation=0, ha="right", va="center")
    axes[-1].set_xlabel("seconds")
    figure.suptitle(title.replace("$", r"\$"))
    figure.savefig(path, format="png", dpi=120)


def colours(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """`[time, dim]` to colours `[steps, 3]` from 0 to 1, at most `_DRAWN_STEPS` of them (means of neighbours)."""
    groups = np.array_split(features.astype(np.float64), min(len(features), _DRAWN_STEPS))
    means = np.stack([group.mean(0) for group in groups])
    level = means - means.mean(0)
    _, _, directions = np.linalg.svd(level, full_matrices=False)
    found = np.zeros((len(level), 3))
    found[:, : min(3, len(directions))] = level @ directions[:3].T
    spread = np.abs(found).max(0, keepdims=True)
    scaled: NDArray[np.float64] = 0.5 + 0.5 * found / np.maximum(spread, 1e-12)
    return scaled
