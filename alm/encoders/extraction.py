"""Features of a whole recording with their times, window by window, kept as a file and drawn as a picture.

Neither the recording nor its features need fit into memory: the first is read as it is listened to, the second lie in
a temporary file.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alm.audio import Waveform, windows
from alm.encoders.base import AudioEncoder, EncoderOutput
from alm.encoders.writing import write_tensors
from alm.errors import ConfigError
from alm.long_audio import Sound

_DRAWN_STEPS = 2000
_CRUMB_SECONDS = 0.05


@dataclass(frozen=True)
class Heard:
    """What an encoder gave for a recording."""

    layers: tuple[int, ...]
    features: Tensor
    """[layers, time, dim], float32; it lies on the disk."""
    times: Tensor
    """Start and end of each feature in seconds of the recording, [time, 2], float64."""
    window_seconds: float
    """Of the longest windows: what was asked for, or what the encoder hears at once."""

    def save(self, path: Path, encoder: str, recording: Sound) -> None:
        """Safetensors: `layer.N` [time, dim] and `times` [time, 2]; the header names encoder and recording."""
        tensors = {f"layer.{layer}": self.features[i] for i, layer in enumerate(self.layers)}
        about = {"encoder": encoder, "sha256": recording.sha256, "seconds": recording.seconds}
        write_tensors(path, {**tensors, "times": self.times}, {"alm": json.dumps(about)})


def extract(
    encoder: AudioEncoder,
    recording: Sound,
    layers: Sequence[int],
    window_seconds: float = 10.0,
    overlap_seconds: float = 0.0,
    folder: Path | None = None,
) -> Heard:
    """Features of a recording of any length.

    It is cut into windows, at most as long as the encoder hears at once, and each is heard by itself: near a cut,
    features lack what lies beyond it. Where windows overlap, a feature is taken from the window whose end is further
    from it. Of a rest below 50 ms after the last window there are no features.

    Args:
        overlap_seconds: what neighbouring windows share.
        folder: where the features lie while they are heard, as large as they are; None is where temporary files go.

    Raises:
        ConfigError: the windows are not longer than their overlap, or too short for a feature.
    """
    longest = min(window_seconds, encoder.front_end.max_seconds)
    spans = windows(recording.seconds, longest, overlap_seconds)
    if len(spans) > 1 and spans[-1][1] - spans[-1][0] < _CRUMB_SECONDS:
        spans.pop()
    numbers = tuple(layer % (encoder.num_layers + 1) for layer in layers)
    times = array("d")  # one piece: small ones between large ones would leave holes in the memory
    with tempfile.TemporaryFile(dir=folder) as kept:
        for features, when in _heard(encoder, recording, layers, spans):
            kept.write(features.contiguous().numpy().data)
            times.extend(when.flatten().tolist())
        kept.flush()
        if not (count := len(times) // 2):
            raise ConfigError(
                f"windows of {longest:g} s with {overlap_seconds:g} s overlap are too short for the features of "
                f"{encoder.name}, of which one has {1 / encoder.frames_per_second:.3g} s; make them longer"
            )
        mapped = np.memmap(kept, np.float32, "r+", shape=(count, len(numbers), encoder.dim))
    return Heard(
        numbers, torch.from_numpy(mapped).transpose(0, 1), torch.tensor(times, dtype=torch.float64).view(-1, 2), longest
    )


@torch.no_grad()
def _heard(
    encoder: AudioEncoder, recording: Sound, layers: Sequence[int], spans: Sequence[tuple[float, float]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Features `[time, layers, dim]` of each window that are not the next one's or the last one's, and their times."""
    edges = [(after[0] + before[1]) / 2 for before, after in pairwise(spans)]
    bounds = zip([0.0, *edges], [*edges, inf], strict=True)
    with closing(iter(recording.segments(spans))) as parts:  # type: ignore[type-var]
        for (start, end), (first, last), part in zip(spans, bounds, parts, strict=True):
            heard = _window(encoder, part, layers).transpose(0, 1)
            times = start + encoder.times(len(heard)).clamp(max=end - start)
            middle = times.mean(1)
            own = (middle >= first) & (middle < last)
            yield heard[own], times[own]


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
    groups = np.array_split(features, min(len(features), _DRAWN_STEPS))
    means = np.stack([group.mean(0, dtype=np.float64) for group in groups])
    level = means - means.mean(0)
    _, _, directions = np.linalg.svd(level, full_matrices=False)
    found = np.zeros((len(level), 3))
    found[:, : min(3, len(directions))] = level @ directions[:3].T
    spread = np.abs(found).max(0, keepdims=True)
    scaled: NDArray[np.float64] = 0.5 + 0.5 * found / np.maximum(spread, 1e-12)
    return scaled
