"""A frozen encoder tuned by bypasses: small layers beside its own, LoRA or adapters, which start as nothing.

The bypasses are a module of their own, so that the encoder keeps the names and values of its checkpoint; a hook adds
what they say to what the layer says. LoRA is Hu et al. 2021; with a bend between its two matrices it is the parallel
adapter of He et al. 2022 ("Towards a unified view of parameter-efficient transfer learning"). Beside a convolution, the
first matrix is a convolution of the same reach to `rank` channels, and the second one mixes these at each place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.encoders.base import AudioEncoder
from alm.errors import ConfigError

_CONVOLVE = {2: F.conv1d, 3: F.conv2d}
"""By the axes of what is convolved, without the batch."""
Layer = nn.Linear | nn.Conv1d | nn.Conv2d


class Bypass(nn.Module):
    """What a layer takes to what it gives, through `rank` values or channels; zero at the start."""

    def __init__(self, layer: Layer, rank: int, alpha: float, bend: bool) -> None:
        """
        Raises:
            ConfigError: a convolution that fills its edges with anything but zeros.
        """
        super().__init__()
        self.geometry: dict[str, Any] = {}
        inputs: tuple[int, ...]
        if isinstance(layer, nn.Linear):
            inputs, outputs = (layer.in_features,), layer.out_features
        else:
            if layer.padding_mode != "zeros":
                raise ConfigError(f"a convolution with {layer.padding_mode} padding cannot be tuned by a bypass")
            inputs, outputs = (layer.in_channels, *layer.kernel_size), layer.out_channels
            self.geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        # Parameters, not layers: those would be filled anew when a model is initialised.
        self.down = nn.Parameter(torch.empty(rank, *inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.scale, self.bend = alpha / rank, bend
        self.heard = False
        """Whether the hook was called since the bypass was made."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]`, or `[batch, in, time]` and `[batch, in, time, bands]` beside convolutions."""
        x = x.to(self.down.dtype)
        if not self.geometry:
            low = F.linear(x, self.down)
            return F.linear(F.gelu(low) if self.bend else low, self.up) * self.scale
        convolve = _CONVOLVE[self.down.ndim - 1]
        low = convolve(x, self.down, **self.geometry)
        up = self.up[(...,) + (None,) * (self.down.ndim - 2)]
        return convolve(F.gelu(low) if self.bend else low, up) * self.scale

    def hook(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """What the layer says, and what this says."""
        self.heard = True
        aside: Tensor = self(inputs[0])
        return output + aside.to(output.dtype)


class Tuning(nn.Module):
    """The bypasses of one encoder."""

    def __init__(self, encoder: AudioEncoder, targets: Sequence[str], rank: int, alpha: float, bend: bool) -> None:
        """
        Args:
            targets: how the names of the layers end (`q_proj`, `attn.qkv`); of `conv2|conv1` the first that there is.
            bend: adapters instead of LoRA.

        Raises:
            ConfigError: the encoder has no linear or convolutional layer of one of these names.
        """
        super().__init__()
        layers = {n: m for n, m in encoder.named_modules() if isinstance(m, Layer)}
        self.name, self.targets = encoder.name, tuple(dict.fromkeys(_first(t, layers) for t in targets))
        self.places = [n for n in layers if any(_ends(n, t) for t in self.targets)]
        if missing := [t for t in self.targets if not any(_ends(n, t) for n in self.places)]:
            there = sorted({n.rpartition(".")[2] for n in layers})
            raise ConfigError(
                f"{encoder.name}: no linear or convolutional layer is called {', '.join(missing)}; tune_layers "
                f"may name {', '.join(there) or 'none: this encoder has none'}"
            )
        if not self.places:
            raise ConfigError(f"{encoder.name}: it names no layers for LoRA; say which in tune_layers")
        made = {n.replace(".", "/"): Bypass(layers[n], rank, alpha, bend) for n in self.places}
        self.bypasses = nn.ModuleDict(made)
        self._tuned: tuple[AudioEncoder, ...] = ()

    def attach(self, encoder: AudioEncoder) -> None:
        """Stand beside this encoder's layers from now on; again for the same encoder changes nothing."""
        if self._tuned and self._tuned[0] is encoder:
            return
        for name, bypass in zip(self.places, self.bypasses.values(), strict=True):
            assert isinstance(bypass, Bypass)
            encoder.get_submodule(name).register_forward_hook(bypass.hook)
        self._tuned = (encoder,)

    def check(self) -> None:
        """After a pass of the encoder. Some attention reads the weights of a layer without calling it.

        Raises:
            ConfigError: no layer of one of the names was called, so that its bypasses are not heard.
        """
        pairs = list(zip(self.places, self.bypasses.values(), strict=True))
        if deaf := [t for t in self.targets if not any(b.heard for n, b in pairs if _ends(n, t))]:
            raise ConfigError(
                f"{self.name}: it reads the weights of {', '.join(deaf)} without calling these layers, so that nothing "
                "beside them would be heard; name others in tune_layers"
            )


def _first(target: str, layers: Mapping[str, Layer]) -> str:
    """The first of the alternatives that a layer is called by; all of them where none is."""
    return next((way for way in target.split("|") if any(_ends(name, way) for name in layers)), target)


def _ends(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")
