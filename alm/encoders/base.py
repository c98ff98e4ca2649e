"""The small interface that every audio encoder family fills: a front end without weights and a module with them.

Shapes: `[batch, frames, bins]` spectrograms, `[batch, layers, time, dim]` features; a mask is True where there is
sound and False where a shorter clip was padded to the longest of its batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alm.errors import AudioError, ConfigError, WeightsError

T = TypeVar("T")


@dataclass(frozen=True)
class FrontEnd(ABC):
    """Samples to the spectrogram that one encoder family was trained on; needs no weights and no torch."""

    name: ClassVar[str]

    bins: int

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Samples a second that it takes."""

    @property
    @abstractmethod
    def max_seconds(self) -> float:
        """Longest clip that the family hears at once; cut longer recordings with `alm.audio.windows`."""

    @property
    @abstractmethod
    def hop_samples(self) -> int:
        """Samples from one spectrogram frame to the next."""

    @property
    def frame_seconds(self) -> float:
        """Seconds from one spectrogram frame to the next."""
        return self.hop_samples / self.sample_rate

    @abstractmethod
    def num_frames(self, num_samples: int) -> int:
        """Frames that a clip of this many samples gives; at least one."""

    @abstractmethod
    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[samples]` to `[frames, bins]`; the input has been checked."""

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Spectrogram `[frames, bins]` of one mono clip `[samples]` at `sample_rate`.

        Raises:
            AudioError: not one-dimensional, empty, not finite, or longer than `max_seconds`.
        """
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 1 or samples.size == 0:
            raise AudioError(
                f"{self.name} front end: got shape {samples.shape}; it takes one non-empty mono clip [samples]"
            )
        if samples.size > round(self.max_seconds * self.sample_rate):
            raise AudioError(
                f"{self.name} front end: the clip has {samples.size / self.sample_rate:.3f} s; the limit is "
                f"{self.max_seconds:g} s. Cut it into windows with alm.audio.windows"
            )
        if not np.isfinite(samples).all():
            raise AudioError(f"{self.name} front end: the clip holds NaN or infinite samples; load it with load_audio")
        return self._spectrogram(samples)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description; `alm.encoders.front_end_from_dict` reads it back."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder heard."""

    features: Tensor
    """`[batch, layers, time, dim]`, zero where the mask is False."""
    mask: Tensor
    """`[batch, time]`, True = real."""


class AudioEncoder(nn.Module):
    """One encoder family as one module.

    The output at real places does not depend on how far the batch was padded, nor on what else is in it.
    """

    name: ClassVar[str]
    front_end: FrontEnd
    frames_per_second: float
    """Features a second."""
    dim: int
    num_layers: int
    """Layers are numbered 0..num_layers; the last is the deepest."""

    @property
    def sample_rate(self) -> int:
        """Samples a second that the front end takes."""
        return self.front_end.sample_rate

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes: that of its parameters, or of its buffers where it has nothing to learn."""
        return next(t.dtype for t in chain(self.parameters(), self.buffers()) if t.is_floating_point())

    def forward(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> EncoderOutput:
        """Hear a batch.

        Args:
            spectrogram: `[batch, frames, bins]`.
            mask: `[batch, frames]`, True = real; real frames come first.
            layers: which hidden layers to return, negative counts from the last.

        Raises:
            ConfigError: wrong shapes, or a layer that does not exist.
        """
        raise NotImplementedError

    def times(self, count: int) -> Tensor:
        """Start and end in seconds `[count, 2]` of the first `count` features of a clip."""
        starts = torch.arange(count, dtype=torch.float64) / self.frames_per_second
        return torch.stack([starts, starts + 1 / self.frames_per_second], dim=1)

    def _checked_layers(self, spectrogram: Tensor, mask: Tensor, layers: Sequence[int]) -> list[int]:
        """Layers as numbers 0..num_layers, after the shapes were looked at."""
        bins = self.front_end.bins
        if spectrogram.ndim != 3 or spectrogram.shape[-1] != bins or spectrogram.shape[1] == 0:
            raise ConfigError(f"{self.name}: spectrogram is {tuple(spectrogram.shape)}; want [batch, frames, {bins}]")
        if mask.shape != spectrogram.shape[:2]:
            raise ConfigError(
                f"{self.name}: mask is {tuple(mask.shape)}; want [batch, frames] = {tuple(spectrogram.shape[:2])}"
            )
        count = self.num_layers + 1
        if wrong := [i for i in layers if not -count <= i < count]:
            raise ConfigError(
                f"{self.name}: no layer {wrong[0]}; layers are 0..{self.num_layers} (negative from the end)"
            )
        return [i % count for i in layers]


def config_from(kind: type[T], values: Mapping[str, Any]) -> T:
    """A frozen configuration of `kind`; unknown keys are errors that list the known ones."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"{kind.__name__} has no field {unknown[0]!r}; fields are {', '.join(known)}")
    return kind(**values)


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a module whose keys and shapes they match one to one.

    Raises:
        WeightsError: as `check_exactly`; nothing was copied then.
    """
    check_exactly(module, tensors, source)
    module.load_state_dict(dict(tensors), strict=True)


def check_exactly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Names and shapes of a module are those of the tensors, one to one.

    Raises:
        WeightsError: keys are missing or unexpected, or a shape differs.
    """
    wanted = module.state_dict()
    problems = [f"missing {k}" for k in _shown(wanted.keys() - tensors.keys())]
    problems += [f"unexpected {k}" for k in _shown(tensors.keys() - wanted.keys())]
    problems += [
        f"{k} is {tuple(tensors[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in sorted(wanted.keys() & tensors.keys())
        if tensors[k].shape != wanted[k].shape
    ][:5]
    if problems:
        raise WeightsError(
            f"{source} does not fit {type(module).__name__}: {'; '.join(problems)}. "
            "Give the configuration that belongs to these weights, or convert them anew"
        )


def _shown(keys: Iterable[str]) -> list[str]:
    """The first five, and how many there are besides."""
    ordered = sorted(keys)
    return ordered[:5] + ([f"and {len(ordered) - 5} more"] if len(ordered) > 5 else [])
